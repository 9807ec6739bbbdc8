"""Kept connections for many small requests: asyncio's transports, the parser of Node.js, and a stack of what is idle.

httpx's pool looks at every connection for every request, which costs 50 ms at 256 of them; here a request takes the one that
was used last. TLS, IPv6 and its fallback are asyncio's; tests/benchmarks/many.py shows what a look costs.
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

LARGEST_ARRIVAL = 256 * 1024
LARGEST_HEAD = 100 * 1024
# What begins with 1 announces an answer (RFC 9110, 15.2).
_FINAL = 200

Head = tuple[int, list[tuple[str, str]]]


def runs_under_asyncio() -> bool:
    """Whether the caller is awaited by asyncio, and not by trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Server(NamedTuple):
    """Whom to connect to: ``netloc`` is the Host header, ``path`` goes before all others, no ``ssl_context`` is plain http."""

    host: str
    port: int
    netloc: str
    path: str
    ssl_context: ssl.SSLContext | None


class ConnectError(OSError):
    """There is no connection to the server. The names here are those of httpx, since they are shown."""


class ReadError(OSError):
    """The connection broke."""


class RemoteProtocolError(OSError):
    """The server broke off, or what it sent is not HTTP."""


class Pool:
    """Connections to one server; whoever asks may be cancelled at any moment."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: deque[_Connection] = deque()
        # Where asyncio puts what arrives, to be read at once; to allocate as much for each read would take a tenth of a look.
        self._arrivals = bytearray(LARGEST_ARRIVAL)

    @cached_property
    def is_of_use(self) -> bool:
        """Whether it can be used here; an event loop does not change under a client."""
        return runs_under_asyncio()

    @staticmethod
    def within(seconds: float) -> asyncio.Timeout:
        """Bound all that is awaited in this context."""
        return asyncio.timeout(seconds)

    async def get(self, path: str, headers: Mapping[str, str], add: Callable[[bytes], None]) -> Head:
        """Get what is there, ``add`` each piece of its body, and give its head; raises OSError."""
        request = self._request(path, headers)
        connection = self._take() or await self._connect()
        try:
            head = await connection.send(request, add)
        except _StaleError:
            # The server closed it while nobody looked: nothing was lost but this connection.
            connection = await self._connect()
            head = await connection.send(request, add)
        self._keep(connection)
        return head

    def _request(self, path: str, headers: Mapping[str, str]) -> SecretBytes:
        lines = [f"GET {self._server.path.rstrip('/')}{path} HTTP/1.1", f"Host: {self._server.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return SecretBytes("\r\n".join([*lines, "Accept-Encoding: identity", "\r\n"]).encode("ascii"))

    async def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()
        # The loop closes the sockets in its next turn, and those under TLS in the one after.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _connect(self) -> _Connection:
        server, connect = self._server, asyncio.get_running_loop().create_connection
        # Whoever is cancelled in a race between addresses leaves sockets behind, so there is none where there is one address.
        delay = None if _is_address(server.host) else 0.25
        make = partial(_Connection, self._arrivals)
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
    """A kept connection was closed before it gave any of the answer."""


class _Connection(asyncio.BufferedProtocol):
    """One connection, which gives one answer at a time; the methods named on_... are what httptools calls."""

    def __init__(self, arrivals: bytearray) -> None:
        self._arrivals = memoryview(arrivals)
        self._transport: asyncio.Transport
        self._answer: _Answer
        self._is_asked = False
        self._idle_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_alive(self) -> bool:
        """Whether an idle connection can be used again."""
        expired = self._idle_since is not None and self._loop.time() - self._idle_since > KEEPALIVE_EXPIRY
        return not (expired or self._transport.is_closing()) and self._loop is asyncio.get_running_loop()

    async def send(self, request: bytes, add: Callable[[bytes], None]) -> Head:
        """Send a request and read its answer; whatever comes in between closes the connection."""
        self._answer, self._is_asked = (answer := _Answer(self._loop.create_future(), add)), True
        self._transport.write(request)
        try:
            await answer.is_read
        except BaseException:
            self.close()
            raise
        self._is_asked, self._idle_since = False, self._loop.time()
        return answer.status, answer.headers

    def close(self) -> None:
        if not self._loop.is_closed():
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _: int) -> memoryview:
        return self._arrivals

    def buffer_updated(self, size: int) -> None:
        if not self._is_asked or (answer := self._answer).is_read.done():
            self.close()  # nobody wants it
            return
        answer.size += size
        try:
            self._feed(self._arrivals[:size])
            answer.check_and_pass_on()
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
            answer.is_read.set_exception(error)

    def _feed(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.close()
            if not self._answer.is_complete:  # what comes behind an answer is nobody's
                upgrades = isinstance(error, httptools.HttpParserUpgrade)
                raise RemoteProtocolError("the server wants another protocol" if upgrades else str(error)) from error

    def connection_lost(self, error: Exception | None) -> None:
        # The parser and its listener hold each other, and collecting such garbage halts a loop with ten thousand waits.
        del self._parser
        self._transport.close()  # once more, which has asyncio's TLS let go of this
        if not self._is_asked or self._answer.is_read.done():
            return
        if self._idle_since is not None and not self._answer.size:
            self._answer.is_read.set_exception(_StaleError())
        elif error is not None:
            self._answer.is_read.set_exception(ReadError(str(error)))
        else:
            self._answer.end()

    def on_message_begin(self) -> None:
        if self._answer.is_complete:
            message = "there is more than one answer"
            raise ValueError(message)
        self._answer.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._answer.status:  # what comes after the body is no header (RFC 9110, 6.5)
            self._answer.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self._answer.status = status

    def on_body(self, chunk: bytes) -> None:
        self._answer.chunks.append(chunk)

    def on_message_complete(self) -> None:
        self._answer.is_complete = self._answer.status >= _FINAL
        if self._answer.is_complete and not self._parser.should_keep_alive():
            self._transport.close()


class _Answer:
    """As much of an answer as has arrived."""

    def __init__(self, is_read: asyncio.Future[None], add: Callable[[bytes], None]) -> None:
        self.is_read = is_read
        self.status = self.size = 0
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.is_complete = False
        self._add = add

    def check_and_pass_on(self) -> None:
        """Pass on what has arrived of the body."""
        if not self.status and self.size > LARGEST_HEAD:
            message = f"more than {LARGEST_HEAD} bytes of headers"
            raise RemoteProtocolError(message)
        for chunk in self.chunks:
            self._add(chunk)
        self.chunks.clear()
        if self.is_complete:
            self.is_read.set_result(None)

    def end(self) -> None:
        """Take note that nothing more will come (RFC 9112, 6.3: a body without a length ends with the connection)."""
        if not self.status or not {"content-length", "transfer-encoding"}.isdisjoint(name.lower() for name, _ in self.headers):
            message = f"Server disconnected after {self.size} bytes of an answer."
            self.is_read.set_exception(RemoteProtocolError(message))
        else:
            self.is_read.set_result(None)
