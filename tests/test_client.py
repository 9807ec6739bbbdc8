"""Real sockets, real TLS settings, and httpx clients of the user's own."""

from __future__ import annotations

import asyncio
import gzip
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

from waiter import (
    ApiError,
    ApiUnavailableError,
    AsyncWaiter,
    ConfigurationError,
    InvalidResponseError,
    Waiter,
    aio,
    wait_for_task,
)
from waiter.client import AsyncClient, Client
from waiter.settings import Options, Settings, resolve
from waiter.testing import SimulatedCloud, drip, ended, half_body, hang, reset, status
from waiter.wire import LARGEST_BODY

KEY = "1234$abcdef"
TASK = {"id": "t-1", "state": "FINISHED", "task_type": "create_vm", "created_resources": {"instances": ["i-1"]}}


def settings(**options: Any) -> Settings:
    return resolve(cast("Options", {"api_key": KEY, **options}), {})


def look(url: str, *, timeout: float = 5.0, **options: Any) -> None:
    with Client(settings(base_url=url, **options)) as client:
        client.get_task("t-1", timeout=timeout)


def look_async(url: str, *, timeout: float = 5.0, **options: Any) -> None:
    async def main() -> None:
        async with AsyncClient(settings(base_url=url, **options)) as client:
            await client.get_task("t-1", timeout=timeout)

    asyncio.run(main())


both = pytest.mark.parametrize("get", [look, look_async], ids=["blocking", "awaited"])


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
            get(url, timeout=0.3)
    assert time.monotonic() - started < 2


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


def respond(body: bytes, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers=headers))


@both
def test_an_endless_answer_is_cut_off(get: Callable[..., None]) -> None:
    """Sixteen mebibytes of a task, compressed or not, are not a task."""
    bomb = gzip.compress(b" " * (LARGEST_BODY + 1))
    transport = respond(bomb, **{"content-encoding": "gzip"})
    client = httpx.Client(transport=transport) if get is look else httpx.AsyncClient(transport=transport)
    with pytest.raises(InvalidResponseError, match="more than 16777216 bytes"):
        get("http://127.0.0.1", client=client)


@both
def test_a_coding_that_cannot_be_decoded(get: Callable[..., None]) -> None:
    """Broken compression is an answer that is not what the API describes."""
    transport = respond(b"not gzip", **{"content-encoding": "gzip"})
    client = httpx.Client(transport=transport) if get is look else httpx.AsyncClient(transport=transport)
    with pytest.raises(InvalidResponseError, match="not what the API describes: DecodingError"):
        get("http://127.0.0.1", client=client)


def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    """Its headers and transport count; its auth, redirects and closing are not touched."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=TASK)

    mine = httpx.Client(transport=httpx.MockTransport(handle), headers={"X-Mine": "1"}, auth=("me", "secret"))
    wait_for_task("t-1", api_key=KEY, client=mine)
    assert not mine.is_closed
    assert (seen[0].headers["authorization"], seen[0].headers["x-mine"]) == (f"apikey {KEY}", "1")
    assert seen[0].headers["user-agent"].startswith("gcore-waiter/")
    mine.close()


def test_redirects_are_not_followed_even_by_a_client_that_would() -> None:
    """The key goes to the configured host only."""
    hosts: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://evil.example/"})

    mine = httpx.Client(transport=httpx.MockTransport(handle), follow_redirects=True)
    with pytest.raises(InvalidResponseError, match=r"it redirects to https://evil\.example/"):
        look("https://api.gcore.com", client=mine)
    assert hosts == ["api.gcore.com"]


@pytest.mark.parametrize("echo", [KEY, r"1234\u0024abcdef", r"1234\u0024abcde\u0066", "1234%24abcdef", "%31234%24abcde%66"])
def test_a_key_that_the_server_echoes_is_not_shown(echo: str) -> None:
    """Not in the message, whatever the API says, and not in the headers that messages are made of."""
    text = f'{{"message": "Bad token {echo}"}}'
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(400, text=text)))
    with pytest.raises(ApiError, match=r"^the API answers 400: Bad token \*\*\* \(t-1\)$"):
        look("https://api.gcore.com", client=mine)
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(400, text=f"Bad token {echo}")))
    with pytest.raises(ApiError, match=r"^the API answers 400: 'Bad token \*\*\*' \(t-1\)$"):
        look("https://api.gcore.com", client=mine)
    location = f"https://evil.example/{echo}"
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": location})))
    with pytest.raises(ApiError, match=r"redirects to https://evil.example/\*\*\*,"):
        look("https://api.gcore.com", client=mine)


def test_the_wrong_kind_of_client_is_refused() -> None:
    """A blocking client cannot be awaited, nor the other way round."""
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.Client here"):
        Waiter(api_key=KEY, client=httpx.AsyncClient())
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.AsyncClient here"):
        AsyncWaiter(api_key=KEY, client=httpx.Client())


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
    answer = cloud.answer

    def answer_together(*request: Any) -> Any:
        together.wait(5)
        return answer(*request)

    cast("Any", cloud).answer = answer_together
    with cloud.serve() as url, Client(settings(base_url=url)) as client, ThreadPoolExecutor(20) as threads:
        looks = [threads.submit(client.get_task, "t-1", timeout=10) for _ in range(20)]
    assert {look.result().task.id for look in looks} == {"t-1"}


def test_a_new_key_gets_no_new_time(server: SimulatedCloud, tmp_path: Path) -> None:
    """A request that is sent again with the newest key has one deadline for both."""
    server.latency = 0.5
    file = tmp_path / "key"
    file.write_text("old")
    with server.serve() as url, Client(settings(base_url=url, api_key=file)) as client:
        file.write_text(KEY)
        with pytest.raises(ApiUnavailableError, match=r"no answer: ReadTimeout: timed out \(t-1\)"):
            client.get_task("t-1", timeout=0.9)
    assert [request.status for request in server.requests] == [401, 200]


def test_it_can_be_awaited_under_trio() -> None:
    """AnyIO carries the awaited driver, so trio does too."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=TASK)))

    async def main() -> tuple[str, ...]:
        return (await aio.wait_for_task("t-1", api_key=KEY, client=client)).instances

    assert trio.run(main) == ("i-1",)


def test_a_client_of_ones_own_has_the_deadline_between_chunks() -> None:
    """Where waiter does not own the connection, a slow body is given up at its next chunk."""
    now = 0.0

    def body() -> Iterator[bytes]:
        nonlocal now
        for byte in json.dumps(TASK):
            now += 1
            yield byte.encode()

    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body())))
    with pytest.raises(ApiUnavailableError, match=r"the whole answer took too long \(t-1\)"):
        look("https://api.gcore.com", client=mine, clock=lambda: now)
    assert now == 6


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


def test_a_key_that_may_stand_in_any_text_changes_no_answer() -> None:
    """What is hidden is a token, not each letter that looks like it."""
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=TASK)))
    assert wait_for_task("t-1", api_key="1", client=mine).instances == ("i-1",)
