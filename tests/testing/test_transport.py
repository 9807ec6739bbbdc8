"""The simulation as an httpx transport, with blocking and awaited clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from waiter.testing import (
    Fault,
    Request,
    SimulatedCloud,
    drip,
    finishes,
    half_body,
    hang,
    html,
    never_ends,
    redirect,
    refuse,
    reset,
    status,
)

TASKS = "/cloud/v1/tasks"
Get = Callable[..., httpx.Response]


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Get:
    """Return a function that sends a request through a cloud's transport, with either of httpx's clients."""

    def get_sync(cloud: SimulatedCloud, target: str, method: str = "GET", timeout: Any = 5.0) -> httpx.Response:
        headers = {"Authorization": f"APIKey {cloud.api_key}"}
        with httpx.Client(base_url=cloud.base_url, transport=cloud.transport, headers=headers) as client:
            return client.request(method, target, timeout=timeout)

    async def get_async(cloud: SimulatedCloud, target: str, method: str = "GET", timeout: Any = 5.0) -> httpx.Response:  # noqa: ASYNC109
        headers = {"Authorization": f"APIKey {cloud.api_key}"}
        async with httpx.AsyncClient(base_url=cloud.base_url, transport=cloud.transport, headers=headers) as client:
            return await client.request(method, target, timeout=timeout)

    def get_awaited(*args: Any, **more: Any) -> httpx.Response:
        return asyncio.run(get_async(*args, **more))

    return get_sync if request.param == "sync" else get_awaited


@pytest.fixture
def task(cloud: SimulatedCloud) -> str:
    """Return the path of a task that ends after 5 seconds."""
    return f"{TASKS}/{cloud.add(finishes(5, {'instances': ['i']}), task_id='t', watched=False)}"


def test_response_arrives(cloud: SimulatedCloud, get: Get, task: str) -> None:
    """A response arrives immediately, with status, headers and body."""
    response = get(cloud, task)
    assert (response.status_code, response.json()["id"], response.json()["state"]) == (200, "t", "RUNNING")
    assert dict(response.headers) == {
        "content-type": "application/json",
        "date": "Wed, 01 Jul 2026 13:37:14 GMT",
        "content-length": str(len(response.content)),
    }
    assert [Request(0.0, "GET", task, "t", 200)] == cloud.requests


def test_recorded_path_has_the_query(cloud: SimulatedCloud, get: Get) -> None:
    """The recorded path is the one that was sent, with its query."""
    cloud.on_request("POST", "/cloud/v2/instances/1/1", never_ends())
    started = get(cloud, "/cloud/v2/instances/1/1", "POST").json()["tasks"]
    listed = get(cloud, f"{TASKS}?state=NEW&state=RUNNING&limit=1000").json()
    assert started == [one["id"] for one in listed["results"]]
    assert [("POST", "/cloud/v2/instances/1/1"), ("GET", f"{TASKS}?state=NEW&state=RUNNING&limit=1000")] == [
        (request.method, request.path) for request in cloud.requests
    ]


@pytest.mark.parametrize(
    ("fault", "error", "message", "elapsed"),
    [
        (hang(), httpx.ReadTimeout, "The read operation timed out", 5),
        (hang(5.5), httpx.ReadTimeout, "The read operation timed out", 5),
        (reset(), httpx.ReadError, "[Errno 104] Connection reset by peer", 0),
        (refuse(), httpx.ConnectError, "[Errno 111] Connection refused", 0),
        (drip(6), httpx.ReadTimeout, "The read operation timed out", 5),
        (drip(6, "body"), httpx.ReadTimeout, "The read operation timed out", 5),
        (
            half_body(),
            httpx.RemoteProtocolError,
            "peer closed connection without sending complete message body (received 214 bytes, expected 428)",
            0,
        ),
    ],
)
def test_fault_raises_the_network_error(  # noqa: PLR0913, PLR0917 - a table
    cloud: SimulatedCloud, get: Get, task: str, fault: Fault, error: type[Exception], message: str, elapsed: float
) -> None:
    """A fault raises the exception that httpx raises for it, after the same time; nothing sleeps for real."""
    cloud.fault(fault)
    began = time.perf_counter()
    with pytest.raises(httpx.RequestError) as caught:
        get(cloud, task)
    assert (error, message, elapsed) == (type(caught.value), str(caught.value), cloud.elapsed)
    assert f"{cloud.base_url}{task}" == caught.value.request.url
    assert time.perf_counter() - began < 4


@pytest.mark.parametrize("part", ["headers", "body"])
def test_dripping_bytes_do_not_end_the_read_time_out(cloud: SimulatedCloud, get: Get, task: str, part: Any) -> None:
    """Bytes that arrive one by one do not trigger the read time-out: the response takes as long as it has bytes."""
    cloud.fault(drip(2, part))
    response = get(cloud, task)
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in response.headers.items()), "", ""]
    dripping = response.text if part == "body" else "\r\n".join(lines)
    assert 2.0 * len(dripping) == cloud.elapsed


@pytest.mark.parametrize(
    ("fault", "code"), [(html(), 502), (status(429, "3"), 429), (redirect("https://elsewhere.example/"), 302)]
)
def test_faulty_content_arrives(cloud: SimulatedCloud, get: Get, task: str, fault: Fault, code: int) -> None:
    """A fault of the content is a response like any other."""
    cloud.fault(fault)
    assert code == get(cloud, task).status_code


@pytest.mark.parametrize("fault", [drip(2), drip(2, "body"), hang(8)])
def test_total_time_out_limits_every_delivery(cloud: SimulatedCloud, task: str, fault: Fault) -> None:
    """A request with a total time-out, as waiter sends it, ends then, even while bytes arrive."""
    cloud.fault(fault)
    client = cloud.options["client"]
    with pytest.raises(httpx.ReadTimeout, match=r"^The read operation timed out$"):
        client.get(
            cloud.base_url + task,
            headers={"Authorization": f"apikey {cloud.api_key}"},
            timeout=7.0,
            extensions={"deadline": 7.0},
        )
    assert cloud.elapsed == 7


def test_latency_delays_the_response(make_cloud: Callable[..., SimulatedCloud], get: Get) -> None:
    """A response shows the state at the time of the request, and arrives the latency later."""
    cloud = make_cloud(latency=0.25)
    task = f"{TASKS}/{cloud.add(finishes(0.2))}"
    states = [get(cloud, task).json()["state"] for _ in range(2)]
    assert (states, [request.at for request in cloud.requests], cloud.elapsed) == (["RUNNING", "FINISHED"], [0, 0.25], 0.5)


def test_latency_beyond_the_read_time_out_raises(make_cloud: Callable[..., SimulatedCloud], get: Get) -> None:
    """A latency beyond the read time-out is a time-out."""
    cloud = make_cloud(latency=8)
    with pytest.raises(httpx.ReadTimeout):
        get(cloud, f"{TASKS}/{cloud.add(never_ends())}")
    assert cloud.elapsed == 5


def test_request_without_a_time_out_waits(cloud: SimulatedCloud, get: Get, task: str) -> None:
    """Without a read time-out a request waits until the response arrives."""
    cloud.fault(hang(100))
    assert (get(cloud, task, timeout=None).status_code, cloud.elapsed) == (200, 100)


def test_endless_request_is_an_error_of_the_test(cloud: SimulatedCloud, get: Get, task: str) -> None:
    """A request that would never end raises an AssertionError that names it."""
    cloud.fault(hang())
    with pytest.raises(AssertionError, match=f"^GET {cloud.base_url}{task} has no read time-out and would hang for ever$"):
        get(cloud, task, timeout=None)


def test_other_hosts_do_not_connect(cloud: SimulatedCloud, get: Get) -> None:
    """A request to another host does not connect, and is unexpected."""
    with pytest.raises(httpx.ConnectError, match=r"^elsewhere\.example is not simulated$"):
        get(cloud, "https://elsewhere.example/")
    assert (cloud.problems(), cloud.requests) == (["unexpected request: GET https://elsewhere.example/: another host"], [])


def test_options_direct_a_client_to_the_cloud(cloud: SimulatedCloud, task: str) -> None:
    """The options have the key, the base URL, a client, and this cloud's clock and sleep."""
    options = dict(cloud.options)
    client = options.pop("client")
    assert options == {
        "api_key": "simulated$key",
        "base_url": "https://api.gcore.com",
        "clock": cloud.clock,
        "sleep": cloud.sleep,
    }
    response = client.get(options["base_url"] + task, headers={"Authorization": f"apikey {options['api_key']}"})
    assert response.status_code == 200


