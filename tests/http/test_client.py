"""Real sockets and real TLS settings."""

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
from contextvars import Context
from pathlib import Path
from typing import Any, cast

import httpcore
import httpx
import pytest
import trio
import trustme
from single_poll import KEY, TASK, both, look, settings

from waiter import ApiUnavailableError, ConfigurationError, aio
from waiter.http import deadline_transport as transport
from waiter.http.client import Client
from waiter.testing import SimulatedCloud, drip, ended, half_body, hang, reset, status


@pytest.fixture
def server() -> SimulatedCloud:
    cloud = SimulatedCloud(api_key=KEY, strict=False)
    cloud.add(ended(), task_id="t-1", watched=False)
    return cloud


@both
def test_a_look_over_real_http(get: Callable[..., None], server: SimulatedCloud) -> None:
    """The request is what the description asks for."""
    with server.serve() as url:
        get(url)
    assert [(request.method, request.path, request.status) for request in server.requests] == [
        ("GET", "/cloud/v1/tasks/t-1", 200)
    ]


@both
@pytest.mark.parametrize("fault", [reset(), half_body(), status(503)], ids=lambda fault: fault.name)
def test_faults_of_a_real_network_are_one_error(get: Callable[..., None], server: SimulatedCloud, fault: Any) -> None:
    """A look fails in one way, whatever broke."""
    server.fault(fault)
    with server.serve() as url, pytest.raises(ApiUnavailableError) as caught:
        get(url)
    assert caught.value.url == f"{url}/cloud/v1/tasks/t-1"


@both
@pytest.mark.parametrize("fault", [hang(), drip(0.05), drip(0.05, part="body")], ids=["hang", "drip headers", "drip body"])
def test_a_request_has_one_deadline_for_all_its_bytes(get: Callable[..., None], server: SimulatedCloud, fault: Any) -> None:
    """A server that sends a byte now and then cannot hold a look."""
    server.fault(fault)
    with server.serve() as url:
        started = time.monotonic()
        with pytest.raises(ApiUnavailableError):
            get(url, timeout=0.12)
    assert 0.1 < time.monotonic() - started < 2


@both
def test_nobody_listens(get: Callable[..., None]) -> None:
    """A refused connection is an unavailable API."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ApiUnavailableError, match="no answer: ConnectError"):
        get(f"http://127.0.0.1:{port}")


@both
def test_a_host_without_an_address(get: Callable[..., None]) -> None:
    """So is a name that does not resolve."""
    with pytest.raises(ApiUnavailableError, match="no answer: ConnectError"):
        get("http://nowhere.invalid", allow_http=True)


def test_a_dead_address_costs_its_share_of_the_time(server: SimulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with several addresses is reached as long as one of them answers."""
    with server.serve() as url:
        port = httpx.URL(url).port
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", _addresses(socket.getaddrinfo, "gcore.localhost", found))
        look(f"http://gcore.localhost:{port}")
    assert len(server.requests) == 1


def test_each_address_has_an_equal_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer leaves the others theirs, and none is tried twice."""
    tried: list[tuple[str, float]] = []

    class Silent(httpcore.NetworkBackend):
        def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore.NetworkStream:
            tried.append((host, round(timeout or 0)))
            message = f"{host}:{port} is silent"
            raise httpcore.ConnectTimeout(message)

    hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", _addresses(socket.getaddrinfo, "gcore.example", found))
    with pytest.raises(httpcore.ConnectTimeout, match=r"10\.0\.0\.3:443 is silent"):
        Context().run(transport._Network(Silent()).connect_tcp, "gcore.example", 443, 30.0)
    # Nobody really waits here, so that what one leaves over is for those who come after it.
    assert tried == [("10.0.0.1", 10), ("10.0.0.2", 15), ("10.0.0.3", 30)]


def test_a_host_with_an_empty_list_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that finds nothing and says so politely."""
    monkeypatch.setattr(socket, "getaddrinfo", _addresses(socket.getaddrinfo, "gcore.localhost", []))
    with pytest.raises(ApiUnavailableError, match=r"gcore\.localhost has no address"):
        look("http://gcore.localhost")


def _addresses(real: Any, name: str, found: list[Any]) -> Any:
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
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(answer)
        except ssl.SSLError:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        thread.join()


