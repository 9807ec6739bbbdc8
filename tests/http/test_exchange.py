"""What both clients do alike: the key, custom headers, limits of a body, and errors without the key."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from single_poll import KEY, TASK, both, poll, settings

from waiter import ApiError, ApiUnavailableError, ConfigurationError, InvalidResponseError, aio, wait_for_task, wait_for_tasks
from waiter.http.async_client import AsyncClient
from waiter.http.client import Client
from waiter.http.response_reader import MAX_BODY

MIB = 2**20
PACKAGE = Path(aio.__file__).parent


@contextmanager
def serve(*responses: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve each response over one connection and close it; yield the URL and the requests."""
    requests: list[bytes] = []

    def run(listener: socket.socket) -> None:
        for response in responses:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        thread.join()


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


OK = response(json.dumps(TASK).encode())


@both
@pytest.mark.parametrize("rounds", [1, 2])
def test_compressed_body_is_decoded_within_its_limit(get: Callable[..., None], rounds: int) -> None:
    """A body that is small on the wire needs less than 64 MiB, whether it was compressed once or twice."""
    body = b" " * (300 * MIB if rounds == 1 else 4 * MAX_BODY)
    for _ in range(rounds):
        body = gzip.compress(body, compresslevel=1)
    coding = ", ".join(["gzip"] * rounds)
    with serve(response(body, f"Content-Encoding: {coding}")) as (url, _):
        tracemalloc.start()
        try:
            with pytest.raises(InvalidResponseError, match="invalid response"):
                get(url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 64 * MIB


@both
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_rejected_key_is_asked_for_again(get: Callable[..., None], status: str) -> None:
    """The request is repeated once with the new key."""
    keys = iter(["old", "new"])
    with serve(response(b"{}", status=status), OK) as (url, requests):
        get(url, api_key=lambda: next(keys))
    assert [b"Authorization: apikey old" in requests[0], b"Authorization: apikey new" in requests[1]] == [True, True]


@both
def test_rejected_key_that_has_not_changed_is_not_repeated(get: Callable[..., None]) -> None:
    """The error of the first response is raised."""
    with serve(response(b"{}", status="401 Unauthorized")) as (url, requests), pytest.raises(ApiError, match="401"):
        get(url, api_key=lambda: "same")
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("status", "accepted"), [("200 OK", True), ("404 Not Found", True), ("503 Busy", False), ("401 No", False)]
)
def test_key_is_accepted_after_a_response_of_the_api(status: str, accepted: bool) -> None:
    """A gateway that responds with 5xx has not checked the key."""
    config = settings(base_url="http://127.0.0.1", client=httpx.Client(transport=_mock(status)))
    with Client(config) as client:
        try:
            client.get_task("t-1", timeout=1)
        except ApiError:
            assert status != "200 OK"
    assert config.api_key.accepted is accepted


def _mock(status: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(int(status.split(maxsplit=1)[0]), json=TASK))


@pytest.mark.parametrize("driver", ["blocking", "awaited"])
def test_custom_headers_are_sent(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of GCORE_CUSTOM_HEADERS are added, and may replace the name of the client."""
    monkeypatch.setenv("GCORE_CUSTOM_HEADERS", "X-Tenant: a\nuser-agent: deploy/1")
    with serve(OK) as (url, requests):
        if driver == "blocking":
            wait_for_task("t-1", api_key=KEY, base_url=url)
        else:
            asyncio.run(_wait("t-1", api_key=KEY, base_url=url))
    lines = requests[0].split(b"\r\n")
    assert b"X-Tenant: a" in lines
    assert [line for line in lines if line.lower().startswith(b"user-agent")] == [b"user-agent: deploy/1"]


async def _wait(task_id: str, **options: str) -> None:
    await aio.wait_for_task(task_id, api_key=options["api_key"], base_url=options["base_url"])


@both
@pytest.mark.parametrize(
    "malformed",
    [
        f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode(),
        f"{KEY} 200 OK\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
        response(b"", f"Content-Encoding: {KEY}"),
        response(f'{{"id": "{KEY}", "state": "NEW"}}'.encode()),
        response(KEY.encode(), status=f"401 {KEY}"),
        response(b"", f"Location: /{KEY}", status="302 Found"),
        response(b"{}", f"X-Request-Id: {KEY}", status="400 Bad Request"),
    ],
    ids=["header", "protocol", "length", "chunk", "coding", "ID", "status", "location", "request ID"],
)
def test_key_in_a_malformed_response_is_hidden(get: Callable[..., None], malformed: bytes) -> None:
    """Neither the error nor its causes show the key."""
    with serve(malformed) as (url, _), pytest.raises(ApiError) as caught:
        get(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error} {error!r}"
        error = error.__cause__
    assert KEY not in str(vars(caught.value))


@pytest.mark.parametrize(
    ("options", "error"),
    [({"base_url": "http://127.0.0.1:1", "max_outage": 0}, ApiUnavailableError), ({"timeout": -1}, ConfigurationError)],
    ids=["wait", "configuration"],
)
@pytest.mark.parametrize("entry", [wait_for_task, wait_for_tasks, aio.wait_for_task, aio.wait_for_tasks])
def test_key_is_not_in_local_variables_of_a_traceback(
    entry: Callable[..., Any], options: dict[str, Any], error: type[Exception]
) -> None:
    """structlog, rich, pytest and error trackers show the local variables of waiter's frames."""
    secret = "".join(reversed("fedcba$4321"))
    with pytest.raises((error, ExceptionGroup)) as caught:
        asyncio.run(entry("t-1", api_key=secret, **options)) if entry.__module__ == "waiter.aio" else entry(
            "t-1", api_key=secret, **options
        )
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    shown = [frame.locals for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    assert len(shown) >= 3
    assert secret not in str(shown)


def test_short_key_is_hidden_in_errors() -> None:
    """It is hidden where it is a word of a message."""
    with (
        serve(response(b'{"message": "Bad token ab1"}', status="400 Bad Request")) as (url, _),
        pytest.raises(ApiError) as caught,
    ):
        poll(url, api_key="ab1")
    assert str(caught.value) == "the API returned 400: Bad token *** (t-1)"


def test_short_key_is_hidden_in_the_error_of_a_task() -> None:
    """A field that decides something is kept, although it may have the key as a word."""
    body = b'{"id": "t-1", "state": "ERROR", "error": "token ab1 is bad", "data": "ab1"}'
    with serve(response(body)) as (url, _), Client(settings(base_url=url, api_key="ab1")) as client:
        task = client.get_task("t-1", timeout=30).task
    assert (task.error, task.data) == ("token *** is bad", "ab1")


def test_exchanges_are_reported() -> None:
    """With the status of the response, or None without one."""
    statuses: list[int | None] = []

    async def main(url: str) -> None:
        async with AsyncClient(settings(base_url=url), on_exchange=lambda _, status: statuses.append(status)) as client:
            await client.get_task("t-1", timeout=30)
            with pytest.raises(ApiUnavailableError):
                await client.get_task("t-1", timeout=30)

    with serve(OK, b"") as (url, _):
        asyncio.run(main(url))
    assert statuses == [200, None]