def test_async_options_direct_a_client_to_the_cloud(cloud: SimulatedCloud, task: str) -> None:
    """The async options have an async client and an async sleep."""

    async def poll() -> int:
        options = cloud.async_options
        await options["sleep"](5)
        headers = {"Authorization": f"apikey {options['api_key']}"}
        response = await options["client"].get(options["base_url"] + task, headers=headers)
        return int(response.status_code)

    assert (200, cloud.async_sleep, 5) == (asyncio.run(poll()), cloud.async_options["sleep"], cloud.elapsed)


def test_requests_share_virtual_time(make_cloud: Callable[..., SimulatedCloud]) -> None:
    """Concurrent requests take no longer than the slowest of them."""
    cloud = make_cloud(latency=1)
    ids = [cloud.add(never_ends()) for _ in range(50)]

    async def poll_all() -> None:
        async with httpx.AsyncClient(base_url=cloud.base_url, transport=cloud.transport) as client:
            headers = {"Authorization": f"apikey {cloud.api_key}"}
            await asyncio.gather(*(client.get(f"{TASKS}/{task_id}", headers=headers) for task_id in ids))

    asyncio.run(poll_all())
    assert ([request.at for request in cloud.requests], cloud.elapsed) == ([0.0] * 50, 1)
    cloud.verify()
