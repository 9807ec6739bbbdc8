"""Connections of the blocking and of the awaited client, which agree on everything that a server or a proxy does."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio
import trustme
from single_poll import KEY, TASK, both, settings

from waiter import ApiError, ApiUnavailableError, AsyncWaiter, Waiter, WaiterError
from waiter.http import blocking_pool
from waiter.http.async_client import AsyncClient
from waiter.http.client import Client

BODY = json.dumps(TASK).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
OTHER = OK.replace(b"t-1", b"t-2")
CLOSE = b""
LOOPS: dict[str, Callable[..., Any]] = {"asyncio": lambda main, *args: asyncio.run(main(*args)), "trio": trio.run}


class Server:
    """Answers each request with the next list of pieces; an empty piece closes the connection."""

    def __init__(self, *script: list[bytes], pause: float = 0.02) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._sent = threading.Semaphore(0)
        self._script = list(script)
        self._pause = pause

    @contextmanager
    def serve(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                with connection, suppress(OSError):
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while request := connection.recv(65536):
            self.requests.append(request)
            for piece in self._script.pop(0):
                if piece == CLOSE:
                    return
                connection.sendall(piece)
                time.sleep(self._pause)
            self._sent.release()

    def wait_until_sent(self) -> None:
        """Wait until all pieces for one more request are sent."""
        assert self._sent.acquire(timeout=60)


def polls(driver: str, url: str, times: int, pause: Callable[[], None] = lambda: None, **options: Any) -> list[str]:
    """Poll several times with one client, with a pause after each poll, and return the ID of each task, or the error."""
    config = settings(base_url=url, **options)
    if driver in LOOPS:
        return cast("list[str]", LOOPS[driver](_polls_async, config, times, pause))
    results: list[str] = []
    with Client(config) as client:
        for _ in range(times):
            try:
                results.append(client.get_task("t-1", timeout=30).task.id)
            except ApiError as error:
                results.append(str(error))
            pause()
    return results


async def _polls_async(config: Any, times: int, pause: Callable[[], None]) -> list[str]:
    results: list[str] = []
    async with AsyncClient(config) as client:
        for _ in range(times):
            try:
                results.append((await client.get_task("t-1", timeout=30)).task.id)
            except ApiError as error:
                results.append(str(error))
            await anyio.to_thread.run_sync(pause)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()  # what has arrived is read
    return results


def poll_and_acknowledge(driver: str, url: str) -> str:
    """Poll a task and acknowledge it with the same client, and return its ID."""
    config = settings(base_url=url)
    if driver in LOOPS:
        return cast("str", LOOPS[driver](_poll_and_acknowledge_async, config))
    with Client(config) as client:
        client.get_task("t-1", timeout=30)
        return client.acknowledge("t-1", timeout=30).id


async def _poll_and_acknowledge_async(config: Any) -> str:
    async with AsyncClient(config) as client:
        await client.get_task("t-1", timeout=30)
        return (await client.acknowledge("t-1", timeout=30)).id


drivers = pytest.mark.parametrize("driver", ["blocking", *LOOPS])


@drivers
def test_polls_share_a_connection(driver: str) -> None:
    """It is kept after each response."""
    server = Server([OK], [OK], [OK])
    with server.serve() as url:
        assert polls(driver, url, 3) == ["t-1"] * 3
    assert server.connections == 1


@drivers
@pytest.mark.parametrize(
    "pieces",
    [[OK + OTHER], [OK + b"junk"], [OK, OTHER], [OK, b"junk"], [OK[:-3], OK[-3:] + OTHER[:9]]],
    ids=["same segment", "junk", "later", "junk later", "part"],
)
def test_unrequested_bytes_are_never_a_response(driver: str, pieces: list[bytes]) -> None:
    """Their connection is not used again."""
    server = Server(pieces, [OK])
    with server.serve() as url:
        assert polls(driver, url, 2, server.wait_until_sent) == ["t-1", "t-1"]
    assert server.connections == 2


@drivers
def test_request_on_a_stale_connection_is_repeated_once(driver: str) -> None:
    """A server may close a kept connection while the request is on its way; a second failure is an error."""
    server = Server([OK], [CLOSE], [OK], [CLOSE], [CLOSE])
    with server.serve() as url:
        results = polls(driver, url, 3)
    assert results[:2] == ["t-1", "t-1"]
    assert "server disconnected after 0 bytes" in results[2]
    assert len(server.requests) == 5


@drivers
def test_acknowledgement_on_a_stale_connection_is_repeated(driver: str) -> None:
    """The server may have processed it, but acknowledging a task twice does no harm."""
    server = Server([OK], [CLOSE], [OK])
    with server.serve() as url:
        assert poll_and_acknowledge(driver, url) == "t-1"
    assert [request.partition(b" ")[0] for request in server.requests] == [b"GET", b"POST", b"POST"]
    assert all(request.endswith(b"\r\nContent-Length: 0\r\n\r\n") for request in server.requests[1:])


@drivers
def test_connection_that_breaks_in_a_response_is_not_repeated(driver: str) -> None:
    """The server has processed the request."""
    server = Server([OK], [OK[:15], CLOSE], [OK])
    with server.serve() as url:
        results = polls(driver, url, 2)
    assert "after 15 bytes" in results[1]
    assert len(server.requests) == 2


@drivers
@pytest.mark.parametrize("response", [OK.replace(b"200 OK", b"200 OK\r\nConnection: close"), OK.replace(b"1.1", b"1.0")])
def test_connection_that_the_server_closes_is_not_kept(driver: str, response: bytes) -> None:
    """The response says so by a header or its version."""
    server = Server([response, CLOSE], [OK])
    with server.serve() as url:
        assert polls(driver, url, 2) == ["t-1", "t-1"]
    assert server.connections == 2


ODD = {
    "obs-fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: %d\n\n%s" % (len(BODY), BODY),
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + OK,
    "endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "to the end": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("name", ODD)
def test_blocking_and_awaited_read_odd_responses_alike(name: str) -> None:
    """Both accept it, or both refuse it with the same error."""
    results = []
    for driver in ("blocking", *LOOPS):
        with Server([ODD[name], CLOSE]).serve() as url:
            results.append(polls(driver, url, 1))
    assert results[0] == results[1] == results[2]


@drivers
def test_expired_connections_are_replaced(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load balancer would close them soon."""
    monkeypatch.setattr(blocking_pool, "KEEPALIVE_EXPIRY", 0.01)
    monkeypatch.setattr("waiter.http.async_pool.KEEPALIVE_EXPIRY", 0.01)
    server = Server([OK], [OK])
    with server.serve() as url:
        assert polls(driver, url, 2, lambda: time.sleep(0.05)) == ["t-1", "t-1"]


