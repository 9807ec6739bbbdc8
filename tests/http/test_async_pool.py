"""Kept connections to scripted servers over real sockets."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import struct
import threading
import warnings
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from ports import reserved_port

from waiter import AsyncWaiter, InvalidResponseError
from waiter.http import async_pool
from waiter.http.async_pool import AsyncPool
from waiter.http.network_errors import ConnectError, ReadError, RemoteProtocolError
from waiter.http.response_reader import MAX_BODY
from waiter.http.route import Host, Route
from waiter.testing import SimulatedCloud, ended

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ScriptedServer:
    """Sends these responses, one list of pieces for each request; None closes the connection."""

    def __init__(self, *responses: Sequence[bytes | None]) -> None:
        self.responses = list(responses)
        self.requests: list[bytes] = []
        self.connections = 0
        self._ended = asyncio.Queue[None]()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self._ended.put_nowait(None)

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[AsyncPool]:
        server = await asyncio.start_server(self, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        pool = AsyncPool(Route(Host(host, port, None), "gcore.example", "/base"))
        try:
            yield pool
        finally:
            await pool.close()
            server.close()
            for _ in range(self.connections):
                await self._ended.get()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.responses:
            try:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            for piece in self.responses.pop(0):
                if piece is None:
                    return
                writer.write(piece)
                await asyncio.sleep(0.005)


def send_requests(server: ScriptedServer, times: int = 1, pause: float = 0.0) -> list[tuple[int, bytes]]:
    async def main() -> list[tuple[int, bytes]]:
        async with server.pool() as pool:
            return [await get(pool, pause) for _ in range(times)]

    return asyncio.run(main())


async def get(pool: AsyncPool, pause: float = 0.0) -> tuple[int, bytes]:
    status, _, body = await pool.request("GET", "/path", {"Accept": "a/b"}, 30)
    await asyncio.sleep(pause)
    # What the server has written meanwhile is read, even if the loop was late and ran both timers together.
    for _ in range(3):
        await asyncio.sleep(0)
    return status, body


def test_request_has_exactly_these_bytes() -> None:
    """Nothing else is sent."""
    server = ScriptedServer([OK])
    assert send_requests(server) == [(200, b"ok")]
    assert server.requests == [b"GET /base/path HTTP/1.1\r\nHost: gcore.example\r\nAccept: a/b\r\n\r\n"]


def test_post_request_says_that_it_has_no_body() -> None:
    """A server may answer 411 without the length (RFC 9110, 8.6)."""
    server = ScriptedServer([OK])

    async def main() -> None:
        async with server.pool() as pool:
            await pool.request("POST", "/path", {"Accept": "a/b"}, 30)

    asyncio.run(main())
    assert server.requests == [b"POST /base/path HTTP/1.1\r\nHost: gcore.example\r\nAccept: a/b\r\nContent-Length: 0\r\n\r\n"]


def test_connection_is_kept() -> None:
    """Two requests use one connection."""
    server = ScriptedServer([OK], [OK])
    assert (send_requests(server, 2), server.connections) == ([(200, b"ok")] * 2, 1)


@pytest.mark.parametrize(
    ("pieces", "response"),
    [
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK], (200, b"ok")),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", b"ok\r\n0\r\n\r\n"], (200, b"ok")),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\no", b"k", None], (200, b"ok")),
        ([b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"], (404, b"")),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], (204, b"")),
        ([OK + OK], (200, b"ok")),
        ([OK + b"junk"], (200, b"ok")),
    ],
    ids=["interim", "chunked", "until the end", "old", "empty", "two", "junk behind"],
)
def test_end_of_a_response_is_found(pieces: list[bytes | None], response: tuple[int, bytes]) -> None:
    """Every way to mark the end of a response is read, and the next request gets its own response."""
    assert send_requests(ScriptedServer(pieces, [OK]), 2) == [response, (200, b"ok")]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([None], "disconnected after 0 bytes"),
        ([b"HTTP/1.1 200 OK\r\n", None], "disconnected after 17 bytes"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", None], "disconnected after 40 bytes"),
        ([b"220 smtp.example ESMTP\r\n"], "Expected HTTP/"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"], "asks for another protocol"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000], "more than 102400 bytes of headers"),
    ],
    ids=["nothing", "half a head", "half a body", "another protocol", "upgrade", "endless head"],
)
def test_malformed_response_is_an_error(pieces: list[bytes | None], message: str) -> None:
    """The error says what is wrong, and the connection is not kept."""
    server = ScriptedServer(pieces, [OK])
    with pytest.raises(RemoteProtocolError, match=message):
        send_requests(server)


def test_trailers_are_no_headers() -> None:
    """Fields after the body do not change how the body is read."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Encoding: gzip\r\n\r\n"

    async def main() -> list[str]:
        async with ScriptedServer([chunked]).pool() as pool:
            _, headers, _ = await pool.request("GET", "/path", {}, 30)
            return [name for name, _ in headers]

    assert asyncio.run(main()) == ["Transfer-Encoding"]


