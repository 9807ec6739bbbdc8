"""Kept connections for many small requests: asyncio's transports, the HTTP parser of Node.js, and a stack of idle connections.

httpx's pool examines every connection for every request, which takes 50 ms with 256 connections; here a request takes the one
that was used last. TLS and the choice between IPv6 and IPv4 are asyncio's. tests/benchmarks/many.py measures a poll.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple, cast

import httptools

from waiter.config.api_key import SecretBytes
from waiter.http.exchange import KEEPALIVE_EXPIRY

if TYPE_CHECKING:
    import ssl

RECEIVE_BUFFER_SIZE = 256 * 1024
MAX_HEAD = 100 * 1024
# A status below this is interim: the response follows (RFC 9110, 15.2).
_FINAL = 200

Head = tuple[int, list[tuple[str, str]]]


def runs_under_asyncio() -> bool:
    """Whether the caller runs in an event loop of asyncio, and not of trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Server(NamedTuple):
    """The server: ``netloc`` is the Host header, ``path`` precedes every path; without ``ssl_context`` it is plain http."""

    host: str
    port: int
    netloc: str
    path: str
    ssl_context: ssl.SSLContext | None


class ConnectError(OSError):
    """Connecting failed. The names of these errors appear in messages, and are those of httpx."""


class ReadError(OSError):
    """The connection broke."""


class RemoteProtocolError(OSError):
    """The server closed the connection early, or what it sent is not HTTP."""


class Pool:
    """Connections to one server; each request may be cancelled at any moment."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: deque[_Connection] = deque()
        # One buffer for all connections, read as soon as asyncio has filled it; one for each read would take a tenth of a poll.
        self._buffer = bytearray(RECEIVE_BUFFER_SIZE)

    @cached_property
    def is_usable(self) -> bool:
        """Whether the caller runs under asyncio; that does not change during the life of a client."""
        return runs_under_asyncio()

    @staticmethod
    def within(seconds: float) -> asyncio.Timeout:
        """Return a context that ends with TimeoutError after this time."""
        return asyncio.timeout(seconds)

    async def get(self, path: str, headers: Mapping[str, str], add: Callable[[bytes], None]) -> Head:
        """Send a GET request, call ``add`` with each piece of the body, and return the head of the response. Raises OSError."""
        request = self._request(path, headers)
        connection = self._take() or await self._connect()
        try:
            head = await connection.send(request, add)
        except _StaleError:
            # The server closed the idle connection; it has not processed the request.
            connection = await self._connect()
            head = await connection.send(request, add)
        self._keep(connection)
        return head

    def _request(self, path: str, headers: Mapping[str, str]) -> SecretBytes:
        lines = [f"GET {self._server.path.rstrip('/')}{path} HTTP/1.1", f"Host: {self._server.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return SecretBytes("\r\n".join([*lines, "\r\n"]).encode("ascii"))

    async def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()
        # The loop closes the sockets in its next iteration, and those under TLS in the one after.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _connect(self) -> _Connection:
        server, connect = self._server, asyncio.get_running_loop().create_connection
        # Cancelling a race between addresses leaks sockets, so there is no race when the host is an address.
        delay = None if _is_address(server.host) else 0.25
        make = partial(_Connection, self._buffer)
        try:
            _, connection = await connect(make, server.host, server.port, ssl=server.ssl_context, happy_eyeballs_delay=delay)
        except OSError as error:
            raise ConnectError(str(error)) from error
        return connection

    def _keep(self, connection: _Connection) -> None:
        self._idle.append(connection)
        while self._idle and not self._idle[0].is_alive:
            self._idle.popleft().close()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive:
                return connection
            connection.close()
        return None


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


class _StaleError(Exception):
    """A kept connection was closed before it gave any of the response."""


class _Connection(asyncio.BufferedProtocol):
    """One connection with one response at a time; httptools calls the methods named on_..."""

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = memoryview(buffer)
        self._transport: asyncio.Transport
        self._response: _Response
        self._is_waiting = False
        self._idle_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_alive(self) -> bool:
        """Whether an idle connection can be used again."""
        expired = self._idle_since is not None and self._loop.time() - self._idle_since > KEEPALIVE_EXPIRY
        return not (expired or self._transport.is_closing()) and self._loop is asyncio.get_running_loop()

    async def send(self, request: bytes, add: Callable[[bytes], None]) -> Head:
        """Send a request and read its response; any exception closes the connection."""
        self._response, self._is_waiting = (response := _Response(self._loop.create_future(), add)), True
        self._transport.write(request)
        try:
            await response.is_read
        except BaseException:
            self.close()
            raise
        self._is_waiting, self._idle_since = False, self._loop.time()
        return response.status, response.headers

    def close(self) -> None:
        if not self._loop.is_closed():
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        if not self._is_waiting or (response := self._response).is_read.done():
            self.close()  # no request is waiting for these bytes
            return
        response.size += size
        try:
            self._feed(self._buffer[:size])
            response.deliver()
        except Exception as error:  # noqa: BLE001 - it is raised where the response is awaited
            response.is_read.set_exception(error)

    def _feed(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.close()
            if not self._response.is_complete:  # bytes after a response are ignored with their connection
                upgrades = isinstance(error, httptools.HttpParserUpgrade)
                raise RemoteProtocolError("the server asks for another protocol" if upgrades else str(error)) from error

    def connection_lost(self, error: Exception | None) -> None:
        # The parser and this object refer to each other; collecting such cycles would pause a loop with ten thousand waits.
        del self._parser
        self._transport.close()  # a second call makes asyncio's TLS release its reference
        if not self._is_waiting or self._response.is_read.done():
            return
        if self._idle_since is not None and not self._response.size:
            self._response.is_read.set_exception(_StaleError())
        elif error is not None:
            self._response.is_read.set_exception(ReadError(str(error)))
        else:
            self._response.end()

    def on_message_begin(self) -> None:
        if self._response.is_complete:
            message = "more than one response"
            raise ValueError(message)
        self._response.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._response.status:  # fields after the body are trailers, not headers (RFC 9110, 6.5)
            self._response.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self._response.status = status

    def on_body(self, chunk: bytes) -> None:
        self._response.chunks.append(chunk)

    def on_message_complete(self) -> None:
        self._response.is_complete = self._response.status >= _FINAL
        if self._response.is_complete and not self._parser.should_keep_alive():
            self._transport.close()


class _Response:
    """The part of a response that has arrived."""

    def __init__(self, is_read: asyncio.Future[None], add: Callable[[bytes], None]) -> None:
        self.is_read = is_read
        self.status = self.size = 0
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.is_complete = False
        self._add = add

    def deliver(self) -> None:
        """Pass on the body that has arrived, and complete the future after its end."""
        if not self.status and self.size > MAX_HEAD:
            message = f"more than {MAX_HEAD} bytes of headers"
            raise RemoteProtocolError(message)
        for chunk in self.chunks:
            self._add(chunk)
        self.chunks.clear()
        if self.is_complete:
            self.is_read.set_result(None)

    def end(self) -> None:
        """Complete the future at the end of the connection, which ends a body without a length (RFC 9112, 6.3)."""
        if not self.status or not {"content-length", "transfer-encoding"}.isdisjoint(name.lower() for name, _ in self.headers):
            message = f"server disconnected after {self.size} bytes of the response"
            self.is_read.set_exception(RemoteProtocolError(message))
        else:
            self.is_read.set_result(None)
