"""What a fuzzer calls: each target takes bytes, and raises only if waiter breaks its contract on them."""

from __future__ import annotations

import argparse
import io
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import h11
import httpx

from waiter.api.listings import read_active, read_history
from waiter.api.responses import Response, read_date, read_retry_after, read_task
from waiter.cli.task_input import read_task_ids
from waiter.config.api_key import read_token
from waiter.config.task_ids import is_task_id
from waiter.console.formatting import parse_duration
from waiter.errors import ApiError, ConfigurationError, InvalidResponseError
from waiter.http.exchange import decode_body
from waiter.http.response_reader import ResponseReader

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


_KEY_FILE = Path(tempfile.mkdtemp(), "key")


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


def connection(data: bytes) -> None:
    """A response is read alike in one piece and in many, and as h11 reads it when both accept it."""
    step, text = (data[0] % 17 + 1, data[1:32_769]) if data else (1, b"")
    whole = _read_by_waiter([text])
    pieces = _read_by_waiter([text[place : place + step] for place in range(0, len(text), step)])
    assert whole == pieces
    other = _read_by_h11(text)
    assert whole is None or other is None or whole == other


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
}
