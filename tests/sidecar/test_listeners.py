"""The listeners: deadlines of clients, limits of connections, and a lack of descriptors."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sidecar_parts import PLAIN, Report, connected, process, run, running

from waiter.sidecar import listeners
from waiter.sidecar.address import Address
from waiter.sidecar.listeners import Listener, connection_limits

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/waits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


@pytest.mark.parametrize(
    ("descriptors", "limits"), [(1_048_576, (640, 64)), (1024, (640, 64)), (512, (144, 48)), (256, (16, 8)), (0, (16, 8))]
)
def test_connections_are_limited_by_the_descriptors(descriptors: int, limits: tuple[int, int]) -> None:
    """Both listeners together leave enough descriptors for the API, the database and files."""
    assert connection_limits(descriptors) == limits


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("target", ["probes", "control"])
def test_flood_of_idle_connections_is_survived(tmp_path: Path, target: str, report: Report) -> None:
    """Probes and requests are answered although more clients than descriptors are connected, and nothing is logged."""
    with process(tmp_path, descriptors=512) as sidecar, ExitStack() as stack:
        for _ in range(600):
            idle = stack.enter_context(connect(getattr(sidecar, target)))
            idle.sendall(HEAD + b"\r\nG")
        for _ in range(3):
            assert httpx.get(f"{sidecar.probes}/livez", **PLAIN).status_code == 200
        assert httpx.post(f"{sidecar.control}/v1/waits", json="a", **PLAIN).status_code == 202
        sidecar.process.terminate()
        code, output = sidecar.end()
        assert (code, len(output.splitlines())) == (0, 1)
    report(f"600 idle connections to {target} at 512 descriptors: 3 probes and a request were answered, nothing was logged")


@pytest.mark.usefixtures("served")
def test_lack_of_descriptors_is_survived_and_reported_once(tmp_path: Path) -> None:
    """The sidecar accepts connections again when descriptors are free."""
    with process(tmp_path) as sidecar, ExitStack() as stack:
        before = resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE)
        for url in (sidecar.probes, sidecar.control):  # so that both listeners wait for the next connection
            httpx.get(url, **PLAIN)
        # Whatever is closed meanwhile, the first three descriptors are in use.
        resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        for _ in range(3):
            connection = stack.enter_context(connect(sidecar.probes))
            connection.sendall(HEAD + b"\r\n")
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, before)
        assert httpx.get(f"{sidecar.probes}/livez", **PLAIN).status_code == 200
        sidecar.process.terminate()
        reason = f"HTTP: cannot accept connections on {sidecar.probes}: Too many open files; retrying"
        assert sidecar.end()[1].splitlines()[1:] == [f"waiter: {reason}"]


INCOMPLETE = {
    "nothing": (b"", "HEAD_TIMEOUT"),
    "a part of a head": (HEAD, "HEAD_TIMEOUT"),
    "a part of the next head": (HEAD + b"\r\nG", "HEAD_TIMEOUT"),
    "no body of a GET": (HEAD + b"Content-Length: 9\r\n\r\n[", "HEAD_TIMEOUT"),
    "a part of a body": (POST + b"Content-Length: 9\r\n\r\n[", "BODY_TIMEOUT"),
}


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("target", ["probes", "control"])
@pytest.mark.parametrize(("sent", "timeout"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_incomplete_request_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, sent: bytes, timeout: str
) -> None:
    """The connection is closed, also when the client continues to send single bytes."""
    monkeypatch.setattr(listeners, timeout, 0.3)

    async def test() -> None:
        async with running(tmp_path) as (sidecar, _), connected(getattr(sidecar, target), sent) as (client,):
            closed = asyncio.create_task(client.reader.read())
            while not closed.done():
                await asyncio.wait([closed], timeout=0.05)
                if sent and not closed.done():
                    client.writer.write(b"a")
            assert isinstance(closed.exception(), ConnectionError | None)

    run(test())


@pytest.mark.usefixtures("served")
def test_idle_connection_stays_open_until_its_deadline(tmp_path: Path) -> None:
    """A second request on the same connection is answered."""

    async def test() -> None:
        async with running(tmp_path) as (sidecar, _), connected(sidecar.probes, b"") as (client,):
            for _ in range(2):
                client.writer.write(HEAD + b"\r\n")
                response = await client.reader.readuntil(b"ok\n")
                assert response.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
                await asyncio.sleep(0.1)

    run(test())


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("log", ["none", "json"])
@pytest.mark.parametrize("sent", [b"\x16\x03\x01\r\n\r\n", POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"])
def test_malformed_requests_are_reported_once(tmp_path: Path, log: str, sent: bytes) -> None:
    """The response is 400 as JSON; a client cannot fill the log."""
    with process(tmp_path, "--log-format", log) as sidecar:
        for _ in range(3):
            with connect(sidecar.control) as connection:
                connection.sendall(sent)
                head, body = connection.makefile("rb").read().split(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
                assert json.loads(body) == {"error": "Invalid HTTP request received."}
        sidecar.process.terminate()
        code, output = sidecar.end()
        lines = output.splitlines()
        assert (code, len(lines)) == (0, 2)
        assert "HTTP: Invalid HTTP request received." in lines[1]
        assert lines[1].startswith("{" if log == "json" else "waiter: ")


@asynccontextmanager
async def serving(app: Any, max_connections: int = 9) -> AsyncIterator[Listener]:
    """Serve an ASGI application."""
    listener, stop = Listener(app, Address("127.0.0.1:0").bind(), max_connections=max_connections), asyncio.Event()
    task = asyncio.create_task(listener.run_until(stop))
    try:
        yield listener
    finally:
        stop.set()
        await task


def app_of(*chunks: bytes, until: asyncio.Event | None = None) -> Any:
    """Return an application that sends a response in chunks, after an event if there is one."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if until is not None:
            await until.wait()
        await send({"type": "http.response.body", "body": b""})

    return app


