"""Settings from arguments and, where these are not given, from the environment; all problems are reported together."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from waiter.config.api_key import ApiKey, Secret, SecretBytes, call_for_token, check_token, read_token
from waiter.config.endpoint import ProxyUrl, check_base_url, check_certificates, check_proxy, is_loopback
from waiter.config.options import Limits, Options
from waiter.errors import ConfigurationError
from waiter.schedule.schedule import Schedule

DEFAULT_BASE_URL = "https://api.gcore.com"
DEFAULT_TIMEOUT = 7200.0
DEFAULT_MAX_OUTAGE = 300.0
# No limit of the API is published; a few hundred separate waits make at most as many requests.
DEFAULT_MAX_RPS = 100.0

_MAX_SHOWN = 60
# RFC 9110, 5.1 and 5.5, for ASCII.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")
_RESERVED_HEADERS = {"authorization", "host", "accept", "accept-encoding", "connection", "content-length", "transfer-encoding"}
_CALLABLES = {
    "wait": "a tenacity wait strategy",
    "on_event": "a function of an Event",
    "sleep": "a function of seconds",
    "clock": "a function that returns seconds",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The checked values of :class:`Options`; all times are seconds, ``inf`` is no limit."""

    api_key: ApiKey
    base_url: str
    timeout: float
    max_outage: float
    stall_timeout: float
    ready: bool
    wait: Any
    max_rps: float
    learn: bool
    on_event: Any
    log: bool
    client: Any
    proxy: ProxyUrl | None
    certificates: str | None
    headers: Mapping[str, Secret]
    sleep: Any
    clock: Callable[[], float]


def resolve(options: Options, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from the options and the environment. Raises ConfigurationError that names every problem."""
    environ = _Environment(os.environ if environ is None else environ)
    hide_key(options)
    _refuse_unknown(options, Options)
    problems: list[str] = []
    client = _client(options, problems)
    settings: dict[str, Any] = {
        "api_key": _api_key(options, environ, problems),
        "base_url": (base_url := _base_url(options, environ, problems)),
        "timeout": _timeout(options, environ, problems),
        "max_outage": _seconds("max_outage", options.get("max_outage", DEFAULT_MAX_OUTAGE), problems),
        "stall_timeout": _seconds("stall_timeout", options.get("stall_timeout"), problems),
        "ready": _switch("ready", options, problems, default=False),
        "wait": _callable("wait", options, problems) or _schedule(options, problems),
        "max_rps": _max_rps(options, problems),
        "learn": _switch("learn", options, problems, default=True) and options.get("wait") is None,
        "on_event": _callable("on_event", options, problems),
        "log": _switch("log", options, problems, default=True),
        "client": client,
        "proxy": _proxy(base_url, problems) if base_url and client is None else None,
        "certificates": check_certificates(base_url, environ, problems) if base_url and client is None else None,
        "headers": _headers(environ.get("GCORE_CUSTOM_HEADERS", ""), problems),
        "sleep": _callable("sleep", options, problems),
        "clock": _callable("clock", options, problems) or time.monotonic,
    }
    if problems:
        raise ConfigurationError(*problems)
    return Settings(**settings)


class _Environment(dict[str, str]):
    """The environment, whose repr and secrets are masked, because tracebacks may show it or its items."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        for name in {"GCORE_API_KEY", "GCORE_CUSTOM_HEADERS"} & self.keys():
            self[name] = Secret(self[name])

    def __repr__(self) -> str:
        return "_Environment(***)"


def hide_key(options: Options) -> None:
    """Replace the API key in the options by one whose repr is masked, because tracebacks may show the options."""
    key: object = options.get("api_key")
    if isinstance(key, str):
        options["api_key"] = Secret(key)
    elif isinstance(key, bytes):  # refused, in an error whose traceback may show it
        options["api_key"] = SecretBytes(key)  # type: ignore[typeddict-item]


def limited(settings: Settings, limits: Limits) -> Settings:
    """Return the settings with these limits instead of their own. Raises ConfigurationError that names every problem."""
    _refuse_unknown(limits, Limits)
    problems: list[str] = []
    given: dict[str, Any] = dict(limits)
    changed: dict[str, Any] = {name: _seconds(name, given[name], problems) for name in given.keys() - {"on_event", "ready"}}
    if "ready" in given:
        changed["ready"] = _switch("ready", given, problems, default=False)
    if "on_event" in given:
        changed["on_event"] = _callable("on_event", given, problems)
    if problems:
        raise ConfigurationError(*problems)
    return msgspec.structs.replace(settings, **changed)


def _refuse_unknown(given: Mapping[str, object], known: type) -> None:
    if unknown := given.keys() - known.__annotations__.keys():
        message = f"unexpected keyword argument {', '.join(sorted(map(repr, unknown)))}"
        raise TypeError(message)


def _callable(name: str, options: Mapping[str, Any], problems: list[str]) -> Any:  # noqa: ANN401 - each option has its own type
    given = options.get(name)
    if given is not None and (not callable(given) or (name == "wait" and isinstance(given, type))):
        problems.append(f"{name} must be {_CALLABLES[name]}, not {_shown(given)}")
    return given


def _switch(name: str, options: Mapping[str, Any], problems: list[str], *, default: bool) -> bool:
    given = options.get(name, default)
    if not isinstance(given, bool):
        # The text "false" would be true.
        problems.append(f"{name} must be True or False, not {_shown(given)}")
    return given is True


def _client(options: Options, problems: list[str]) -> Any:  # noqa: ANN401 - one of two types
    client: Any = options.get("client")
    if client is None:
        return None
    import httpx  # noqa: PLC0415 - it is slow to import, and not every import of waiter leads to a wait

    if not isinstance(client, httpx.Client | httpx.AsyncClient):
        problems.append(f"client must be an httpx.Client or an httpx.AsyncClient, not {_shown(client)}")
    return client


def _shown(given: object) -> str:
    """Return a short repr; also of a value whose repr raises, such as an integer of 5000 digits."""
    try:
        shown = repr(given)
    except Exception:  # noqa: BLE001 - the repr of a user's object may raise anything
        return f"a value of {type(given).__name__}"
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 3]}..."


