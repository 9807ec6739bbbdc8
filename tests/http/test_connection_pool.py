"""Kept connections, against real sockets that answer what they are told."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import struct
import warnings
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from waiter import AsyncWaiter, InvalidResponseError
from waiter.http import connection_pool as pool_room
from waiter.http.connection_pool import ConnectError, Pool, ReadError, RemoteProtocolError, Server
from waiter.http.exchange import LARGEST_BODY
from waiter.testing import SimulatedCloud, ended

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Told:
    """A server that gives these answers, one list of pieces per request; None closes the connection."""

    def __init__(self, *answers: Sequence[bytes | None]) -> None:
        self.answers = list(answers)
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
    async def pool(self) -> AsyncIterator[Pool]:
        server = await asyncio.start_server(self, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        pool = Pool(Server(host, port, "gcore.example", "/base", None))
        try:
            yield pool
        finally:
            await pool.close()
            server.close()
            for _ in range(self.connections):
                await self._ended.get()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.answers:
            try:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            for piece in self.answers.pop(0):
                if piece is None:
                    return
                writer.write(piece)
                await asyncio.sleep(0.005)


def ask(told: Told, times: int = 1, pause: float = 0.0) -> list[tuple[int, bytes]]:
    async def main() -> list[tuple[int, bytes]]:
        async with told.pool() as pool:
            return [await get(pool, pause) for _ in range(times)]

    return asyncio.run(main())


async def get(pool: Pool, pause: float = 0.0) -> tuple[int, bytes]:
    body: list[bytes] = []
    status, _ = await pool.get("/path", {"Accept": "a/b"}, body.append)
    await asyncio.sleep(pause)
    return status, b"".join(body)


def test_a_request_on_the_wire() -> None:
    """What is sent, to the byte."""
    told = Told([OK])
    assert ask(told) == [(200, b"ok")]
    assert told.requests == [
        b"GET /base/path HTTP/1.1\r\nHost: gcore.example\r\nAccept: a/b\r\nAccept-Encoding: identity\r\n\r\n"
    ]


def test_a_connection_is_kept() -> None:
    """Two requests, one connection."""
    told = Told([OK], [OK])
    assert (ask(told, 2), told.connections) == ([(200, b"ok")] * 2, 1)


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK], (200, b"ok")),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", b"ok\r\n0\r\n\r\n"], (200, b"ok")),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\no", b"k", None], (200, b"ok")),
        ([b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"], (404, b"")),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], (204, b"")),
        ([OK + OK], (200, b"ok")),
        ([OK + b"junk"], (200, b"ok")),
    ],
    ids=["announced", "chunked", "until the end", "old", "empty", "two", "junk behind"],
)
def test_an_answer(pieces: list[bytes | None], answer: tuple[int, bytes]) -> None:
    """Every way to say where an answer ends; the next request gets its own."""
    assert ask(Told(pieces, [OK]), 2) == [answer, (200, b"ok")]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([None], "disconnected after 0 bytes"),
        ([b"HTTP/1.1 200 OK\r\n", None], "disconnected after 17 bytes"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", None], "disconnected after 40 bytes"),
        ([b"220 smtp.example ESMTP\r\n"], "Expected HTTP/"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"], "wants another protocol"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000], "more than 102400 bytes of headers"),
    ],
    ids=["nothing", "half a head", "half a body", "another protocol", "upgrade", "endless head"],
)
def test_what_is_no_answer(pieces: list[bytes | None], message: str) -> None:
    """One error, and nothing of it is kept."""
    told = Told(pieces, [OK])
    with pytest.raises(RemoteProtocolError, match=message):
        ask(told)


def test_trailers_are_no_headers() -> None:
    """What comes behind the body says nothing of how to read it."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Encoding: gzip\r\n\r\n"

    async def main() -> list[str]:
        async with Told([chunked]).pool() as pool:
            _, headers = await pool.get("/path", {}, lambda _: None)
            return [name for name, _ in headers]

    assert asyncio.run(main()) == ["Transfer-Encoding"]