def test_head_and_body_are_not_delayed() -> None:
    """The body is sent without waiting for the acknowledgement of the head."""

    async def test() -> None:
        async with serving(app_of(b"ok")) as listener, connected(listener.url, b"") as _:
            while not listener.waiting:  # noqa: ASYNC110 - until it is accepted
                await asyncio.sleep(0.001)
            (connection,) = listener.waiting
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(test())


def test_new_connection_replaces_the_one_that_waits_longest_for_its_client() -> None:
    """The first idle connections are closed; the newest ones stay."""

    async def test() -> None:
        async with serving(app_of(b"ok"), 2) as listener, connected(listener.url, b"", b"", b"") as (first, _, third):
            assert await first.reader.read() == b""
            third.writer.write(HEAD + b"\r\n")
            assert (await third.reader.readline()) == b"HTTP/1.1 200 OK\r\n"

    run(test())


def test_connection_is_refused_while_all_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request in progress is not interrupted."""
    monkeypatch.setattr(listeners, "PLACE_TIMEOUT", 0.05)

    async def test() -> None:
        finished = asyncio.Event()
        request = HEAD + b"Connection: close\r\n\r\n"
        async with serving(app_of(b"ok", until=finished), 1) as listener, connected(listener.url, request) as (busy,):
            assert await busy.reader.readline() == b"HTTP/1.1 200 OK\r\n"
            async with connected(listener.url, b"") as (refused,):
                assert await refused.reader.read() == b""
            finished.set()
            assert b"ok" in await busy.reader.read()

    run(test())


def test_connection_waits_for_the_end_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """All places are taken by requests that are being served, of which one ends."""
    monkeypatch.setattr(listeners, "PLACE_TIMEOUT", 3600.0)

    async def test() -> None:
        finished = asyncio.Event()
        request = HEAD + b"\r\n"
        async with serving(app_of(b"ok", until=finished), 1) as listener, connected(listener.url, request) as (busy,):
            assert await busy.reader.readline() == b"HTTP/1.1 200 OK\r\n"
            async with connected(listener.url, request) as (new,):
                answered = asyncio.create_task(new.reader.readline())
                await asyncio.wait([answered], timeout=0.05)
                assert not answered.done()
                finished.set()
                assert await answered == b"HTTP/1.1 200 OK\r\n"

    run(test())


def test_connection_that_waits_for_a_place_is_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not left to the garbage collector."""
    monkeypatch.setattr(listeners, "PLACE_TIMEOUT", 3600.0)
    monkeypatch.setattr(listeners, "SHUTDOWN_TIMEOUT", 0.05)

    async def test() -> None:
        loop, accepted = asyncio.get_running_loop(), asyncio.Semaphore(0)
        sock_accept = loop.sock_accept

        async def accept(bound: socket.socket) -> Any:
            found = await sock_accept(bound)
            accepted.release()
            return found

        monkeypatch.setattr(loop, "sock_accept", accept)
        app = app_of(b"ok", until=asyncio.Event())
        async with serving(app, 1) as listener, connected(listener.url, HEAD + b"\r\n") as (busy,):
            assert await busy.reader.readline() == b"HTTP/1.1 200 OK\r\n"
            waiting = connect(listener.url)
            for _ in range(2):
                await accepted.acquire()
        with waiting, suppress(ConnectionError):
            assert waiting.recv(1) == b""

    run(test())


def test_client_that_sends_the_next_request_early_gets_one_response() -> None:
    """Its connection would never wait for it, so that it could not be replaced by another one."""

    async def test() -> None:
        async with serving(app_of(b"ok")) as listener, connected(listener.url, (HEAD + b"\r\n") * 3) as (client,):
            assert (await client.reader.read()).count(b"HTTP/1.1 200 OK\r\n") == 1

    run(test())


