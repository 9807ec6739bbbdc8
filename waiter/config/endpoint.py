"""Checks of the base URL, the proxy and the certificates; passwords in them are never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

# A name in ASCII, to which httpx converts international names, or an IPv6 address, which may have a zone.
_HOST = r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%[!-~]+)?"
_MAX_PORT = 65535


class ProxyUrl(str):
    """The URL of a proxy, whose repr leaves out the user and the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_public(str(self)))


def check_base_url(given: str, problems: list[str], *, allow_http: bool) -> str | None:
    """Return the base URL without a trailing slash, or None when it cannot be parsed; add what is wrong to ``problems``."""
    url = given.strip()
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        # The reason may quote a part of a password.
        problems.append(f"the base URL {_public(url)!r} cannot be parsed{'' if '@' in url else f': {error}'}")
        return None
    problems += [f"the base URL {_public(url)!r} {problem}" for problem in _url_problems(url, parts, allow_http=allow_http)]
    return url.rstrip("/")


def _url_problems(url: str, parts: SplitResult, *, allow_http: bool) -> list[str]:
    problems = []
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        problems.append("must look like https://host")
    elif not _is_valid_url(url):
        problems.append("has an invalid host or invalid characters")
    elif parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        problems.append("would send the API key unencrypted: use https, or allow_http=True on a safe network")
    if parts.username or parts.password:
        problems.append("must not carry a user or a password")
    if parts.query or parts.fragment:
        problems.append("must not carry a query or a fragment")
    return problems


def _public(url: str) -> str:
    # Up to the last "@", because a password that is not percent-encoded may contain others, and "/" too.
    return re.sub(r"(?s)^([^@]*?//)?.*@", r"\1", url)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_proxy(proxy: str, problems: list[str]) -> ProxyUrl:
    """Return the URL of the proxy with its scheme; add what is wrong to ``problems``."""
    proxy = proxy if re.match(r"[\w+.-]+://", proxy) else f"http://{proxy}"
    # Any part of it may be a password, so only its scheme is shown.
    scheme = proxy.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        problems.append(f"the proxy has the scheme {scheme!r}, not http or https: pass an httpx client that supports it")
    elif not _is_valid_url(proxy):
        problems.append("the proxy cannot be parsed: it must look like http://user:password@host:port")
    return ProxyUrl(proxy)


def _is_valid_url(url: str) -> bool:
    """Whether the URL has a host and a port to which a connection can be tried."""
    import httpx  # noqa: PLC0415 - it is slow to import, and not every import of waiter leads to a wait

    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
        host.encode("idna")  # as the resolver does
    except (httpx.InvalidURL, UnicodeError):
        return False
    return re.fullmatch(_HOST, host) is not None and (parsed.port or 0) <= _MAX_PORT


def check_certificates(base_url: str, environ: Mapping[str, str], problems: list[str]) -> str | None:
    """Return ``NAME=path`` of the variable that replaces the default certificates, or None; add problems to ``problems``."""
    name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)
    if name is None or not base_url.lower().startswith("https:"):
        return None
    path = Path(environ[name])
    if name == "SSL_CERT_DIR" and not _has_certificates(path):
        # OpenSSL reads no other files there, and reports nothing.
        problems.append(f"{name}={path} contains no certificate that is named by its hash, as openssl rehash names them")
    elif name == "SSL_CERT_FILE" and not path.is_file():
        problems.append(f"{name}={path} is not a file that can be read")
    return f"{name}={path}"


def _has_certificates(folder: Path) -> bool:
    try:
        return any(re.fullmatch(r"[0-9a-f]{8}\.\d+", file.name) for file in folder.iterdir())
    except OSError:
        return False
