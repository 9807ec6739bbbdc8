"""An httpx transport with one deadline for a whole request.

httpx gives each read its own time-out, so a server that sends a byte now and then can prolong a blocking request without limit.
Here a request has one deadline for everything that it reads and writes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl

_deadline: ContextVar[float] = ContextVar("_deadline", default=inf)


class Transport(httpx.BaseTransport):
    """Sends requests over httpcore until the deadline in ``extensions["deadline"]`` of the request, in monotonic seconds."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None, proxy: str | None, keepalive_expiry: float) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            proxy=None if proxy is None else _convert_proxy(httpx.Proxy(proxy)),
            max_connections=None,  # threads that share the transport do not wait for each other
            keepalive_expiry=keepalive_expiry,
            network_backend=_Network(httpcore.SyncBackend()),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its body is read until the same deadline."""
        _deadline.set(request.extensions.get("deadline", inf))
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with _map_exceptions():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=dict(request.extensions),
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response.stream))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def _convert_proxy(proxy: httpx.Proxy) -> httpcore.Proxy:
    # httpcore does not read credentials from a URL.
    return httpcore.Proxy(str(proxy.url), auth=proxy.raw_auth)


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - httpcore types it as either of its two kinds
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _map_exceptions():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _map_exceptions() -> Iterator[None]:
    # Both libraries use the same names for their exceptions.
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


def _time_left(timeout: float | None) -> float | None:
    left = min(inf if timeout is None else timeout, _deadline.get() - time.monotonic())
    if left <= 0:
        message = "the whole request took too long"
        raise httpcore.ReadTimeout(message)
    return None if left == inf else left


class _Network(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try each address of the host with an equal share of the time left, so that dead addresses leave time for others."""
        addresses = _resolve(host, port)
        for attempt, address in enumerate(addresses, start=1):
            left = _time_left(timeout)
            share = None if left is None else left / (len(addresses) - attempt + 1)
            try:
                return _Stream(self._backend.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if attempt == len(addresses):
                    raise
        message = f"{host} has no address"
        raise httpcore.ConnectError(message)


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        message = f"cannot resolve {host}: {error.strerror}"
        raise httpcore.ConnectError(message) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _time_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _time_left(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _time_left(timeout)))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._stream.get_extra_info(info)
