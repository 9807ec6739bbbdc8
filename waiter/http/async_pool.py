"""Kept connections for many small requests: asyncio's transports, and a stack of idle connections.

httpx's pool examines every connection for every request, which takes 50 ms with 256 connections; here a request takes the one
that was used last. tests/benchmarks/many.py measures a poll.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

from waiter.config.api_key import SecretBytes
from waiter.http.exchange import KEEPALIVE_EXPIRY, Received
from waiter.http.network_errors import ConnectError, ProxyError, ReadError, StaleConnectionError
from waiter.http.resolver import Address, start_lookup
from waiter.http.response_reader import ResponseReader, TunnelReader
from waiter.http.route import Route, check_tunnel

if TYPE_CHECKING:
    import ssl

RECEIVE_BUFFER_SIZE = 256 * 1024
# RFC 8305, 5: the next address is tried after this time, while the attempts before it continue.
ATTEMPT_DELAY = 0.25
_Reader = TypeVar("_Reader", bound=ResponseReader)


def runs_under_asyncio() -> bool:
    """Whether the caller runs in an event loop of asyncio, and not of trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class AsyncPool:
    """Connections to one server; each request may be cancelled at any moment."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._idle: deque[_Connection] = deque()
        self._is_closed = False
        # One buffer for all connections, read as soon as asyncio has filled it; one for each read would take a tenth of a poll.
        # A view, because its repr does not show what a server may echo.
        self._buffer = memoryview(bytearray(RECEIVE_BUFFER_SIZE))

    async def request(self, method: str, path: str, headers: Mapping[str, str], timeout: float) -> Received:  # noqa: ASYNC109 - like BlockingPool
        """Send a request without a body and return the response. Raises OSError; TimeoutError when it takes longer."""
        async with asyncio.timeout(timeout):
            connection = self._take() or await self._connect()
            request = self._route.request(method, path, headers)
            try:
                reader = await connection.send(request, ResponseReader())
            except StaleConnectionError:
                connection = await self._connect()
                reader = await connection.send(request, ResponseReader())
        if reader.can_keep_alive and not self._is_closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            while len(self._idle) > 1 and not self._idle[0].is_alive:
                self._idle.popleft().close()
        else:
            connection.close()
        return reader.status, reader.headers, reader.body

    async def close(self) -> None:
        """Close the idle connections; those in use are closed after their response."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
        # The loop closes the sockets in its next iteration, and those under TLS in the one after.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _connect(self) -> _Connection:
        """Open a connection to the server, through the proxy if there is one. Raises OSError."""
        route, host = self._route, self._route.first_host
        loop = asyncio.get_running_loop()
        sock = await _open_socket(host.name, host.port)
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self._buffer),
                sock=sock,
                ssl=host.ssl_context,
                server_hostname=host.name if host.ssl_context else None,
            )
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise ConnectError(str(error)) from error
            raise
        if route.has_tunnel:
            await connection.open_tunnel(route)
        return connection

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive:
                return connection
            connection.close()
        return None


async def _open_socket(host: str, port: int) -> socket.socket:
    """Connect to the addresses of a host, each after a delay, until one accepts. Raises ConnectError."""
    # Cancelling this wait must not cancel the lookup, which other requests may share.
    lookup: asyncio.Future[list[Address]] = asyncio.wrap_future(start_lookup(host, port))
    waiting = list(await asyncio.shield(lookup))
    attempts: set[asyncio.Task[socket.socket]] = set()
    fault: BaseException | None = None
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.ensure_future(_connect_to(waiting.pop(0))))
            delay = ATTEMPT_DELAY if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                attempts.discard(attempt)
                fault = attempt.exception()
                if fault is None:
                    return attempt.result()
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close_socket)
            attempt.cancel()
    raise ConnectError(str(fault)) from fault


async def _connect_to(address: Address) -> socket.socket:
    family, kind, protocol, target = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_socket(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that is no longer needed."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


class _Connection(asyncio.BufferedProtocol):
    """One connection with one response at a time."""

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader: ResponseReader | None = None
        self._is_read: asyncio.Future[None]
        self.idle_since: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether an idle connection can be used again."""
        expired = self.idle_since is not None and self._loop.time() - self.idle_since > KEEPALIVE_EXPIRY
        return not (expired or self._transport.is_closing()) and self._loop is asyncio.get_running_loop()

    async def send(self, request: SecretBytes, reader: _Reader) -> _Reader:
        """Send a request and return the reader with its response; any exception closes the connection."""
        self._reader = reader
        self._is_read = self._loop.create_future()
        try:
            self._transport.write(request)
            await self._is_read
        except BaseException:
            self.close()
            raise
        finally:
            self._reader = None
            reader.close()
        return reader

    async def open_tunnel(self, route: Route) -> None:
        """Ask the proxy for a tunnel and encrypt what goes through it. Raises OSError."""
        context = cast("ssl.SSLContext", route.server.ssl_context)
        reader = await self.send(route.tunnel_request(), TunnelReader())
        try:
            check_tunnel(reader)
            transport = await self._loop.start_tls(self._transport, self, context, server_hostname=route.server.name)
        except BaseException as error:
            self.close()
            if isinstance(error, TypeError):  # a defect of asyncio in Python 3.11, when TLS in TLS fails
                message = "TLS through the proxy failed"
                raise ConnectError(message) from error
            if isinstance(error, OSError) and not isinstance(error, TimeoutError | ProxyError):
                raise ConnectError(str(error)) from error
            raise
        self._transport = cast("asyncio.Transport", transport)

    def close(self) -> None:
        """Close the connection, from any event loop."""
        if self._loop.is_closed():
            return
        if self._loop is asyncio.get_running_loop():
            self._transport.abort()
        else:
            with suppress(RuntimeError):  # the loop may be closed meanwhile
                self._loop.call_soon_threadsafe(self._transport.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        if (reader := self._reader) is None or self._is_read.done():
            self.close()  # no request is waiting for these bytes
            return
        try:
            reader.feed(self._buffer[:size])
        except Exception as error:  # noqa: BLE001 - it is raised where the response is awaited
            self._is_read.set_exception(error)
        else:
            if reader.is_complete:
                self._is_read.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport.close()  # a second call makes asyncio's TLS release its reference
        if (reader := self._reader) is None or self._is_read.done():
            return
        if self.idle_since is not None and not reader.size:
            self._is_read.set_exception(StaleConnectionError())
        elif error is not None:
            self._is_read.set_exception(ReadError(str(error)))
        else:
            try:
                reader.end()
            except OSError as fault:
                self._is_read.set_exception(fault)
            else:
                self._is_read.set_result(None)
