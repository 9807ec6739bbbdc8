"""Webhooks for tests: a receiver over real HTTP, and its secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sidecar_parts import NOW

from waiter.sidecar.model import Delivery, Uptime

SECRET, OTHER_SECRET = (f"whsec_{b64encode(letter * 24).decode()}" for letter in (b"a", b"b"))
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def make_delivery(number: int = 0, *, ended_at: float = NOW, body: str = '{"id": "a"}') -> Delivery:
    return Delivery(id=f"msg_{number}", wait_id="a", body=body, ended_at=ended_at, ended_uptime=Uptime("boot", ended_at))


def write_secrets(path: Path, *secrets: str) -> Path:
    path.write_text("".join(f"{secret}\n" for secret in secrets or [SECRET]))
    return path


class Request(NamedTuple):
    """A request as a receiver has it; the names of the headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = b64encode(hmac.digest(b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split()

    def json(self) -> Any:
        return json.loads(self.body)


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    return Request(line, headers, await reader.readexactly(int(headers["content-length"])))


Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """A receiver that gives each of its answers once, in order, and the last one for ever; bytes or a coroutine function."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.open = self.most_open = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            self.requests.append(await read_request(reader))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def receiving(*answers: Answer, **options: Any) -> AsyncIterator[Receiver]:
    """Serve a receiver on loopback; ``options`` are those of ``asyncio.start_server``."""
    receiver = Receiver(*answers or [OK])
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", **{"port": 0} | options)
    host, port = server.sockets[0].getsockname()[:2]
    receiver.url = f"{'https' if options.get('ssl') else 'http'}://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        server.close()


def answer(status: int, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Content-Length: 0", "\r\n"]).encode()
