"""The path of a resource within the configured host, from text of the user."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from waiter.errors import ConfigurationError

_VARIABLES = {"project_id": "GCORE_CLOUD_PROJECT_ID", "region_id": "GCORE_CLOUD_REGION_ID"}
# RFC 3986, 3.3 and 3.4: what a path and a query may contain.
_TARGET = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})+")
_PORTS = {"http": 80, "https": 443}
_MAX_DECODINGS = 5


def resource_path(given: str, base_url: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the path, with its query, that is to be requested from the host of ``base_url``.

    A URL is accepted if it begins with ``base_url``. ``{project_id}`` and ``{region_id}`` are filled in from
    ``GCORE_CLOUD_PROJECT_ID`` and ``GCORE_CLOUD_REGION_ID``. Raises ConfigurationError.
    """
    path = _fill(given.strip(), os.environ if environ is None else environ)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path):
        path = _within(path, base_url)
    if not path.startswith("/") or path.startswith("//"):
        message = f"the path must begin with one /, such as /cloud/v1/images/...: {given!r}"
        raise ConfigurationError(message)
    if not _TARGET.fullmatch(path):
        message = f"the path has characters that a URL must not contain: {given!r}"
        raise ConfigurationError(message)
    if not {".", ".."}.isdisjoint(_segments(path.partition("?")[0])):
        message = f"the path must not contain . or .. as a segment: {given!r}"
        raise ConfigurationError(message)
    return path


def _fill(text: str, environ: Mapping[str, str]) -> str:
    problems = []
    for name, variable in _VARIABLES.items():
        if f"{{{name}}}" not in text:
            continue
        value = environ.get(variable, "")
        if not (value.isascii() and value.isdigit()):
            problems.append(f"{{{name}}} in the path needs {variable}, a number, in the environment")
        text = text.replace(f"{{{name}}}", value)
    if problems:
        raise ConfigurationError(*problems)
    return text


def _within(url: str, base_url: str) -> str:
    """Return the path and the query of a URL below the base URL."""
    try:
        ours, theirs = _origin(base_url), _origin(url)
    except ValueError:
        theirs = None
    base_path = urlsplit(base_url).path
    if theirs is None or theirs != ours or not urlsplit(url).path.startswith(f"{base_path}/"):
        # The key is sent to the configured host only.
        message = f"the URL must begin with {base_url}, the configured address, or be a path"
        raise ConfigurationError(message)
    parts = urlsplit(url)
    rest = parts.path.removeprefix(base_path)
    return f"{rest}?{parts.query}" if parts.query else rest


def _origin(url: str) -> tuple[str, str | None, int | None, bool]:
    """Return what identifies the server of a URL. Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme), "@" in parts.netloc


def _segments(path: str) -> set[str]:
    """Return the segments of a path as they are after any number of decodings: proxies and servers may each decode it."""
    found: set[str] = set()
    for _ in range(_MAX_DECODINGS):
        found.update(re.split(r"[/\\;]", path))
        path = unquote(path)
    return found