def test_each_event_loop_opens_its_own_connections() -> None:
    """A connection belongs to the loop that opened it."""
    cloud = SimulatedCloud()
    task_id = cloud.add(ended())
    with cloud.serve() as url:
        waiter = AsyncWaiter(api_key=cloud.api_key, base_url=url, learn=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the first loop has left its connection open
            states = [str(asyncio.run(waiter.wait(task_id)).state) for _ in range(2)]
            asyncio.run(waiter.close())
            gc.collect()
    assert states == ["FINISHED"] * 2


def test_closed_idle_connection_is_replaced() -> None:
    """A new connection is opened for the next request."""
    server = ScriptedServer([OK, None], [OK])
    assert (send_requests(server, 2, pause=0.05), server.connections) == ([(200, b"ok")] * 2, 2)


def test_request_on_a_stale_connection_is_repeated_once() -> None:
    """The request is sent again over a new connection."""
    server = ScriptedServer([OK], [None], [OK])
    assert (send_requests(server, 2), server.connections) == ([(200, b"ok")] * 2, 2)


def test_connection_that_breaks_in_a_response_is_an_error() -> None:
    """The request is not repeated."""
    with pytest.raises(RemoteProtocolError, match="after 15 bytes"):
        send_requests(ScriptedServer([OK], [b"HTTP/1.1 200 OK", None]), 2)


def test_unrequested_bytes_are_not_a_response() -> None:
    """Bytes on an idle connection are not taken for the next response."""
    server = ScriptedServer([OK, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], [OK])
    assert (send_requests(server, 2, pause=0.05), server.connections) == ([(200, b"ok")] * 2, 2)


def test_expired_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are closed after their time, however many there were."""
    monkeypatch.setattr(async_pool, "KEEPALIVE_EXPIRY", 0.02)

    async def main() -> tuple[int, int]:
        server = ScriptedServer(*[[OK]] * 9)
        async with server.pool() as pool:
            await asyncio.gather(*(get(pool) for _ in range(8)))
            await asyncio.sleep(0.05)
            await get(pool)
            return server.connections, len(pool._idle)

    assert asyncio.run(main()) == (9, 1)


def test_expired_connections_are_closed_while_another_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst does not leave its connections behind."""
    monkeypatch.setattr(async_pool, "KEEPALIVE_EXPIRY", 0.2)

    async def main() -> int:
        async with ScriptedServer(*[[OK]] * 7).pool() as pool:
            await asyncio.gather(get(pool), get(pool), get(pool))
            for _ in range(4):
                await get(pool, pause=0.1)
            return len(pool._idle)

    assert asyncio.run(main()) == 1


def task_id_of(coding: bytes, body: bytes) -> str:
    server = ScriptedServer(
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (coding, len(body), body)]
    )

    async def main() -> str:
        async with server.pool() as pool:
            url = f"http://127.0.0.1:{pool._route.server.port}"
            async with AsyncWaiter(api_key="k", base_url=url) as waiter:
                return (await waiter.status("t-1")).id

    return asyncio.run(main())