@drivers
def test_silent_name_server_is_bounded(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the request nor the end of the event loop waits for the lookup, and later lookups share its thread."""
    answered = threading.Event()
    lookups: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        lookups.append(host)
        answered.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    config = settings(base_url="https://silent.example", client=None)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(ApiUnavailableError, match=r"no response: .*timed out"):
            _poll_once(driver, config, timeout=0.2)
    elapsed = time.monotonic() - began
    answered.set()
    assert (lookups, elapsed < 50) == (["silent.example"], True)


def _poll_once(driver: str, config: Any, timeout: float) -> None:
    async def main() -> None:
        async with AsyncClient(config) as client:
            await client.get_task("t-1", timeout=timeout)

    if driver in LOOPS:
        LOOPS[driver](main)
    else:
        with Client(config) as client:
            client.get_task("t-1", timeout=timeout)


@drivers
def test_waiter_cannot_be_used_after_close(driver: str) -> None:
    """The error is waiter's."""

    async def main() -> None:
        waiter = AsyncWaiter(api_key=KEY, base_url="http://127.0.0.1:1")
        await waiter.close()
        await waiter.status("t-1")

    waiter = Waiter(api_key=KEY, base_url="http://127.0.0.1:1")
    waiter.close()
    with pytest.raises(WaiterError, match="the waiter is closed"):
        LOOPS[driver](main) if driver in LOOPS else waiter.status("t-1")


@drivers
def test_users_client_cannot_be_used_after_close(driver: str) -> None:
    """The error is waiter's."""

    async def main() -> None:
        client = httpx.AsyncClient()
        await client.aclose()
        await AsyncWaiter(api_key=KEY, client=client).status("t-1")

    client = httpx.Client()
    client.close()
    with pytest.raises(WaiterError, match="the httpx client is closed"):
        LOOPS[driver](main) if driver in LOOPS else Waiter(api_key=KEY, client=client).status("t-1")


@drivers
def test_key_in_headers_is_in_no_log(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """No library logs the headers of a response."""
    caplog.set_level(logging.NOTSET)
    with Server([OK.replace(b"200 OK", b"200 OK\r\nX-Echo: " + KEY.encode())]).serve() as url:
        polls(driver, url, 1)
    assert KEY not in caplog.text


END_OF_TLS = b"end of TLS"


class Proxy:
    """A proxy that opens tunnels and is the server behind them.

    It may drip its bytes, and send ``unrequested`` ones after each response, in a TLS record of their own. Without a response
    it ends the connection, and with ``END_OF_TLS`` the TLS in the tunnel.
    """

    def __init__(
        self, folder: Path, *, is_tls: bool, drip: bool = False, response: bytes = OK, unrequested: bytes = b""
    ) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("gcore.example").configure_cert(self._server)
        self._proxy: ssl.SSLContext | None = None
        if is_tls:
            self._proxy = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(self._proxy)
        self._drip = drip
        self._response = response
        self._unrequested = unrequested
        self.requests: list[bytes] = []

    @contextmanager
    def serve(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            yield f"http{'s' if self._proxy else ''}://me:s%40cret@localhost:{listener.getsockname()[1]}"
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError):
                    self._talk(connection)
                connection.close()

    def _talk(self, connection: socket.socket) -> None:
        if self._proxy:
            connection = self._proxy.wrap_socket(connection, server_side=True)
        with connection:
            self.requests.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self._drip:
                connection.sendall(b"\x16\x03\x03\x40\x00")  # the head of a record of 16 KiB
                while True:
                    connection.sendall(b"\0")
                    time.sleep(0.02)
            self._serve_task(connection)

    def _serve_task(self, connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._server.wrap_bio(incoming, outgoing, server_side=True)

        def run(operation: Callable[[], Any]) -> Any:
            while True:
                try:
                    result = operation()
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    if not (data := connection.recv(65536)):
                        raise ConnectionError from None
                    incoming.write(data)
                else:
                    connection.sendall(outgoing.read())
                    return result

        run(tls.do_handshake)
        while run(lambda: tls.read(65536)):
            if not self._response:
                return
            run(
                tls.unwrap if self._response == END_OF_TLS else lambda: tls.write(self._response) + tls.write(self._unrequested)
            )


@drivers
@pytest.mark.parametrize("is_tls", [False, True], ids=["http proxy", "https proxy"])
def test_tunnel_through_a_proxy_is_kept(driver: str, is_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its TLS is inside the proxy's; the proxy gets its credentials and not the key."""
    proxy = Proxy(tmp_path, is_tls=is_tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with proxy.serve() as url:
        monkeypatch.setenv("https_proxy", url)
        assert polls(driver, "https://gcore.example", 3) == ["t-1"] * 3
    assert len(proxy.requests) == 1
    assert proxy.requests[0].split(b"\r\n")[0] == b"CONNECT gcore.example:443 HTTP/1.1"
    assert b"Proxy-Authorization: Basic bWU6c0BjcmV0" in proxy.requests[0]
    assert KEY.encode() not in proxy.requests[0]


@drivers
@pytest.mark.parametrize("is_tls", [False, True], ids=["http proxy", "https proxy"])
def test_unrequested_bytes_in_a_tunnel_are_never_a_response(
    driver: str, is_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have been received together with the response, in another record of TLS."""
    proxy = Proxy(tmp_path, is_tls=is_tls, unrequested=OTHER)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with proxy.serve() as url:
        monkeypatch.setenv("https_proxy", url)
        assert polls(driver, "https://gcore.example", 2) == ["t-1"] * 2
    assert len(proxy.requests) == 2


@drivers
@pytest.mark.parametrize("is_tls", [False, True], ids=["http proxy", "https proxy"])
def test_dripping_tunnel_has_a_deadline(driver: str, is_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not prolong the handshake in the tunnel, which would otherwise never end."""
    proxy = Proxy(tmp_path, is_tls=is_tls, drip=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with proxy.serve() as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(ApiUnavailableError):
            _poll_once(driver, settings(base_url="https://gcore.example"), timeout=0.5)


@both
def test_unreachable_proxy_is_unavailable(get: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the fault."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(ApiUnavailableError, match="no response: ConnectError"):
        get("https://gcore.example")


@drivers
@pytest.mark.parametrize("is_tls", [False, True], ids=["http proxy", "https proxy"])
def test_failed_tls_in_a_tunnel_is_unavailable(
    driver: str, is_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate of the server is for another host."""
    proxy = Proxy(tmp_path, is_tls=is_tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with proxy.serve() as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(ApiUnavailableError, match="no response: ConnectError"):
            _poll_once(driver, settings(base_url="https://other.example"), timeout=30)


@drivers
@pytest.mark.parametrize("is_tls", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("end", [b"", END_OF_TLS], ids=["connection", "TLS"])
def test_end_of_a_tunnel_is_the_end_of_the_connection(
    driver: str, is_tls: bool, end: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not TLS ends before, it is no response."""
    proxy = Proxy(tmp_path, is_tls=is_tls, response=end)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with proxy.serve() as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(ApiUnavailableError, match=r"disconnected after 0 bytes|reset by peer"):
            _poll_once(driver, settings(base_url="https://gcore.example"), timeout=30)


@drivers
def test_proxy_that_disconnects_in_the_tunnel_is_unavailable(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends during the handshake of TLS in TLS."""

    class Disconnecting(Proxy):
        def _serve_task(self, connection: socket.socket) -> None:
            connection.recv(65536)

    proxy = Disconnecting(tmp_path, is_tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with proxy.serve() as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(ApiUnavailableError, match="no response"):
            _poll_once(driver, settings(base_url="https://gcore.example"), timeout=30)


@drivers
def test_silent_tls_server_is_bounded(driver: str) -> None:
    """The handshake has the deadline of the request."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ApiUnavailableError, match="timed out"):
        _poll_once(driver, settings(base_url=f"https://127.0.0.1:{listener.getsockname()[1]}"), timeout=0.2)


@drivers
def test_connection_that_was_reset_while_idle_is_replaced(driver: str) -> None:
    """A reset is an end like any other."""

    class Resetting(Server):
        def _talk(self, connection: socket.socket) -> None:
            super()._talk(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            self._sent.release()

    server = Resetting([OK, CLOSE], [OK])
    with server.serve() as url:
        assert polls(driver, url, 2, pause=server.wait_until_sent) == ["t-1", "t-1"]
    assert len(server.requests) == 2
