"""What a wait is given: arguments first, then the environment, checked together so that all problems are named at once.

This is the only room that reads the environment.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from waiter.api import is_task_id
from waiter.errors import ConfigurationError
from waiter.schedule import Schedule

if TYPE_CHECKING:
    import httpx
    from tenacity.wait import wait_base

    from waiter.events import Event

DEFAULT_BASE_URL = "https://api.gcore.com"
DEFAULT_TIMEOUT = 7200.0
DEFAULT_MAX_OUTAGE = 300.0
# No limit of the API is published; this is what a few hundred waits ask at most when each looks after its task by itself.
DEFAULT_MAX_RPS = 100.0

TaskRef = str | Mapping[str, Any]


class Options(TypedDict, total=False):
    """The keyword arguments that every door of waiter takes; times are seconds or a ``timedelta``.

    - ``api_key``: the permanent API token, or a ``Path`` to a file that holds it and is read again after a 401. Otherwise
      ``GCORE_API_KEY`` or ``GCORE_API_KEY_FILE``.
    - ``base_url``: otherwise ``GCORE_BASE_URL``, otherwise https://api.gcore.com.
    - ``timeout``: how long to wait in all; None is for ever. Otherwise ``GCORE_POLLING_TIMEOUT_SECONDS``, otherwise 7200.
    - ``max_outage``: how long failed looks may go on in a row; 300.
    - ``stall_timeout``: how long a task may show no change at all; None, the default, is for ever.
    - ``price``: the seconds of delay that one request is worth; 0.2.
    - ``min_interval``: the least time between two looks.
    - ``wait``: a tenacity wait strategy instead of the schedule.
    - ``max_rps``: the most requests per second, over all waits of the process together; 100.
    - ``learn``: whether to ask the API for past durations; True.
    - ``on_event``: called with each :class:`waiter.Event`.
    - ``client``: an httpx client of your own, for proxies, transports or mTLS; it is not closed.
    - ``allow_http``: whether to send the key over plain http to a host that is not this machine; False.
    - ``sleep``, ``clock``: instead of sleeping and ``time.monotonic``, for tests; an ``AsyncWaiter`` awaits its ``sleep``.
    """

    api_key: str | Path | None
    base_url: str | None
    timeout: float | timedelta | None
    max_outage: float | timedelta
    stall_timeout: float | timedelta | None
    price: float
    min_interval: float | timedelta
    wait: wait_base | None
    max_rps: float
    learn: bool
    on_event: Callable[[Event], object] | None
    client: httpx.Client | httpx.AsyncClient | None
    allow_http: bool
    sleep: Callable[[float], Any] | None
    clock: Callable[[], float] | None


class ApiKey:
    """The API token, which shows itself to nobody but the request's header."""

    def __init__(self, token: str, file: Path | None = None) -> None:
        self._token = token
        self._file = file

    def __repr__(self) -> str:
        return "ApiKey(***)"

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"apikey {self._token}"

    def read_again(self) -> None:
        """Take the token anew from its file, if it has one and what it holds can be a token."""
        if self._file is None:
            return
        problems: list[str] = []
        self._token = _read_key_file(self._file, problems) or self._token

    def hide(self, text: str) -> str:
        """Give the text without the token, in case somebody echoes it."""
        return text.replace(self._token, "***")

    def hide_in_bytes(self, body: bytes) -> bytes:
        """Give the bytes without the token."""
        return body.replace(self._token.encode(), b"***")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What :class:`Options` come to, checked; all times in seconds, ``inf`` is for ever."""

    api_key: ApiKey
    base_url: str
    timeout: float
    max_outage: float
    stall_timeout: float
    wait: Any
    max_rps: float
    learn: bool
    on_event: Any
    client: Any
    proxy: str | None
    sleep: Any
    clock: Callable[[], float]


def resolve(options: Options, environ: Mapping[str, str] | None = None) -> Settings:
    """Check the options and fill them from the environment; raises ConfigurationError with every problem in it."""
    environ = os.environ if environ is None else environ
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        message = f"unexpected keyword argument {', '.join(sorted(map(repr, unknown)))}"
        raise TypeError(message)
    problems: list[str] = []
    settings: dict[str, Any] = {
        "api_key": _api_key(options, environ, problems),
        "base_url": _base_url(options, environ, problems),
        "timeout": _timeout(options, environ, problems),
        "max_outage": _seconds("max_outage", options.get("max_outage", DEFAULT_MAX_OUTAGE), problems),
        "stall_timeout": _seconds("stall_timeout", options.get("stall_timeout"), problems),
        "wait": options.get("wait") or _schedule(options, problems),
        "max_rps": _max_rps(options, problems),
        "learn": options.get("learn", True) and options.get("wait") is None,
        "on_event": options.get("on_event"),
        "client": options.get("client"),
        "proxy": None,
        "sleep": options.get("sleep"),
        "clock": options.get("clock") or _monotonic,
    }
    if problems:
        raise ConfigurationError(*problems)
    return msgspec.structs.replace(Settings(**settings), proxy=_proxy(settings["base_url"]))


def _monotonic() -> float:
    # Looked up at each call, so that a clock which is frozen later stands still here too.
    return time.monotonic()


def _api_key(options: Options, environ: Mapping[str, str], problems: list[str]) -> ApiKey | None:
    given = options.get("api_key")
    file = given if isinstance(given, Path) else None
    if given is None and not (given := environ.get("GCORE_API_KEY")) and environ.get("GCORE_API_KEY_FILE"):
        file = Path(environ["GCORE_API_KEY_FILE"])
    token = _read_key_file(file, problems) if file else _checked_token(given, "the API key", problems)
    return ApiKey(token, file) if token else None


def _read_key_file(file: Path, problems: list[str]) -> str | None:
    try:
        return _checked_token(file.read_text(encoding="ascii"), f"the API key in {file}", problems)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        problems.append(f"cannot read the API key from {file}: {reason}")
        return None


def _checked_token(given: object, what: str, problems: list[str]) -> str | None:
    if given is None:
        problems.append("no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key")
        return None
    token = str(given).strip()
    # An Authorization header that already begins with its scheme is what people paste from documentation.
    token = re.sub(r"(?i)^apikey\s+", "", token)
    if re.fullmatch(r"[!-~]+", token):
        return token
    problems.append(f"{what} is {'not a token: it has spaces or control characters in it' if token else 'empty'}")
    return None


def _base_url(options: Options, environ: Mapping[str, str], problems: list[str]) -> str | None:
    url = str(options.get("base_url") or environ.get("GCORE_BASE_URL") or DEFAULT_BASE_URL).strip()
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        problems.append(f"the base URL {url!r} cannot be read: {error}")
        return None
    problems += [f"the base URL {_public(parts)!r} {problem}" for problem in _url_problems(parts, options)]
    return url.rstrip("/")


def _url_problems(parts: SplitResult, options: Options) -> list[str]:
    problems = []
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        problems.append("must look like https://host")
    elif parts.scheme == "http" and not options.get("allow_http") and not _is_loopback(parts.hostname):
        problems.append("would send the API key unencrypted: use https, or allow_http=True if the way is safe")
    if parts.username or parts.password:
        problems.append("must not carry a user or a password")
    if parts.query or parts.fragment:
        problems.append("must not carry a query or a fragment")
    return problems


def _public(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if not parts.hostname or _is_loopback(parts.hostname) or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _timeout(options: Options, environ: Mapping[str, str], problems: list[str]) -> float:
    if "timeout" in options:
        return _seconds("timeout", options["timeout"], problems)
    name = "GCORE_POLLING_TIMEOUT_SECONDS"
    try:
        return _seconds(name, float(environ.get(name) or DEFAULT_TIMEOUT), problems)
    except ValueError:
        problems.append(f"{name} must be a number of seconds, not {environ[name]!r}")
        return inf


def _seconds(name: str, given: object, problems: list[str]) -> float:
    if given is None:
        return inf
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or isnan(seconds) or seconds < 0:
        problems.append(f"{name} must be seconds, 0 or more, or a timedelta, not {given!r}")
        return inf
    return float(seconds)


def _max_rps(options: Options, problems: list[str]) -> float:
    given: Any = options.get("max_rps", DEFAULT_MAX_RPS)
    if isinstance(given, int | float) and not isinstance(given, bool) and given > 0:
        return float(given)
    problems.append(f"max_rps must be requests per second, more than 0, not {given!r}")
    return DEFAULT_MAX_RPS


def _schedule(options: Options, problems: list[str]) -> Schedule | None:
    given = {name: value for name, value in options.items() if name in {"price", "min_interval"}}
    pace: dict[str, Any] = {name: _seconds(name, value, problems) for name, value in given.items()}
    try:
        return Schedule(**pace)
    except ValueError as error:
        problems.append(str(error))
        return None


def command_environment() -> dict[str, str]:
    """Give the environment to the command: ``WAITER_<OPTION>`` for each option, and what tells about its surroundings."""
    return dict(os.environ)


def task_ids(ref: TaskRef) -> list[str]:
    """Give the IDs that are meant by an ID, or by what the API answered to the request that started the work.

    Raises ConfigurationError that names every bad one.
    """
    ids = [ref] if isinstance(ref, str) else _tasks_of(ref)
    problems = [f"not a task ID: {task_id!r}" for task_id in ids if not is_task_id(task_id)]
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(map(str, ids)))


def all_task_ids(refs: Iterable[TaskRef] | TaskRef) -> list[str]:
    """Give the IDs that are meant by several IDs or answers, each once; raises ConfigurationError that names every bad one."""
    ids: list[str] = []
    problems: list[str] = []
    # One ID is iterable too: each of its letters could be an ID.
    for ref in [refs] if isinstance(refs, str | Mapping) else refs:
        try:
            ids += task_ids(ref)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(ids))


def _tasks_of(answer: object) -> list[Any]:
    # The official SDK gives the answer as an object with the same attribute.
    tasks = answer.get("tasks") if isinstance(answer, Mapping) else getattr(answer, "tasks", None)
    if isinstance(tasks, list | tuple):
        return list(tasks)
    message = f"neither a task ID nor an answer with a list of tasks: {type(answer).__name__}"
    raise ConfigurationError(message)
