"""Kept connections, against real sockets that answer what they are told."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from waiter import AsyncWaiter, InvalidResponseError
from waiter import pool as pool_room
from waiter.pool import ConnectError, Pool, ReadError, RemoteProtocolError, Server

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
    ],
    ids=["announced", "chunked", "until the end", "old", "empty"],
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
        ([OK + OK], "on_message_begin"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000], "more than 102400 bytes of headers"),
    ],
    ids=["nothing", "half a head", "half a body", "another protocol", "two answers", "endless head"],
)
def test_what_is_no_answer(pieces: list[bytes | None], message: str) -> None:
    """One error, and nothing of it is kept."""
    told = Told(pieces, [OK])
    with pytest.raises(RemoteProtocolError, match=message):
        ask(told)


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


@pytest.mark.parametrize("task_id", ["t-1", "t-2"])
def test_a_coding_that_nobody_asked_for(task_id: str) -> None:
    """Is undone; what cannot be undone is not what the API describes."""
    packed = gzip.compress(b'{"id": "t-1", "state": "NEW"}') if task_id == "t-1" else b"no gzip"
    told = Told([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed)])

    async def main() -> str:
        async with told.pool() as pool, AsyncWaiter(api_key="k", base_url=f"http://127.0.0.1:{pool._server.port}") as waiter:
            return (await waiter.status(task_id)).id

    if task_id == "t-1":
        assert asyncio.run(main()) == "t-1"
    else:
        with pytest.raises(InvalidResponseError, match="not what the API describes: DecodingError"):
            asyncio.run(main())


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
