"""What a fuzzer calls: each target takes bytes, and raises only if waiter breaks its contract on them."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import io
import json
import math
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import h11
import httpx

from waiter.api.listings import read_active, read_history
from waiter.api.responses import Response, read_date, read_retry_after, read_task
from waiter.cli.task_input import read_task_ids
from waiter.config.api_key import read_token
from waiter.console.formatting import parse_duration
from waiter.errors import ApiError, ConfigurationError, InvalidResponseError
from waiter.http.exchange import decode_body
from waiter.http.response_reader import ResponseReader
from waiter.sidecar.event_stream import EventStream
from waiter.sidecar.model import Wait
from waiter.sidecar.service import Service
from waiter.sidecar.storage.event_log import NewEvent
from waiter.sidecar.storage.pages import DamagedDatabase
from waiter.sidecar.storage.salvage import EVENT, WAIT, find_documents, seal
from waiter.sidecar.storage.store import FILE_NAME, Change, Store
from waiter.sidecar.web.app import ControlApi
from waiter.task import Task, is_task_id

T = TypeVar("T")
TASK_ID = "t-1"
STATUSES = (200, 200, 200, 204, 302, 400, 401, 403, 404, 429, 500, 503)


def _response(data: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return a response whose status is chosen by the first byte of the input."""
    status = STATUSES[data[0] % len(STATUSES)] if data else 200
    return Response(status, headers or {}, data[1:], "https://api.example/cloud/v1/tasks/t-1")


def task(data: bytes) -> None:
    """A response is a task of the ID that was asked for, or one ApiError that fits on a line."""
    try:
        found = read_task(_response(data), TASK_ID)
    except ApiError as error:
        assert str(error).isprintable()
        return
    assert found.id.lower() == TASK_ID
    assert found.ended == (found.state in {"FINISHED", "ERROR"})
    assert all(found.created_resources.as_dict().values())
    hash(found)
    repr(found)


def history(data: bytes) -> None:
    """A listing of past tasks is a list of tasks of the type, or one ApiError."""
    try:
        found = read_history(_response(data), "create_vm")
    except ApiError as error:
        assert str(error).isprintable()
        return
    assert {one.task_type for one in found} <= {None, "create_vm"}


def active(data: bytes) -> None:
    """A page of active tasks has a body for each of them, or is one ApiError."""
    try:
        page = read_active(_response(data))
    except ApiError as error:
        assert str(error).isprintable()
        return
    assert len(page.bodies) == len(page.tasks)
    assert page.count >= 0


def headers(data: bytes) -> None:
    """Retry-After is a positive number of seconds or nothing, whatever it and Date say."""
    retry_after, _, date = data.decode("latin-1").partition("\n")
    found = {"retry-after": retry_after, "date": date}
    seconds = read_retry_after(found)
    assert seconds is None or (seconds > 0 and math.isfinite(seconds))
    moment = read_date(found)
    assert moment is None or moment.tzinfo is not None


def duration(data: bytes) -> None:
    """A duration is a number of seconds that is not negative, or an error of the argument."""
    try:
        seconds = parse_duration(data.decode(errors="replace"))
    except (argparse.ArgumentTypeError, ValueError):
        return
    assert seconds >= 0


def standard_input(data: bytes) -> None:
    """Standard input is a list of task IDs, each once, or a ConfigurationError."""
    try:
        found = read_task_ids(["-"], io.BytesIO(data))
    except ConfigurationError as error:
        assert error.problems
        return
    assert all(map(is_task_id, found))
    assert len(set(found)) == len(found)


