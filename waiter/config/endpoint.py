"""The way to the API: the base URL, the proxy and the certificates, checked, and shown without their passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

# A name of printable ASCII as httpx makes it, or an IPv6 address, which may have a zone.
_HOST = r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%[!-~]+)?"
_HIGHEST_PORT = 65535


class ProxyUrl(str):
    """The URL of a proxy, which keeps its user and password to itself where it is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_public(str(self)))


def checked_base_url(given: str, problems: list[str], *, allow_http: bool) -> str | None:
    """Give the base URL as requests are made from it; None, and a problem more, when it cannot even be read."""
    url = given.strip()
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        # The reason quotes what may be a part of a password.
        problems.append(f"the base URL {_public(url)!r} cannot be read{'' if '@' in url else f': {error}'}")
        return None
    problems += [f"the base URL {_public(url)!r} {problem}" for problem in _url_problems(url, parts, allow_http=allow_http)]
    return url.rstrip("/")


def _url_problems(url: str, parts: SplitResult, *, allow_http: bool) -> list[str]:
    problems = []
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        problems.append("must look like https://host")
    elif not _can_be_asked(url):
        problems.append("has a host or characters in it that nobody can ask for")
    elif parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        problems.append("would send the API key unencrypted: use https, or allow_http=True if the way is safe")
    if parts.username or parts.password:
        problems.append("must not carry a user or a password")
    if parts.query or parts.fragment:
        problems.append("must not carry a query or a fragment")
    return problems


def _public(url: str) -> str:
    # Up to the last "@": a password that is not escaped as it should be may have others, and a "/".
    return re.sub(r"(?s)^([^@]*?//)?.*@", r"\1", url)


def is_loopback(host: str) -> bool:
    """Whether it is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def checked_proxy(proxy: str, problems: list[str]) -> ProxyUrl:
    """Give the proxy as requests go through it; a problem more when it cannot be asked."""
    proxy = proxy if re.match(r"[\w+.-]+://", proxy) else f"http://{proxy}"
    # What it says may be a password, so nothing but its scheme is shown.
    scheme = proxy.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        problems.append(f"the proxy is of the kind {scheme!r}, not http or https: pass an httpx client of your own")
    elif not _can_be_asked(proxy):
        problems.append("the proxy cannot be read: it must look like http://user:password@host:port")
    return ProxyUrl(proxy)


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


def certificates_for(base_url: str, environ: Mapping[str, str], problems: list[str]) -> str | None:
    """Name the variable that leads to other certificates than the usual, and where; whoever reads them may find fault."""
    name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)
    if name is None or not base_url.lower().startswith("https:"):
        return None
    place = Path(environ[name])
    if name == "SSL_CERT_DIR" and not _has_certificates(place):
        # OpenSSL looks for nothing else there, and says no word.
        problems.append(f"{name}={place} has no certificates in it that are named by their hash, as openssl rehash names them")
    elif name == "SSL_CERT_FILE" and not place.is_file():
        problems.append(f"{name}={place} is no file that can be read")
    return f"{name}={place}"


def _has_certificates(place: Path) -> bool:
    try:
        return any(re.fullmatch(r"[0-9a-f]{8}\.\d+", file.name) for file in place.iterdir())
    except OSError:
        return False
