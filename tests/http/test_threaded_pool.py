"""The blocking connections under trio; tests/http/test_blocking_pool.py compares them with those of asyncio."""

from __future__ import annotations

import json
import socket
import threading

import trio
from network_lab import request_head, serve
from single_poll import TASK, settings

from waiter.http.async_client import AsyncClient

BODY = json.dumps(TASK).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def test_cancelled_request_is_abandoned() -> None:
    """The cancellation does not wait for the response, and the client can be used again."""
    is_polled, is_cancelled, connections = threading.Event(), threading.Event(), []

    def behave(connection: socket.socket) -> None:
        connections.append(connection)
        while request_head(connection):
            if len(connections) == 1:
                is_polled.set()
                is_cancelled.wait(60)
            connection.sendall(OK)

    async def main(url: str) -> str:
        async with AsyncClient(settings(base_url=url)) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.get_task("t-1", timeout=50))
                await trio.to_thread.run_sync(is_polled.wait)
                nursery.cancel_scope.cancel()
            found = (await client.get_task("t-1", timeout=50)).task.id
            is_cancelled.set()
            return found

    with serve(behave) as port:
        assert trio.run(main, f"http://127.0.0.1:{port}") == "t-1"
    assert len(connections) == 2


def test_many_requests_together_are_all_answered() -> None:
    """Each has a thread of its own; none waits for the response of another."""
    all_there = threading.Barrier(64)

    def behave(connection: socket.socket) -> None:
        while request_head(connection):
            all_there.wait(60)
            connection.sendall(OK)

    async def main(url: str) -> int:
        found: list[str] = []

        async def poll() -> None:
            found.append((await client.get_task("t-1", timeout=50)).task.id)

        async with AsyncClient(settings(base_url=url)) as client, trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(poll)
        return len(found)

    with serve(behave) as port:
        assert trio.run(main, f"http://127.0.0.1:{port}") == 64