def _temporary_folder() -> Path:
    """Return a folder that is removed at the end of the process, in memory where that is possible."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


_KEY_FILE = _temporary_folder() / "key"


def key_file(data: bytes) -> None:
    """A key file gives a token that fits in a header, or one problem that does not quote it."""
    _KEY_FILE.write_bytes(data)
    problems: list[str] = []
    token = read_token(_KEY_FILE, problems)
    assert (token is None) == bool(problems)
    if token is not None:
        assert token.isascii()
        assert token.isprintable()


def body(data: bytes) -> None:
    """A coded body is decoded up to a size, or is an error."""
    try:
        assert len(decode_body(data, "gzip")) <= 2**24
    except (httpx.DecodingError, InvalidResponseError):
        return


Reading = tuple[int, bytes] | None


def _read_by_waiter(chunks: list[bytes]) -> Reading:
    """Read a response that arrives in these chunks and is followed by the end of the connection."""
    reader = ResponseReader()
    try:
        for chunk in chunks:
            if not reader.is_complete:
                reader.feed(chunk)
        if not reader.is_complete:
            reader.end()
    except OSError:
        return None
    finally:
        reader.close()
    return reader.status, reader.body


def _read_by_h11(data: bytes) -> Reading:
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "127.0.0.1")]))
    peer.send(h11.EndOfMessage())
    status, parts, is_fed = 0, [], False
    try:
        peer.receive_data(data)
        while True:
            event = peer.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, b"".join(parts)
            elif event is h11.NEED_DATA and not is_fed:
                peer.receive_data(b"")
                is_fed = True
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


def _cut(data: bytes, chance: random.Random) -> list[bytes]:
    """Return the bytes in pieces of random lengths: single bytes, and longer ones."""
    pieces = []
    while data:
        length = chance.choice((1, 1, 2, 3, 7, 16, 61, 250, 4096))
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def connection(data: bytes) -> None:
    """A response is read alike in one piece and in random ones, and as h11 reads it when both accept it.

    The first byte of the input chooses the places at which the rest is cut.
    """
    chance, text = random.Random(data[:1]), data[1:32_769]
    whole = _read_by_waiter([text])
    assert whole == _read_by_waiter(_cut(text, chance))
    other = _read_by_h11(text)
    assert whole is None or other is None or whole == other


def documents(data: bytes) -> None:
    """Damaged bytes of a database give documents whose checksums are right, or None for damaged ones."""
    damaged = DamagedDatabase(data)
    for magic in (WAIT, EVENT):
        for found in find_documents(damaged, magic):
            header = b"" if found is None else seal(found, magic)[: -len(found.content) or None]
            assert header in data  # the checksum is a part of it


class _DirectWrites:
    """The interface of WriteQueue without its thread, which could not end with the interpreter."""

    def __init__(self, store: Store, stream: EventStream) -> None:
        self._store = store
        self._stream = stream

    def check(self) -> None:
        """Like WriteQueue.check: the store is in its place."""

    async def write(self, change: Change, on_written: Callable[[], object]) -> None:
        events = self._store.apply([change])
        on_written()
        self._stream.publish(events[0])

    async def query(self, read: Callable[[Store], T]) -> T:
        return read(self._store)


class _Never:
    """A waiter whose waits do not end."""

    async def wait(self, task_id: str, /, **_: object) -> Task:
        await asyncio.Event().wait()
        raise AssertionError(task_id)


@cache
def _sidecar() -> tuple[asyncio.AbstractEventLoop, Service, Any]:
    """Return the service with one wait, and its control API."""
    loop, store = asyncio.new_event_loop(), Store(_temporary_folder(), first_event=0)
    stream = EventStream(0)
    queue: Any = _DirectWrites(store, stream)

    async def start() -> Service:
        service = Service(queue, {}, startup_ids=["t-1"], max_waits=20)
        await service.start(_Never(), str, math.inf)
        return service

    service = loop.run_until_complete(start())

    def close() -> None:
        loop.run_until_complete(service.stop())
        loop.close()
        store.close()

    atexit.register(close)
    return loop, service, ControlApi(service, queue, stream, max_open_requests=9).app(None)


def _parse_request(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the scope of ASGI and the body of a request in the form of HTTP/1.1, however malformed it is."""
    head, _, content = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    named = [line.partition(b":") for line in lines]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.decode("latin-1") or "GET",
        "scheme": "http",
        "path": path.decode(errors="replace") or "/",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [
            (b"host", b"127.0.0.1:8080"),
            (b"content-type", b"application/json"),
            *((name.strip().lower(), value.strip()) for name, _, value in named),
        ],
    }
    return scope, content


def sidecar_request(data: bytes) -> None:
    """A request to the sidecar is answered, an error in JSON, and only waits with valid IDs are accepted."""
    loop, service, app = _sidecar()
    scope, content = _parse_request(data)
    received = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def serve() -> None:
        await app(scope, receive, send)
        for wait_id in service.waits.keys() - {"t-1"}:
            assert is_task_id(wait_id)
            await service.delete(wait_id)

    loop.run_until_complete(serve())
    status = sent[0]["status"]
    assert status < 500
    if status >= 400:
        text = b"".join(message.get("body", b"") for message in sent)
        assert scope["method"] == "HEAD" or json.loads(text)["error"]


_WAITS = {name: Wait(id=name, accepted_at=1.0e9, error="e" * length) for name, length in (("a", 1), ("b", 900), ("c", 20_000))}


@cache
def _database() -> tuple[Path, bytes]:
    """Return a folder for a state directory, and the bytes of a sound database with three waits."""
    folder = _temporary_folder()
    store = Store(folder, first_event=0)
    store.apply([Change(waits=list(_WAITS.values()), events=[NewEvent("wait.accepted", b"{}")] * 3)])
    store.close()
    return folder, (folder / FILE_NAME).read_bytes()


def database(data: bytes) -> None:
    """A damaged database is opened, read and written; of its waits some may be lost, but none is changed.

    Each four bytes of the input change one byte of the file; an input that begins with an odd byte is the whole file.
    """
    folder, sound = _database()
    content = bytearray(data) if data[:1] and data[0] % 2 else bytearray(sound)
    if content[:20] == sound[:20]:
        for place in range(1, len(data) - 3, 4):
            content[int.from_bytes(data[place : place + 3], "big") % len(content)] ^= data[place + 3]
    for file in folder.iterdir():
        file.unlink()
    (folder / FILE_NAME).write_bytes(content)
    with suppress(ConfigurationError):
        store = Store(folder, first_event=0)
        try:
            assert all(wait == _WAITS[wait.id] for wait in store.waits())
            store.apply([Change(waits=[Wait(id="new", accepted_at=2.0e9)])])
            assert store.waits()[-1].id == "new"
        finally:
            store.close()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "task": task,
    "history": history,
    "active": active,
    "headers": headers,
    "duration": duration,
    "standard_input": standard_input,
    "key_file": key_file,
    "body": body,
    "connection": connection,
    "documents": documents,
    "sidecar_request": sidecar_request,
    "database": database,
}
