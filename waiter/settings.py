"""What a wait is given: arguments first, then the environment, checked together so that all problems are named at once.

This is the only room that reads the environment.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from waiter.api import is_task_id
from waiter.errors import ConfigurationError
from waiter.key import ApiKey, checked_token, read_token
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

# A name of printable ASCII as httpx makes it, or an IPv6 address, which may have a zone.
_HOST = r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%[!-~]+)?"
_HIGHEST_PORT = 65535

TaskRef = str | Mapping[str, Any] | Sequence[str]


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
        "base_url": (base_url := _base_url(options, environ, problems)),
        "timeout": _timeout(options, environ, problems),
        "max_outage": _seconds("max_outage", options.get("max_outage", DEFAULT_MAX_OUTAGE), problems),
        "stall_timeout": _seconds("stall_timeout", options.get("stall_timeout"), problems),
        "wait": options.get("wait") or _schedule(options, problems),
        "max_rps": _max_rps(options, problems),
        "learn": options.get("learn", True) and options.get("wait") is None,
        "on_event": options.get("on_event"),
        "client": options.get("client"),
        "proxy": _proxy(options, base_url, problems),
        "sleep": options.get("sleep"),
        "clock": options.get("clock") or _monotonic,
    }
    if problems:
        raise ConfigurationError(*problems)
    return Settings(**settings)


def _monotonic() -> float:
    # Looked up at each call, so that a clock which is frozen later stands still here too.
    return time.monotonic()


def _api_key(options: Options, environ: Mapping[str, str], problems: list[str]) -> ApiKey | None:
    given = options.get("api_key")
    file = given if isinstance(given, Path) else None
    if given is None and not (given := environ.get("GCORE_API_KEY")) and environ.get("GCORE_API_KEY_FILE"):
        file = Path(environ["GCORE_API_KEY_FILE"])
    token = read_token(file, problems) if file else checked_token(given, "the API key", problems)
    return ApiKey(token, file) if token else None


def _base_url(options: Options, environ: Mapping[str, str], problems: list[str]) -> str | None:
    url = str(options.get("base_url") or environ.get("GCORE_BASE_URL") or DEFAULT_BASE_URL).strip()
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        # The reason quotes what may be a part of a password.
        problems.append(f"the base URL {_public(url)!r} cannot be read{'' if '@' in url else f': {error}'}")
        return None
    problems += [f"the base URL {_public(url)!r} {problem}" for problem in _url_problems(url, parts, options)]
    return url.rstrip("/")


def _url_problems(url: str, parts: SplitResult, options: Options) -> list[str]:
    problems = []
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        problems.append("must look like https://host")
    elif not _can_be_asked(url):
        problems.append("has a host or characters in it that nobody can ask for")
    elif parts.scheme == "http" and not options.get("allow_http") and not _is_loopback(parts.hostname):
        problems.append("would send the API key unencrypted: use https, or allow_http=True if the way is safe")
    if parts.username or parts.password:
        problems.append("must not carry a user or a password")
    if parts.query or parts.fragment:
        problems.append("must not carry a query or a fragment")
    return problems


def _public(url: str) -> str:
    # Up to the last "@": a password that is not escaped as it should be may have others, and a "/".
    return re.sub(r"(?s)^([^@]*?//)?.*@", r"\1", url)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy(options: Options, base_url: str | None, problems: list[str]) -> str | None:
    parts = urlsplit(base_url or "")
    if options.get("client") or not parts.hostname or _is_loopback(parts.hostname) or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return _checked_proxy(proxy, problems) if proxy else None


def _checked_proxy(proxy: str, problems: list[str]) -> str:
    proxy = proxy if re.match(r"[\w+.-]+://", proxy) else f"http://{proxy}"
    # What it says may be a password, so nothing but its scheme is shown.
    scheme = proxy.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        problems.append(f"the proxy is of the kind {scheme!r}, not http or https: pass an httpx client of your own")
    elif not _can_be_asked(proxy):
        problems.append("the proxy cannot be read: it must look like http://user:password@host:port")
    return proxy


def _can_be_asked(url: str) -> bool:
    """Whether its host and port are such that a connection can be tried."""
    import httpx  # noqa: PLC0415 - it takes long to load, and an import may not be followed by a wait

    try:
        asked = httpx.URL(url)
        host = asked.raw_host.decode("ascii")
        host.encode("idna")  # as the resolver does
    except (httpx.InvalidURL, UnicodeError):
        return False
    return re.fullmatch(_HOST, host) is not None and (asked.port or 0) <= _HIGHEST_PORT


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
    before = len(problems)
    pace: dict[str, Any] = {name: _seconds(name, value, problems) for name, value in given.items()}
    if len(problems) > before:
        return None
    try:
        return Schedule(**pace)
    except ValueError as error:
        problems.append(str(error))
        return None


def command_environment() -> dict[str, str]:
    """Give the environment to the command: ``WAITER_<OPTION>`` for each option, and what tells about its surroundings."""
    return dict(os.environ)


def task_ids(ref: TaskRef) -> list[str]:
    """Give the IDs that are meant by an ID, a list of IDs, or what the API answered to the request that started the work.

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
    # One ID is iterable too: each of its letters could be an ID. So is an answer of the official SDK: it gives its fields.
    is_one = isinstance(refs, str | Mapping) or hasattr(refs, "tasks") or not isinstance(refs, Iterable)
    for ref in [cast("TaskRef", refs)] if is_one else refs:
        try:
            ids += task_ids(ref)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(ids))


def _tasks_of(answer: object) -> list[Any]:
    if isinstance(answer, list | tuple):
        return list(answer)
    # The official SDK gives the answer as an object with the same attribute.
    tasks = answer.get("tasks") if isinstance(answer, Mapping) else getattr(answer, "tasks", None)
    if isinstance(tasks, list | tuple):
        return list(tasks)
    message = f"neither a task ID nor an answer with a list of tasks: {type(answer).__name__}"
    raise ConfigurationError(message)
