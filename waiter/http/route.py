"""The way to the API: the server and, if there is one, the proxy, with the bytes of the requests to them."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import httpx

from waiter.config.api_key import Secret, SecretBytes
from waiter.errors import ConfigurationError
from waiter.http.network_errors import ProxyError
from waiter.http.response_reader import TunnelReader

if TYPE_CHECKING:
    from waiter.config.settings import Settings

_PORTS = {"http": 80, "https": 443}


class Host(NamedTuple):
    """A host to connect to; without ``ssl_context``, the connection is not encrypted."""

    name: str
    port: int
    ssl_context: ssl.SSLContext | None


class Route(NamedTuple):
    """The server and the proxy; ``netloc`` is the Host header, and ``path`` precedes every path."""

    server: Host
    netloc: str
    path: str
    proxy: Host | None = None
    proxy_headers: Mapping[str, str] = {}

    @property
    def first_host(self) -> Host:
        """The host to which the connection is opened."""
        return self.proxy or self.server

    @property
    def has_tunnel(self) -> bool:
        """Whether the proxy is asked to connect to the server; it passes on unencrypted requests itself."""
        return self.proxy is not None and self.server.ssl_context is not None

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> SecretBytes:
        """Return the bytes of a request without a body."""
        target = f"{self.path}{path}"
        if self.proxy is not None and self.server.ssl_context is None:
            target = f"http://{self.netloc}{target}"
            headers = {**headers, **self.proxy_headers}
        if method == "POST":  # RFC 9110, 8.6: for a method that may have a body
            headers = {**headers, "Content-Length": "0"}
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.netloc}", *map(": ".join, headers.items()), "\r\n"]
        return SecretBytes("\r\n".join(lines).encode("ascii"))

    def tunnel_request(self) -> SecretBytes:
        """Return the bytes of the request for a tunnel through the proxy."""
        name = f"[{self.server.name}]" if ":" in self.server.name else self.server.name
        target = f"{name}:{self.server.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *map(": ".join, self.proxy_headers.items()), "\r\n"]
        return SecretBytes("\r\n".join(lines).encode("ascii"))


def check_tunnel(response: TunnelReader) -> None:
    """Raise ProxyError unless the proxy has opened the tunnel."""
    if not 200 <= response.status < 300:  # noqa: PLR2004 - a class of RFC 9110, section 15
        message = f"{response.status} {response.reason.decode('latin-1')}"
        raise ProxyError(message)


def find_route(settings: Settings) -> Route:
    """Return the route to the API. Raises ConfigurationError when the certificates cannot be read."""
    url = httpx.URL(settings.base_url)
    context = _make_ssl_context(settings)
    netloc, path = url.netloc.decode("ascii"), url.raw_path.decode("ascii").rstrip("/")
    server = _host_of(url, context)
    if settings.proxy is None:
        return Route(server, netloc, path)
    proxy = httpx.URL(settings.proxy)
    headers: dict[str, str] = {}
    if proxy.username or proxy.password:
        credentials = b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
        headers["Proxy-Authorization"] = Secret(f"Basic {credentials}")
    proxy_context = None if proxy.scheme == "http" else context or _create_ssl_context(settings)
    return Route(server, netloc, path, _host_of(proxy, proxy_context), headers)


def _host_of(url: httpx.URL, context: ssl.SSLContext | None) -> Host:
    return Host(url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme], context)


def _make_ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context for an https URL, else None. Raises ConfigurationError when the certificates cannot be read."""
    # Reading the certificates takes longer than a poll, so plain http does without.
    return _create_ssl_context(settings) if settings.base_url.startswith("https:") else None


def _create_ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = httpx.create_ssl_context()
    except OSError as error:
        message = f"the certificates of {settings.certificates} cannot be read: {error.strerror or error}"
        raise ConfigurationError(message) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