@pytest.mark.parametrize(("coding", "code"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"identity", bytes)])
def test_content_coding_is_decoded(coding: bytes, code: Callable[[bytes], bytes]) -> None:
    """A server may use a coding that was not asked for."""
    assert task_id_of(coding, code(b'{"id": "t-1", "state": "NEW"}')) == "t-1"


@pytest.mark.parametrize(
    ("coding", "body", "message"),
    [
        (b"gzip", b"no gzip", "DecodingError"),
        (b"br", b"{}", "it has the content coding 'br'"),
        (b"gzip", gzip.compress(b" " * (MAX_BODY + 1)), "more than 16777216 bytes"),
    ],
    ids=["broken", "unknown", "bomb"],
)
def test_bad_content_coding_is_an_invalid_response(coding: bytes, body: bytes, message: str) -> None:
    """It contradicts the API's description, however small the body is on the wire."""
    with pytest.raises(InvalidResponseError, match=f"invalid response: .*{message}"):
        task_id_of(coding, body)


def test_refused_connection_is_an_error() -> None:
    """Nothing listens on the port."""
    with reserved_port() as port, pytest.raises(ConnectError):
        asyncio.run(get(AsyncPool(Route(Host("127.0.0.1", port, None), "gcore.example", ""))))


class ResettingServer(ScriptedServer):
    """Resets the connection in the middle of the head."""

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await asyncio.sleep(0.02)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


def test_reset_connection_is_an_error() -> None:
    """A connection that breaks is an error."""
    with pytest.raises(ReadError):
        send_requests(ResettingServer())


def test_cancelled_request_closes_its_connection() -> None:
    """Its response would otherwise be read by the next request."""

    async def main() -> int:
        async with ScriptedServer([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 30]).pool() as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await get(pool)
            return len(pool._idle)

    assert asyncio.run(main()) == 0


class Addresses:
    """Connects to addresses as scripted: an exception fails, a number fails after its seconds, and a socket succeeds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *script: OSError | socket.socket | float) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{n}", 443)) for n in range(len(script))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(async_pool, "_connect_to", self._connect)
        monkeypatch.setattr(async_pool, "ATTEMPT_DELAY", 0.01)
        self._script = list(script)

    async def _connect(self, _: object) -> socket.socket:
        outcome = self._script.pop(0)
        if isinstance(outcome, socket.socket):
            return outcome
        if isinstance(outcome, OSError):
            raise outcome
        await asyncio.sleep(outcome)
        raise ConnectionRefusedError(outcome)


def test_next_address_is_tried_while_the_first_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead IPv6 address costs a quarter of a second, and no error."""
    with socket.socket() as good:
        Addresses(monkeypatch, 3600, ConnectionRefusedError("dead"), good)
        assert asyncio.run(async_pool._open_socket("gcore.example", 443)) is good


def test_last_error_of_all_addresses_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the reason."""
    Addresses(monkeypatch, ConnectionRefusedError("first"), 0.05, 0.1)
    with pytest.raises(ConnectError, match=r"0\.1"):
        asyncio.run(async_pool._open_socket("gcore.example", 443))


def test_second_connection_of_a_race_is_closed() -> None:
    """Two addresses accepted at the same time."""

    async def main() -> None:
        both = [asyncio.ensure_future(asyncio.sleep(0, result=sock)) for sock in sockets]
        await asyncio.gather(*both)
        for attempt in both[1:]:
            async_pool._close_socket(attempt)

    sockets = [socket.socket(), socket.socket()]
    asyncio.run(main())
    assert [sock.fileno() >= 0 for sock in sockets] == [True, False]
    sockets[0].close()


def test_connections_are_closed_from_another_event_loop() -> None:
    """``AsyncWaiter.close`` may be called from a loop that is not the one of the connections."""
    server = ScriptedServer([OK])

    async def main() -> int:
        async with server.pool() as pool:
            await get(pool)
            thread = threading.Thread(target=lambda: asyncio.run(pool.close()))
            thread.start()
            await asyncio.to_thread(thread.join)
            return len(pool._idle)

    assert asyncio.run(main()) == 0