@both
def test_https_with_an_authority_of_ones_own(get: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names the authority to trust, as for every other tool."""
    with tls_server(tmp_path) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        get(url)


@both
def test_https_with_an_unknown_authority_is_refused(get: Callable[..., None], tmp_path: Path) -> None:
    """Certificates are verified."""
    with tls_server(tmp_path) as url, pytest.raises(ApiUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        get(url)


def test_connections_are_kept_between_looks(server: SimulatedCloud) -> None:
    """Several looks share a connection."""
    with server.serve() as url, Client(settings(base_url=url)) as client:
        for _ in range(3):
            client.get_task("t-1", timeout=5)
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        client.get_task("t-1", timeout=5)
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@contextmanager
def server_of(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server of one answer: its address, and the request's lines once it is gone."""
    lines: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            lines.extend(connection.recv(65536).splitlines())
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", lines
        thread.join()


# RFC 7617, 2: "Basic " and the Base64 of "me:s@cret".
SECRET = b"Proxy-Authorization: Basic bWU6c0BjcmV0"


@both
@pytest.mark.parametrize(("user", "secrets"), [("", []), ("http://", []), ("http://me:s%40cret@", [SECRET])])
def test_a_proxy_is_asked(get: Callable[..., None], user: str, secrets: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment gets the request with its whole URL, and the credentials that are its own."""
    body = json.dumps(TASK).encode()
    with server_of(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as (address, lines):
        monkeypatch.setenv("http_proxy", f"{user}{address}")
        get("http://gcore.example", allow_http=True)
    assert lines[0] == b"GET http://gcore.example/cloud/v1/tasks/t-1 HTTP/1.1"
    assert [line for line in lines if line.lower().startswith(b"proxy-auth")] == secrets


@both
def test_a_proxy_that_refuses_a_tunnel(get: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its own credentials and not the key, and none is shown."""
    with server_of(b"HTTP/1.1 407 No Way\r\nContent-Length: 0\r\n\r\n") as (address, lines):
        monkeypatch.setenv("https_proxy", f"http://me:s%40cret@{address}")
        with pytest.raises(ApiUnavailableError, match=r"^no answer: ProxyError: 407 No Way \(t-1\)$"):
            get("https://gcore.example")
    assert lines[0] == b"CONNECT gcore.example:443 HTTP/1.1"
    assert [line for line in lines if b"uthorization" in line] == [SECRET]


def test_threads_that_share_a_client_do_not_wait_for_each_other() -> None:
    """As many looks are under way as are asked for: here, none is answered before the last has come."""
    cloud = SimulatedCloud(api_key=KEY, strict=False)
    cloud.add(ended(), task_id="t-1", watched=False)
    together = threading.Barrier(20)
    respond = cloud.respond

    def respond_together(*request: Any) -> Any:
        together.wait(5)
        return respond(*request)

    cast("Any", cloud).respond = respond_together
    with cloud.serve() as url, Client(settings(base_url=url)) as client, ThreadPoolExecutor(20) as threads:
        looks = [threads.submit(client.get_task, "t-1", timeout=10) for _ in range(20)]
    assert {look.result().task.id for look in looks} == {"t-1"}


def test_a_new_key_gets_no_new_time(server: SimulatedCloud, tmp_path: Path) -> None:
    """A request that is sent again with the newest key has one deadline for both."""
    server.latency = 0.2
    file = tmp_path / "key"
    file.write_text("old")
    with server.serve() as url, Client(settings(base_url=url, api_key=file)) as client:
        file.write_text(KEY)
        with pytest.raises(ApiUnavailableError, match=r"no answer: ReadTimeout: timed out \(t-1\)"):
            client.get_task("t-1", timeout=0.35)
    assert [request.status for request in server.requests] == [401, 200]


@both
def test_no_time_left_is_no_answer(get: Callable[..., None], server: SimulatedCloud) -> None:
    """A request that may take no time is not sent."""
    with server.serve() as url, pytest.raises(ApiUnavailableError):
        get(url, timeout=0.0)


def test_no_frame_of_a_traceback_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where local variables are shown, as structlog, rich and error trackers do."""
    monkeypatch.setenv("GCORE_API_KEY", KEY)

    async def main() -> None:
        await aio.wait_for_task("t-1", base_url="http://127.0.0.1:1", max_outage=0)

    with pytest.raises(ApiUnavailableError) as caught:
        asyncio.run(main())
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in shown.replace(f"KEY = {KEY!r}", "")


def test_many_tasks_need_asyncio() -> None:
    """Under trio that is said, with what to do instead."""

    async def main() -> None:
        await aio.wait_for_tasks(["t-1", "t-2"], api_key=KEY)

    with pytest.raises(ConfigurationError, match=r"need asyncio: elsewhere, await wait\(\) for each"):
        trio.run(main)
