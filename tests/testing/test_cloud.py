"""Speed, past tasks, and what verify reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from waiter.testing import SimulatedCloud, appears, ended, finishes, never_ends, status, vanishes

ID = "26986bc0-748a-4448-b836-0a2aa465eb06"
TASKS = "/cloud/v1/tasks"


def test_speed_divides_durations(make_cloud: Callable[..., SimulatedCloud], send: Any, poll_at: Any) -> None:
    """Speed divides every scripted duration."""
    cloud = make_cloud(speed=10, notation="%Y-%m-%dT%H:%M:%S.%fZ")
    task_id = cloud.add(appears(5, finishes(15, age=5)))
    cloud.add_past("create_vm", [20], every=100)
    assert poll_at(cloud, task_id, 0, 0.5, 1) == [404, "RUNNING", "FINISHED"]
    page = send(cloud, TASKS).json["results"]
    assert [(task["created_on"], task["finished_on"]) for task in page] == [
        ("2026-07-01T13:37:13.500000Z", "2026-07-01T13:37:15.000000Z"),
        ("2026-07-01T13:37:02.000000Z", "2026-07-01T13:37:04.000000Z"),
    ]


def test_past_tasks_are_listed(cloud: SimulatedCloud, send: Any) -> None:
    """Past tasks are in the listing, the last one first, and verify does not require polls of them."""
    ids = cloud.add_past("create_vm", [19, 25, 30], errors=[1], every=60)
    page = send(cloud, f"{TASKS}?task_type=create_vm").json
    shown = [(task["id"], task["state"], task["created_on"], task["finished_on"]) for task in page["results"]]
    assert shown == [
        (ids[2], "FINISHED", "2026-07-01T13:35:44", "2026-07-01T13:36:14"),
        (ids[1], "ERROR", "2026-07-01T13:34:49", "2026-07-01T13:35:14"),
        (ids[0], "FINISHED", "2026-07-01T13:33:55", "2026-07-01T13:34:14"),
    ]
    cloud.verify()


def test_verify_names_all_problems(cloud: SimulatedCloud, send: Any) -> None:
    """Unexpected requests and unused scripts are named, one a line; a task that is not watched is not."""
    cloud.add(finishes(5), task_id="seen-too-early")
    cloud.add(finishes(5), task_id="unwatched", watched=False)
    cloud.add(vanishes(5), task_id="still-there")
    cloud.add(never_ends(), task_id="seen")
    cloud.on_request("POST", "/cloud/v1/volumes/*/*")
    for name in ("seen-too-early", "still-there", "seen"):
        send(cloud, name)
    send(cloud, "seen?page=1")
    send(cloud, f"{TASKS}?colour=red")
    with pytest.raises(AssertionError) as caught:
        cloud.verify()
    assert str(caught.value).splitlines() == [
        "the simulated cloud was not used as scripted",
        f"unexpected request: GET {TASKS}/seen?page=1: unknown parameters",
        f"unexpected request: GET {TASKS}?colour=red: unknown parameters colour",
        "not polled until its end: create_vm seen-too-early",
        "not polled until its end: create_vm still-there",
        "not requested: POST /cloud/v1/volumes/*/*",
        "(in a test that expects a time-out, use never_ends() or add(..., watched=False))",
    ]


def test_verify_names_twenty_problems_at_most(cloud: SimulatedCloud) -> None:
    """The first twenty problems are named and the others counted."""
    for _ in range(5000):
        cloud.add(never_ends())
    with pytest.raises(AssertionError) as caught:
        cloud.verify()
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-2]) == (23, "and 4980 more")


def test_server_has_the_methods_of_its_cloud() -> None:
    """What a test does with a cloud in process it does with a server in the same words."""
    cloud = SimulatedCloud(api_key="mine$key")
    with cloud.serve() as url:
        pass
    server = cloud.serve(port=int(url.rpartition(":")[2]))
    server.add_past("create_vm", [19])
    server.fault(status(503))
    server.outage(0, 5, status(502))
    server.on_request("POST", "/cloud/v1/volumes/*/*", never_ends())
    server.add(never_ends(), task_id="t", watched=False)
    assert len(server.problems()) == 3
    with pytest.raises(AssertionError):
        server.verify()
    assert server.requests is cloud.requests
    assert {"api_key": server.api_key, "base_url": url} == server.options == server.async_options


def test_all_kinds_of_a_cloud(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """With all_kinds, every ended task that created something shows the other kinds as empty lists."""
    cloud = make_cloud(all_kinds=True)
    created, nothing = cloud.add(ended({"instances": ["i"]})), cloud.add(ended())
    resources = send(cloud, created).json["created_resources"]
    assert (len(resources), resources["instances"], resources["volumes"]) == (36, ["i"], [])
    assert send(cloud, nothing).json["created_resources"] is None


def test_lenient_cloud_raises_nothing(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """A cloud that is not strict has problems, but verify raises nothing."""
    cloud = make_cloud(strict=False)
    send(cloud, "unknown")
    cloud.verify()
    assert len(cloud.problems()) == 1


def test_requests_are_not_recorded_on_demand(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """With record=False no request is kept."""
    cloud = make_cloud(record=False)
    send(cloud, cloud.add(never_ends()))
    assert cloud.requests == []


def test_duplicate_id_raises(cloud: SimulatedCloud) -> None:
    """An ID belongs to one task."""
    cloud.add(never_ends(), task_id=ID)
    with pytest.raises(ValueError, match=f"^there is already a task {ID}$"):
        cloud.add(never_ends(), task_id=ID)