def test_another_event_loop() -> None:
    """A connection belongs to the loop that opened it; another loop opens its own."""
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


def test_a_kept_connection_that_was_closed() -> None:
    """Is noticed, and another one opened."""
    told = Told([OK, None], [OK])
    assert (ask(told, 2, pause=0.05), told.connections) == ([(200, b"ok")] * 2, 2)


def test_a_kept_connection_that_closes_under_a_request() -> None:
    """The request goes out once more."""
    told = Told([OK], [None], [OK])
    assert (ask(told, 2), told.connections) == ([(200, b"ok")] * 2, 2)


def test_a_kept_connection_that_breaks_in_an_answer() -> None:
    """Is an error like any other."""
    with pytest.raises(RemoteProtocolError, match="after 15 bytes"):
        ask(Told([OK], [b"HTTP/1.1 200 OK", None]), 2)


def test_what_nobody_asked_for() -> None:
    """Bytes on an idle connection are no answer to the next request."""
    told = Told([OK, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], [OK])
    assert (ask(told, 2, pause=0.05), told.connections) == ([(200, b"ok")] * 2, 2)


def test_old_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there were once."""
    monkeypatch.setattr(pool_room, "KEEPALIVE_EXPIRY", 0.02)

    async def main() -> tuple[int, int]:
        told = Told(*[[OK]] * 9)
        async with told.pool() as pool:
            await asyncio.gather(*(get(pool) for _ in range(8)))
            await asyncio.sleep(0.05)
            await get(pool)
            return told.connections, len(pool._idle)

    assert asyncio.run(main()) == (9, 1)


def status_of(coding: bytes, body: bytes) -> str:
    told = Told([b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (coding, len(body), body)])

    async def main() -> str:
        async with told.pool() as pool, AsyncWaiter(api_key="k", base_url=f"http://127.0.0.1:{pool._server.port}") as waiter:
            return (await waiter.status("t-1")).id

    return asyncio.run(main())


@pytest.mark.parametrize(("coding", "code"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"identity", bytes)])
def test_a_coding_that_nobody_asked_for(coding: bytes, code: Callable[[bytes], bytes]) -> None:
    """Is undone."""
    assert status_of(coding, code(b'{"id": "t-1", "state": "NEW"}')) == "t-1"


@pytest.mark.parametrize(
    ("coding", "body", "message"),
    [
        (b"gzip", b"no gzip", "DecodingError"),
        (b"br", b"{}", "it is coded as 'br'"),
        (b"gzip", gzip.compress(b" " * (LARGEST_BODY + 1)), "more than 16777216 bytes"),
    ],
    ids=["broken", "unknown", "bomb"],
)
def test_a_coding_that_cannot_be_undone(coding: bytes, body: bytes, message: str) -> None:
    """It is not what the API describes, however small it looks."""
    with pytest.raises(InvalidResponseError, match=f"not what the API describes: .*{message}"):
        status_of(coding, body)


def test_nobody_listens() -> None:
    """No connection."""

    async def main() -> None:
        server = await asyncio.start_server(Told(), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        server.close()
        await server.wait_closed()
        await get(Pool(Server(host, port, "gcore.example", "/", None)))

    with pytest.raises(ConnectError):
        asyncio.run(main())


class Resets(Told):
    """Breaks the connection in the middle of the head."""

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await asyncio.sleep(0.02)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


def test_a_reset() -> None:
    """A connection that breaks."""
    with pytest.raises(ReadError):
        ask(Resets())


def test_who_is_cancelled_leaves_no_connection() -> None:
    """Its answer would reach somebody else."""

    async def main() -> int:
        async with Told([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 30]).pool() as pool:
            with pytest.raises(TimeoutError):
                async with pool.within(0.05):
                    await get(pool)
            return len(pool._idle)

    assert asyncio.run(main()) == 0
