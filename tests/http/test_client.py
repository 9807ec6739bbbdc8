"""Polls over real sockets and real TLS."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import trio
import trustme
from ports import reserved_port
from single_poll import KEY, TASK, both, poll, settings

from waiter import ApiUnavailableError, AuthenticationError, ConfigurationError, aio
from waiter.http import blocking_pool
from waiter.http.blocking_pool import BlockingPool
from waiter.http.client import Client
from waiter.testing import SimulatedCloud, drip, ended, half_body, hang, reset, status


@pytest.fixture
def server() -> SimulatedCloud:
    cloud = SimulatedCloud(api_key=KEY, strict=False)
    cloud.add(ended(), task_id="t-1", watched=False)
    return cloud


@both
def test_poll_requests_the_path_of_the_task(get: Callable[..., None], server: SimulatedCloud) -> None:
    """The request is the one of the API's description."""
    with server.serve() as url:
        get(url)
    assert [(request.method, request.path, request.status) for request in server.requests] == [
        ("GET", "/cloud/v1/tasks/t-1", 200)
    ]


@both
@pytest.mark.parametrize("fault", [reset(), half_body(), status(503)], ids=lambda fault: fault.name)
def test_network_faults_are_one_error(get: Callable[..., None], server: SimulatedCloud, fault: Any) -> None:
    """A poll fails with the same error for every fault."""
    server.fault(fault)
    with server.serve() as url, pytest.raises(ApiUnavailableError) as caught:
        get(url)
    assert caught.value.url == f"{url}/cloud/v1/tasks/t-1"


@both
@pytest.mark.parametrize("fault", [hang(), drip(0.5), drip(0.5, part="body")], ids=["hang", "drip headers", "drip body"])
def test_a_request_has_one_deadline_for_all_its_bytes(get: Callable[..., None], server: SimulatedCloud, fault: Any) -> None:
    """A server that sends a byte now and then cannot prolong a poll: all of them would take more than a minute."""
    server.fault(fault)
    with server.serve() as url:
        started = time.monotonic()
        with pytest.raises(ApiUnavailableError, match="timed out"):
            get(url, timeout=0.12)
        assert 0.1 < time.monotonic() - started < 60


@both
def test_refused_connection_is_unavailable(get: Callable[..., None]) -> None:
    """The message names the fault."""
    with reserved_port() as port, pytest.raises(ApiUnavailableError, match="no response: ConnectError"):
        get(f"http://127.0.0.1:{port}")


@both
def test_unknown_host_is_unavailable(get: Callable[..., None]) -> None:
    """A name that does not resolve is a fault of the network."""
    with pytest.raises(ApiUnavailableError, match="no response: ConnectError"):
        get("http://nowhere.invalid", allow_http=True)


