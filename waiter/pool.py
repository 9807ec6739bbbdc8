"""Kept connections for many small requests: asyncio's streams, the parser of Node.js, and a stack of what is idle.

httpx's pool looks at every connection for every request, which costs 50 ms at 256 of them; here a request takes the one that
was used last. CPU per request measured side by side, in µs at 64 in flight: these streams with httptools 30 and with h11 115,
AnyIO's streams 60 and 160, aiohttp 105, httpx over a transport like this 205. TLS, IPv6 and its fallback are asyncio's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import httptools

from waiter.key import SecretBytes

if TYPE_CHECKING:
    import ssl

# Longer than most gaps between looks, and shorter than what balancers allow (60 s is usual).
KEEPALIVE_EXPIRY = 55.0
# Requests in flight are their rate times the round trip: 150 at 2,500 a second and 60 ms.
MOST_CONNECTIONS = 256
LARGEST_HEAD = 100 * 1024
# What begins with 1 announces an answer (RFC 9110, 15.2).
_FINAL = 200
_CHUNK = 256 * 1024

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
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    @property
    def is_of_use(self) -> bool:
        """Whether it can be used here."""
        return runs_under_asyncio()

    @staticmethod
    def within(seconds: float) -> asyncio.Timeout:
        """Bound all that is awaited in this context."""
        return asyncio.timeout(seconds)

    async def get(self, path: str, headers: Mapping[str, str], add: Callable[[bytes], None]) -> Head:
        """Get what is there, ``add`` each piece of its body, and give its head; raises OSError."""
        request = self._request(path, headers)
        async with self._room:
            if (kept := self._take()) is not None:
                try:
                    return await self._exchange(kept, request, add)
                except _StaleError:
                    pass  # the server closed it while nobody looked: nothing was lost but this connection
            return await self._exchange(await _Connection.open(self._server), request, add)

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

    async def _exchange(self, connection: _Connection, request: bytes, add: Callable[[bytes], None]) -> Head:
        try:
            head = await connection.send(request, add)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return head

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive:
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        self._idle.append(connection)
        while self._idle and not self._idle[0].is_alive:
            self._idle.popleft().close()


class _StaleError(Exception):
    """A kept connection was closed before it gave any of the answer."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = asyncio.get_running_loop().time
        self._idle_since: float | None = None

    @classmethod
    async def open(cls, server: Server) -> _Connection:
        host, port, context = server.host, server.port, server.ssl_context
        try:
            return cls(*await asyncio.open_connection(host, port, ssl=context, limit=_CHUNK, happy_eyeballs_delay=0.25))
        except OSError as error:
            raise ConnectError(str(error)) from error

    @property
    def is_alive(self) -> bool:
        """Whether an idle connection can be used again."""
        expired = self._idle_since is not None and self._clock() - self._idle_since > KEEPALIVE_EXPIRY
        return not (expired or self._reader.at_eof() or self._writer.is_closing())

    async def send(self, request: bytes, add: Callable[[bytes], None]) -> Head:
        """Send a request, read the answer, and say whether the connection can be used again."""
        answer = _Answer(add)
        try:
            self._writer.write(request)
            await answer.read_from(self._reader)
        except (OSError, httptools.HttpParserError) as error:
            if self._idle_since is not None and not answer.size:
                raise _StaleError from error
            kind = ReadError if isinstance(error, ConnectionError) else RemoteProtocolError
            raise kind(str(error)) from error
        self._idle_since = self._clock()
        if not answer.keeps_alive:
            self.close()
        return answer.status, answer.headers

    def close(self) -> None:
        self._writer.transport.abort()


class _Answer:
    """One answer as it arrives; the methods named on_... are what httptools calls."""

    def __init__(self, add: Callable[[bytes], None]) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.keeps_alive = False
        self.size = 0
        self._add = add
        self._chunks: list[bytes] = []
        self._is_complete = False
        self._parser = httptools.HttpResponseParser(self)

    async def read_from(self, reader: asyncio.StreamReader) -> None:
        """Read all of the answer; raises OSError and HttpParserError."""
        try:
            await self._read_from(reader)
        finally:
            # The parser and its listener hold each other, and collecting such garbage halts a loop with ten thousand waits.
            del self._parser

    async def _read_from(self, reader: asyncio.StreamReader) -> None:
        while not self._is_complete:
            data = await reader.read(_CHUNK)
            if not data:
                self._end()
            self.size += len(data)
            self._parser.feed_data(data)
            if not self.status and self.size > LARGEST_HEAD:
                message = f"more than {LARGEST_HEAD} bytes of headers"
                raise RemoteProtocolError(message)
            for chunk in self._chunks:
                self._add(chunk)
            self._chunks.clear()

    def _end(self) -> None:
        """Take note that nothing more will come (RFC 9112, 6.3: a body without a length ends with the connection)."""
        if not self.status or not {"content-length", "transfer-encoding"}.isdisjoint(name.lower() for name, _ in self.headers):
            message = f"Server disconnected after {self.size} bytes of an answer."
            raise RemoteProtocolError(message)
        self._is_complete = True

    def on_message_begin(self) -> None:
        if self._is_complete:
            message = "there is more than one answer"
            raise ValueError(message)
        self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self.status, self.keeps_alive = status, self._parser.should_keep_alive()

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        self._is_complete = self.status >= _FINAL