def test_closed_connection_whose_client_does_not_read_can_be_replaced() -> None:
    """The response fits into the buffers, so that writing it never pauses."""

    async def test() -> None:
        request = HEAD + b"Connection: close\r\n\r\n"
        async with serving(app_of(b"x" * 30 * 2**20), 1) as listener, connected(listener.url, b"") as (silent,):
            while not listener.waiting:  # noqa: ASYNC110 - until it is accepted
                await asyncio.sleep(0.001)
            (connection,) = listener.waiting
            connection.transport.set_write_buffer_limits(high=2**30)
            silent.writer.write(request)
            while not connection.transport.is_closing():  # noqa: ASYNC110 - until the response is complete
                await asyncio.sleep(0.001)
            assert list(listener.waiting) == [connection]
            async with connected(listener.url, request) as (new,):
                assert await new.reader.readline() == b"HTTP/1.1 200 OK\r\n"

    run(test())


def test_client_that_does_not_read_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads gets the whole response and leaves no deadline; the other is closed at its deadline.

    The deadline is called by the test, so that a slow machine does not end the client that reads.
    """
    size = 30 * 2**20
    monkeypatch.setattr(listeners, "READ_TIMEOUT", 54321.0)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later
        deadlines: list[tuple[asyncio.TimerHandle, Any]] = []

        def record(delay: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
            handle = call_later(delay, callback, *args)
            if delay == listeners.READ_TIMEOUT:
                deadlines.append((handle, callback))
            return handle

        monkeypatch.setattr(loop, "call_later", record)
        request = HEAD + b"Connection: close\r\n\r\n"
        async with serving(app_of(*[b"x" * 2**20] * 30)) as listener:
            async with connected(listener.url, request) as (reading,):
                assert len(await reading.reader.read()) > size
            assert len(deadlines) > 1  # one for each time that the buffers are full
            assert all(handle.cancelled() for handle, _ in deadlines)
            deadlines.clear()
            async with connected(listener.url, request) as (silent,):
                # The server pauses for the last time when all buffers of the connection are full.
                while not deadlines or deadlines[-1][0].cancelled():  # noqa: ASYNC110 - the listener has no event for it
                    await asyncio.sleep(0.01)
                assert len(listener.waiting) == 1
                deadlines[-1][1]()
                assert not listener.waiting
                with suppress(ConnectionError):
                    assert len(await silent.reader.read()) < size

    run(test())


def test_malformed_request_is_answered_with_json() -> None:
    """The connection is closed after it."""

    async def test() -> None:
        async with serving(app_of(b"ok")) as listener, connected(listener.url, b"nonsense\r\n\r\n") as (client,):
            head, _, body = (await asyncio.wait_for(client.reader.read(), 60)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert list(json.loads(body)) == ["error"]

    run(test())


def test_malformed_data_after_the_start_of_the_response_aborts_the_connection() -> None:
    """No second response can be sent."""

    async def test() -> None:
        request = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        app = app_of(b"ok", until=asyncio.Event())
        async with serving(app) as listener, connected(listener.url, request) as (client,):
            assert await client.reader.readline() == b"HTTP/1.1 200 OK\r\n"
            client.writer.write(b"ZZ\r\n")
            assert b"HTTP/1.1" not in await asyncio.wait_for(client.reader.read(), 60)

    run(test())


def test_fault_in_the_application_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The response is 500, and the listener continues."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    async def test() -> None:
        async with serving(app) as listener, httpx.AsyncClient(**PLAIN) as client:
            assert [(await client.get(listener.url)).status_code for _ in range(2)] == [500, 500]

    run(test())
    assert capsys.readouterr().err == "waiter: a fault in waiter: ZeroDivisionError()\n" * 2


def test_failed_accept_is_retried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A lack of resources is reported once; a connection that its client has aborted is not."""
    failures = [OSError(24, "Too many open files"), OSError(24, "Too many open files"), OSError(103, "aborted")]

    async def test() -> None:
        loop = asyncio.get_running_loop()
        accept = loop.sock_accept

        async def fail_at_first(bound: socket.socket) -> Any:
            if failures:
                raise failures.pop(0)
            return await accept(bound)

        monkeypatch.setattr(loop, "sock_accept", fail_at_first)
        async with serving(app_of(b"ok")) as listener, httpx.AsyncClient(**PLAIN) as client:
            assert (await client.get(listener.url)).text == "ok"
            url = listener.url
        reason = f"HTTP: cannot accept connections on {url}: Too many open files; retrying"
        assert capsys.readouterr().err == f"waiter: {reason}\n"

    run(test())


def test_fault_while_accepting_ends_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sidecar ends and is restarted by its platform."""

    async def test() -> None:
        async def fail(_: socket.socket) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", fail)
        listener = Listener(app_of(), Address("127.0.0.1:0").bind(), max_connections=9)
        with pytest.raises(ZeroDivisionError):
            await listener.run_until(asyncio.Event())

    run(test())


def test_request_that_does_not_end_is_cancelled_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is aborted and the application's task cancelled."""
    monkeypatch.setattr(listeners, "SHUTDOWN_TIMEOUT", 0.05)
    cancelled = asyncio.Event()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def test() -> None:
        async with serving(app) as listener, connected(listener.url, HEAD + b"\r\n"):
            await asyncio.sleep(0.1)
        await asyncio.wait_for(cancelled.wait(), 60)

    run(test())
