"""The simulation over real HTTP: the only tests of the simulation with sockets and real time."""

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
    threads = set(threading.enumerate())
    with server:
        yield server
    assert not set(threading.enumerate()) - threads


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"apikey {server.cloud.api_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False, verify=False) as client:
        yield client


def connections(client: httpx.Client) -> int:
    return len(client._transport._pool.connections)  # type: ignore[attr-defined]


def test_response_arrives(server: SimulatedServer, client: httpx.Client) -> None:
    """Responses are those of the transport, over connections that are kept open."""
    responses = [client.get(f"{TASKS}/t") for _ in range(3)]
    assert [(response.status_code, response.http_version) for response in responses] == [(200, "HTTP/1.1")] * 3
    assert responses[0].content == responses[2].content
    assert {"content-type", "date", "content-length"} == set(responses[0].headers)
    assert connections(client) == 1
    assert [("GET", f"{TASKS}/t", "t", 200)] * 3 == [(r.method, r.path, r.task_id, r.status) for r in server.cloud.requests]
    server.cloud.verify()


def test_every_method_gets_a_response(server: SimulatedServer, client: httpx.Client) -> None:
    """Bodies of requests are read, and the response to HEAD has none: the connection stays usable."""
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
def test_fault_is_real(server: SimulatedServer, client: httpx.Client, fault: Fault, error: type[Exception]) -> None:
    """A fault breaks the connection, and the next request gets its response."""
    server.cloud.fault(fault)
    with pytest.raises(error) as caught:
        client.get(f"{TASKS}/t", timeout=0.1 if error is httpx.ReadTimeout else 60)
    assert error is caught.type
    assert client.get(f"{TASKS}/t").status_code == 200


@pytest.mark.parametrize("fault", [drip(0.0001), drip(0.0001, "body"), hang(0.05), html(200)])
def test_slow_or_strange_response_arrives(server: SimulatedServer, client: httpx.Client, fault: Fault) -> None:
    """A response that is only slow or strange arrives whole, and the connection is kept."""
    server.cloud.fault(fault)
    assert [client.get(f"{TASKS}/t").status_code for _ in range(2)] == [200, 200]
    assert connections(client) == 1


def test_unplugged_server_refuses_connections(server: SimulatedServer, client: httpx.Client) -> None:
    """An unplugged server breaks its connections and refuses new ones; plugged in again, it has the same port."""
    url = server.url
    client.get(f"{TASKS}/t")
    server.unplug()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, trust_env=False, verify=False)
    server.plug()
    server.plug()
    assert (url, 200) == (server.url, client.get(f"{TASKS}/t").status_code)


@pytest.mark.parametrize("fault", [hang(), hang(60), drip(60), drip(60, "body")])
def test_server_stops_during_a_fault(cloud: SimulatedCloud, fault: Fault) -> None:
    """The server stops while a response is held back, and leaves no thread."""
    threads = set(threading.enumerate())
    cloud.fault(fault)
    server = cloud.serve()
    with server as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET {TASKS}/t HTTP/1.1\r\nAuthorization: apikey simulated$key\r\n\r\n".encode())
        while not cloud.requests:
            time.sleep(0.001)
        began = time.perf_counter()
        server.unplug()
        took = time.perf_counter() - began
    assert not set(threading.enumerate()) - threads
    assert took < 50


def test_ipv6_host(cloud: SimulatedCloud) -> None:
    """The host may be an IPv6 address."""
    with cloud.serve(host="::1") as url:
        assert url.startswith("http://[::1]:")
        response = httpx.get(
            f"{url}{TASKS}/t", headers={"Authorization": "apikey simulated$key"}, trust_env=False, verify=False
        )
    assert response.status_code == 200


def test_failure_of_the_simulation_is_a_problem(server: SimulatedServer, client: httpx.Client) -> None:
    """A failure of the simulation itself is among the problems."""

    def fail(_: Any) -> Any:
        message = "oh"
        raise RuntimeError(message)

    server.cloud.fault(Fault("broken", fail))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{TASKS}/t")
    assert server.cloud.problems()[0] == "unexpected request: the simulation failed: RuntimeError('oh')"