def _api_key(options: Options, environ: Mapping[str, str], problems: list[str]) -> ApiKey | None:
    given = options.get("api_key")
    if callable(given):
        token = call_for_token(given, problems)
        return ApiKey(token, given) if token else None
    if not isinstance(given, str | Path | None):
        kinds = "a string, a Path to a file that holds it, or a function that returns it"
        kind = "bytes" if isinstance(given, bytes) else type(given).__name__
        problems.append(f"api_key must be {kinds}, not {kind}")
        return None
    file = given if isinstance(given, Path) else None
    if given is None and not (given := environ.get("GCORE_API_KEY")) and environ.get("GCORE_API_KEY_FILE"):
        file = Path(environ["GCORE_API_KEY_FILE"])
    token = read_token(file, problems) if file else check_token(given, "the API key", problems)
    # A pipe can be read only once.
    return ApiKey(token, file if file and file.is_file() else None) if token else None


def _headers(text: str, problems: list[str]) -> dict[str, Secret]:
    """Return the headers that the official SDK's variable adds to each request, one ``Name: value`` a line."""
    headers: dict[str, Secret] = {}
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), start=1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            problems.append(f"GCORE_CUSTOM_HEADERS must have a header as 'Name: value' in each line, unlike line {number}")
        elif name.lower() in _RESERVED_HEADERS:
            problems.append(f"GCORE_CUSTOM_HEADERS must not have the header {name}, which waiter sets itself")
        else:
            headers[name] = Secret(value)
    return headers


def _base_url(options: Options, environ: Mapping[str, str], problems: list[str]) -> str | None:
    given: Any = options.get("base_url") or environ.get("GCORE_BASE_URL") or DEFAULT_BASE_URL
    allow_http = _switch("allow_http", options, problems, default=False)
    if isinstance(given, str) or type(given).__module__.partition(".")[0] == "httpx":
        return check_base_url(str(given), problems, allow_http=allow_http)
    problems.append(f"base_url must be a string or an httpx.URL, not {type(given).__name__}")
    return None


def _proxy(base_url: str, problems: list[str]) -> ProxyUrl | None:
    parts = urlsplit(base_url)
    if not parts.hostname or is_loopback(parts.hostname) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return check_proxy(proxy, problems) if proxy else None


def _timeout(options: Options, environ: Mapping[str, str], problems: list[str]) -> float:
    if "timeout" in options:
        return _seconds("timeout", options["timeout"], problems)
    name = "GCORE_POLLING_TIMEOUT_SECONDS"
    text = environ.get(name) or str(DEFAULT_TIMEOUT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if seconds >= 0:
        return seconds
    problems.append(f"{name} must be a number of seconds, 0 or more, such as 1800, not {_shown(text)}")
    return inf


def _seconds(name: str, given: object, problems: list[str]) -> float:
    if given is None:
        return inf
    seconds = _number(given.total_seconds() if isinstance(given, timedelta) else given)
    if seconds >= 0:
        return seconds
    problems.append(f"{name} must be seconds, 0 or more, or a timedelta, not {_shown(given)}")
    return inf


def _number(given: object) -> float:
    """Return the value as a float, or NaN when it is not a number or too large for a float."""
    try:
        return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else nan
    except OverflowError:
        return nan


def _max_rps(options: Options, problems: list[str]) -> float:
    given = options.get("max_rps", DEFAULT_MAX_RPS)
    most = _number(given)
    if most > 0:
        return most
    problems.append(f"max_rps must be requests per second, more than 0, not {_shown(given)}")
    return DEFAULT_MAX_RPS


def _schedule(options: Options, problems: list[str]) -> Schedule | None:
    given = {name: value for name, value in options.items() if name in {"price", "min_interval"}}
    before = len(problems)
    arguments: dict[str, Any] = {name: _seconds(name, value, problems) for name, value in given.items()}
    if len(problems) > before:
        return None
    try:
        return Schedule(**arguments)
    except ValueError as error:
        problems.append(str(error))
        return None


def copy_environment() -> dict[str, str]:
    """Return a copy of the environment, for the command's ``WAITER_<OPTION>`` variables and the checks of its surroundings."""
    return dict(os.environ)
