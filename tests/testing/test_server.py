"""The simulation over real HTTP: the only tests here with sockets and real time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from waiter.testing import (
    Fault,
    SimulatedCloud,
    SimulatedServer,
    drip,
    finishes,
    half_body,
    hang,
    html,
    never_ends,
    refuse,
    reset,
)

TASKS = "/cloud/v1/tasks"


@pytest.fixture
def cloud() -> SimulatedCloud:
    """A cloud on real time, with a task."""
    cloud = SimulatedCloud()
    cloud.add(never_ends(), task_id="t")
    return cloud


@pytest.fixture
def server(cloud: SimulatedCloud) -> Iterator[SimulatedServer]:
    server = cloud.serve()
    threads = threading.active_count()
    with server:
        yield server
    assert threads == threading.active_count()


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"apikey {server.cloud.api_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=10, trust_env=False, verify=False) as client:
        yield client


def connections(client: httpx.Client) -> int:
    return len(client._transport._pool.connections)  # type: ignore[attr-defined]


def test_answers(server: SimulatedServer, client: httpx.Client) -> None:
    """Answers are those of the transport, over connections that are kept."""
    responses = [client.get(f"{TASKS}/t") for _ in range(3)]
    assert [(response.status_code, response.http_version) for response in responses] == [(200, "HTTP/1.1")] * 3
    assert responses[0].content == responses[2].content
    assert {"content-type", "date", "content-length"} == set(responses[0].headers)
    assert connections(client) == 1
    assert [("GET", f"{TASKS}/t", "t", 200)] * 3 == [(r.method, r.path, r.task_id, r.status) for r in server.cloud.requests]
    server.cloud.verify()


def test_takes_every_method(server: SimulatedServer, client: httpx.Client) -> None:
    """Requests with a body start tasks, and one without an answer's body has none; the connection stays in step."""
    server.cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(0))
    task_id = client.post("/cloud/v2/instances/1/1", json={"name": "vm"}).json()["tasks"][0]
    assert client.get(f"{TASKS}/{task_id}").json()["state"] == "FINISHED"
    methods = ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]
    assert [client.request(method, f"{TASKS}/t").status_code for method in methods] == [405] * 5
    assert connections(client) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (reset(), httpx.ReadError),
        (refuse(), httpx.ReadError),
        (half_body(), httpx.RemoteProtocolError),
        (hang(), httpx.ReadTimeout),
        (drip(0.3), httpx.ReadTimeout),
        (drip(0.3, "body"), httpx.ReadTimeout),
    ],
)
def test_faults_are_real(server: SimulatedServer, client: httpx.Client, fault: Fault, error: type[Exception]) -> None:
    """A fault breaks the connection for real, and the next request is answered."""
    server.cloud.fault(fault)
    with pytest.raises(error) as caught:
        client.get(f"{TASKS}/t", timeout=0.1)
    assert error is caught.type
    assert client.get(f"{TASKS}/t").status_code == 200


@pytest.mark.parametrize("fault", [drip(0.0001), drip(0.0001, "body"), hang(0.05), html(200)])
def test_slow_or_strange_answers_arrive(server: SimulatedServer, client: httpx.Client, fault: Fault) -> None:
    """An answer that is only slow or strange comes whole, and keeps the connection."""
    server.cloud.fault(fault)
    assert [client.get(f"{TASKS}/t").status_code for _ in range(2)] == [200, 200]
    assert connections(client) == 1


def test_unplugs_and_plugs(server: SimulatedServer, client: httpx.Client) -> None:
    """An unplugged server breaks what is open and refuses what is new; plugged again, it has the same port."""
    url = server.url
    client.get(f"{TASKS}/t")
    server.unplug()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, trust_env=False, verify=False)
    server.plug()
    server.plug()
    assert (url, 200) == (server.url, client.get(f"{TASKS}/t").status_code)


@pytest.mark.parametrize("fault", [hang(), hang(60), drip(60), drip(60, "body")])
def test_stops_at_once(cloud: SimulatedCloud, fault: Fault) -> None:
    """Whatever it holds back, the server stops at once and leaves no thread."""
    threads = threading.active_count()
    cloud.fault(fault)
    server = cloud.serve()
    with server as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET {TASKS}/t HTTP/1.1\r\nAuthorization: apikey simulated$key\r\n\r\n".encode())
        while not cloud.requests:
            time.sleep(0.001)
        began = time.perf_counter()
        server.unplug()
        took = time.perf_counter() - began
    assert threads == threading.active_count()
    assert took < 5


def test_serves_ipv6(cloud: SimulatedCloud) -> None:
    """The host may be an IPv6 address."""
    with cloud.serve(host="::1") as url:
        assert url.startswith("http://[::1]:")
        response = httpx.get(
            f"{url}{TASKS}/t", headers={"Authorization": "apikey simulated$key"}, trust_env=False, verify=False
        )
    assert response.status_code == 200


def test_names_its_own_failure(server: SimulatedServer, client: httpx.Client) -> None:
    """A failure of the simulation itself is among the problems, not only a broken connection."""

    def fail(_: Any) -> Any:
        message = "oh"
        raise RuntimeError(message)

    server.cloud.fault(Fault("broken", fail))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{TASKS}/t")
    assert server.cloud.problems()[0] == "not expected: the simulation failed: RuntimeError('oh')"
