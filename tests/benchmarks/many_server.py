"""Serve the tasks of the benchmark: ``many_server.py TASKS LATENCY`` prints its port. No task ends."""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from urllib.parse import parse_qs

TASK = (
    '{"id":"%s","state":"RUNNING","task_type":"create_vm","created_on":"2026-07-01T13:37:14","updated_on":null,'
    '"detailed_state":null,"error":null,"finished_on":null,"created_resources":null,"data":null,"job_id":null,"schedule_id":null,'
    '"lifecycle_policy_id":null,"request_id":"d28c2ec5","acknowledged_at":null,"acknowledged_by":null,"client_id":1,"user_id":1,'
    '"user_client_id":1,"project_id":1,"region_id":1}'
)
HEAD = (
    "HTTP/1.1 200 OK\r\nDate: Wed, 01 Jul 2026 13:40:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


def task_ids(count: int) -> list[str]:
    """Return the IDs that the server and its clients share."""
    return [f"5eed0000-0000-4000-8000-{number:012x}" for number in range(count)]


class Server(asyncio.Protocol):
    """Answer each request after so many seconds."""

    def __init__(self, count: int, latency: float) -> None:
        self._count = count
        self._latency = latency
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._read = (self._read + data).split(b"\r\n\r\n")
        for request in requests:
            answer = self._answer(request.split(b" ", 2)[1].decode())
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def _answer(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        if not query:
            body = TASK % path.rpartition("/")[2]
            return (HEAD % (len(body), body)).encode()
        asked = parse_qs(query)
        return page(self._count, int(asked["limit"][0]), int(asked["offset"][0]))


@lru_cache(maxsize=64)
def page(count: int, limit: int, offset: int) -> bytes:
    """Return a page of the listing, made once: the benchmark measures the client."""
    tasks = ",".join(TASK % task_id for task_id in task_ids(count)[offset : offset + limit])
    body = f'{{"count":{count},"results":[{tasks}]}}'
    return (HEAD % (len(body), body)).encode()


async def main(count: int, latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Server(count, latency), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