def test_other_addresses_are_tried_after_a_dead_one(server: SimulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is reached as long as one of its addresses responds."""
    with server.serve() as url:
        port = httpx.URL(url).port
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", _fake_resolver(socket.getaddrinfo, "gcore.localhost", found))
        poll(f"http://gcore.localhost:{port}")
    assert len(server.requests) == 1


def test_each_address_has_an_equal_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is silent leaves time for the others, and none is tried twice."""
    tried: list[tuple[str, float]] = []

    def connect(address: Any, timeout: float) -> socket.socket:
        tried.append((address[3][0], round(timeout)))
        message = f"{address[3][0]} is silent"
        raise TimeoutError(message)

    hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", _fake_resolver(socket.getaddrinfo, "gcore.example", found))
    monkeypatch.setattr(blocking_pool, "_connect_to", connect)
    with pytest.raises(ApiUnavailableError, match=r"no response: ConnectError: 10\.0\.0\.3 is silent"):
        poll("https://gcore.example", timeout=30.0)
    # No attempt takes real time, so each leaves its share to the others.
    assert tried == [("10.0.0.1", 10), ("10.0.0.2", 15), ("10.0.0.3", 30)]


def test_host_without_addresses_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver may return an empty list."""
    monkeypatch.setattr(socket, "getaddrinfo", _fake_resolver(socket.getaddrinfo, "gcore.localhost", []))
    with pytest.raises(ApiUnavailableError, match=r"gcore\.localhost has no address"):
        poll("http://gcore.localhost")


def _fake_resolver(real: Any, name: str, found: list[Any]) -> Any:
    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        return found if host == name else real(host, *args, **options)

    return getaddrinfo


@contextmanager
def tls_server(folder: Path) -> Iterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    body = json.dumps(TASK).encode()
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(response)
        except ssl.SSLError:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        thread.join()


@both
def test_ssl_cert_file_is_trusted(get: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every other tool."""
    with tls_server(tmp_path) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        get(url)


@both
def test_unknown_authority_is_refused(get: Callable[..., None], tmp_path: Path) -> None:
    """Certificates are verified."""
    with tls_server(tmp_path) as url, pytest.raises(ApiUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        get(url)


def test_connections_are_kept_between_polls(server: SimulatedCloud) -> None:
    """Several polls share a connection."""
    with server.serve() as url, Client(settings(base_url=url)) as client:
        kept: list[Any] = []
        for _ in range(3):
            client.get_task("t-1", timeout=30)
            kept += cast("BlockingPool", client._transport)._idle
        assert kept == [kept[0]] * 3


@contextmanager
def serve_once(response: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one response; yield the address and the lines of the request."""
    lines: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            lines.extend(connection.recv(65536).splitlines())
            connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", lines
        thread.join()


# RFC 7617, 2: "Basic " and the Base64 of "me:s@cret".
SECRET = b"Proxy-Authorization: Basic bWU6c0BjcmV0"


@both
@pytest.mark.parametrize(("user", "secrets"), [("", []), ("http://", []), ("http://me:s%40cret@", [SECRET])])
def test_proxy_gets_the_whole_url(
    get: Callable[..., None], user: str, secrets: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment gets its own credentials too."""
    body = json.dumps(TASK).encode()
    with serve_once(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as (address, lines):
        monkeypatch.setenv("http_proxy", f"{user}{address}")
        get("http://gcore.example", allow_http=True)
    assert lines[0] == b"GET http://gcore.example/cloud/v1/tasks/t-1 HTTP/1.1"
    assert [line for line in lines if line.lower().startswith(b"proxy-auth")] == secrets


@both
def test_proxy_that_refuses_a_tunnel_is_unavailable(get: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its own credentials and not the key, and the message has neither."""
    with serve_once(b"HTTP/1.1 407 No Way\r\nContent-Length: 0\r\n\r\n") as (address, lines):
        monkeypatch.setenv("https_proxy", f"http://me:s%40cret@{address}")
        with pytest.raises(ApiUnavailableError, match=r"^no response: ProxyError: 407 No Way \(t-1\)$"):
            get("https://gcore.example")
    assert lines[0] == b"CONNECT gcore.example:443 HTTP/1.1"
    assert [line for line in lines if b"uthorization" in line] == [SECRET]


def test_threads_that_share_a_client_do_not_wait_for_each_other() -> None:
    """All requests are sent before the first response arrives."""
    cloud = SimulatedCloud(api_key=KEY, strict=False)
    cloud.add(ended(), task_id="t-1", watched=False)
    together = threading.Barrier(20)
    respond = cloud.respond

    def respond_together(*request: Any) -> Any:
        together.wait(60)
        return respond(*request)

    cast("Any", cloud).respond = respond_together
    with cloud.serve() as url, Client(settings(base_url=url)) as client, ThreadPoolExecutor(20) as threads:
        polls = [threads.submit(client.get_task, "t-1", timeout=90) for _ in range(20)]
    assert {poll.result().task.id for poll in polls} == {"t-1"}


def test_request_with_a_new_key_keeps_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request has the time that the first left."""
    given: list[float] = []
    file = tmp_path / "key"
    file.write_text("old")

    def refuse(*_: Any) -> Any:
        given.append(_[-1])
        file.write_text(KEY)
        while time.monotonic() < began + 0.05:
            time.sleep(0.01)
        return 401, [], b"{}"

    with Client(settings(base_url="http://127.0.0.1", api_key=file)) as client:
        monkeypatch.setattr(client._transport, "request", refuse)
        began = time.monotonic()
        with pytest.raises(AuthenticationError):
            client.get_task("t-1", timeout=30.0)
    first, second = given
    assert (first, second <= 29.95) == (30.0, True)


@both
def test_request_without_time_is_not_sent(get: Callable[..., None], server: SimulatedCloud) -> None:
    """A time-out of zero is an error."""
    with server.serve() as url, pytest.raises(ApiUnavailableError):
        get(url, timeout=0.0)


def test_no_frame_of_a_traceback_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local variables are masked where structlog, rich and error trackers show them."""
    monkeypatch.setenv("GCORE_API_KEY", KEY)

    async def main() -> None:
        await aio.wait_for_task("t-1", base_url="http://127.0.0.1:1", max_outage=0)

    with pytest.raises(ApiUnavailableError) as caught:
        asyncio.run(main())
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in shown.replace(f"KEY = {KEY!r}", "")


def test_several_tasks_need_asyncio() -> None:
    """Under trio the error says what to do instead."""

    async def main() -> None:
        await aio.wait_for_tasks(["t-1", "t-2"], api_key=KEY)

    with pytest.raises(ConfigurationError, match=r"need asyncio: elsewhere, await wait\(\) for each"):
        trio.run(main)
