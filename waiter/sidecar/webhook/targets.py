"""Where webhooks may be sent: the URL of the operator, and the URLs of requests, which are restricted.

A request to the sidecar could otherwise make it send requests to services that only the sidecar reaches (server-side request
forgery). So the URL of a request must belong to an origin that the operator allows, and its host must have a public address,
unless the operator also allows private ones. The addresses are checked where the connection is opened, because a name may
resolve to another address later. The operator's own URL is not restricted: it is configuration.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import httpx

from waiter.errors import ConfigurationError

MAX_URL_LENGTH = 2048
_PORTS = {"http": 80, "https": 443}
# A name in ASCII, to which httpx converts international names, or an IPv6 address.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
# RFC 6598: between a provider and its customers, and the pods of some clusters.
_SHARED = ip_network("100.64.0.0/10")
# RFC 6052: the last four bytes are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


class Origin(NamedTuple):
    """The scheme, the host and the port of a URL."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def of(cls, url: httpx.URL) -> Origin:
        """Return the origin of a URL, with the default port of its scheme."""
        return cls(url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Return the origin of ``HOST`` or ``HOST:PORT``, which are https, or of ``http://HOST:PORT``. Raises ValueError."""
        try:
            url = parse_url(text if re.match("https?://", text) else f"https://{text}")
        except ConfigurationError:
            url = None
        if url is None or url.raw_path != b"/":
            message = f"not HOST, HOST:PORT or http://HOST:PORT: {text!r}"
            raise ValueError(message)
        return cls.of(url)


class Targets(NamedTuple):
    """The operator's URL, if there is one, and the origins that URLs of requests may have."""

    default: httpx.URL | None
    allowed: frozenset[Origin] = frozenset()
    allows_private: bool = False

    def check(self, text: str) -> httpx.URL:
        """Return the URL of a request. Raises ConfigurationError unless its origin is allowed."""
        url = parse_url(text)
        if Origin.of(url) not in self.allowed:
            message = f"webhooks to {Origin.of(url)} are not allowed (--webhook-allow)"
            raise ConfigurationError(message)
        return url

    def allow_address(self, address: str) -> bool:
        """Return whether the host of a request's URL may have this address; link-local ones serve a cloud's credentials."""
        ip = ip_address(address.partition("%")[0])
        if isinstance(ip, IPv6Address):
            embedded = ip_address(ip.packed[-4:]) if ip in _NAT64 else ip.sixtofour
            ip = ip.ipv4_mapped or embedded or ip
        if ip.is_loopback:
            return self.allows_private
        if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
            return False
        return ip.is_global or (self.allows_private and (ip.is_private or ip in _SHARED))


def parse_url(text: str) -> httpx.URL:
    """Return the URL of a receiver. Raises ConfigurationError, which never quotes it: its path may be a secret."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    problem = None
    if url.scheme not in {"http", "https"} or not _HOST.fullmatch(url.raw_host.decode("ascii")):
        problem = "must look like https://host/path"
    elif url.port is not None and not 0 < url.port < 2**16:
        problem = "must have a port from 1 to 65535"
    elif len(text) > MAX_URL_LENGTH:
        problem = f"must not be longer than {MAX_URL_LENGTH} characters"
    elif url.userinfo or url.fragment:
        problem = "must not carry a user, a password or a fragment"
    if problem is not None:
        message = f"the URL of a webhook {problem}"
        raise ConfigurationError(message)
    return url
