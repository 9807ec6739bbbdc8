"""The endpoints of the resources that simulated tasks create."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from waiter.api.resources import BARE_METAL, RESOURCE_KINDS, ResourceKind
from waiter.testing import (
    SimulatedCloud,
    finishes,
    never_ends,
    resources_appear,
    resources_fail,
    resources_ready,
    resources_vanish,
    status,
)

KINDS = [*RESOURCE_KINDS.items(), ("instances", BARE_METAL)]


def path_of(kind: ResourceKind, resource_id: str = "r%201", project: int = 7, region: int = 8) -> str:
    return kind.path.format(project_id=project, region_id=region, id=resource_id)


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=[kind.path.split("/")[3] for _, kind in KINDS])
@pytest.mark.parametrize(("scenario", "last"), [(resources_ready, "ready"), (resources_fail, "failed")])
def test_resource_follows_its_task(  # noqa: PLR0913, PLR0917 - a table
    cloud: SimulatedCloud, send: Any, name: str, kind: ResourceKind, scenario: Callable[..., Any], last: str
) -> None:
    """A resource is unknown until its task has ended, then pending, then ready or failed."""
    task_type = "create_bm" if kind is BARE_METAL else "create_vm"
    task = finishes(10, {name: ["r 1"]}, project_id=7, region_id=8, task_type=task_type)
    cloud.add(scenario(5, task), watched=False)
    shown = []
    for seconds in (9, 1, 4.5, 0.5):
        cloud.sleep(seconds)
        reply = send(cloud, path_of(kind))
        shown.append(kind.assess(reply.json) if reply.status == 200 else reply.status)
    if kind.field is None:
        assert shown == [404, "ready", "ready", "ready"]
    else:
        # No status of a Kubernetes cluster is known to mean a failure.
        assert shown == [404, "pending", "pending", last if kind.failed or last == "ready" else "pending"]
    assert cloud.problems() == []


def test_resource_shows_its_origin(cloud: SimulatedCloud, send: Any) -> None:
    """A resource shows its ID, its place and the task that created it; by default it is ready immediately."""
    task_id = cloud.add(finishes(0, {"images": ["i"]}, project_id=7, region_id=8), watched=False)
    assert send(cloud, "/cloud/v1/images/7/8/i").json == {
        "id": "i",
        "name": "i",
        "project_id": 7,
        "region_id": 8,
        "task_id": None,
        "creator_task_id": task_id,
        "status": "active",
        "size": 1,
    }


def test_speed_applies_to_resources(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """Speed divides the seconds until resources are ready."""
    cloud = make_cloud(speed=10)
    cloud.add(resources_ready(20, finishes(10, {"volumes": ["v"]}, age=5)), watched=False)
    shown = []
    for _ in range(6):
        reply = send(cloud, "/cloud/v1/volumes/1/1/v")
        shown.append(reply.json.get("status", reply.status))
        cloud.sleep(0.5)
    assert shown == [404, "creating", "creating", "creating", "creating", "available"]


@pytest.mark.parametrize(
    "path",
    ["/cloud/v1/volumes/1/1/other", "/cloud/v1/volumes/2/1/v", "/cloud/v1/bminstances/1/1/i", "/cloud/v1/flavors/1/1/v"],
)
def test_unknown_resource_is_unexpected(cloud: SimulatedCloud, send: Any, path: str) -> None:
    """A resource that no task creates there is a 404 and unexpected."""
    cloud.add(finishes(0, {"volumes": ["v"], "instances": ["i"]}), watched=False)
    assert send(cloud, path).status == 404
    assert cloud.problems() == [f"unexpected request: GET {path}: no such path"]


def test_resource_may_only_be_read(cloud: SimulatedCloud, send: Any) -> None:
    """Another method than GET needs a route of its own."""
    cloud.add(finishes(0, {"volumes": ["v"]}), watched=False)
    assert send(cloud, "/cloud/v1/volumes/1/1/v", "DELETE").status == 405
    cloud.on_request("DELETE", "/cloud/v1/volumes/*/*/v", never_ends())
    assert send(cloud, "/cloud/v1/volumes/1/1/v", "DELETE").status == 200


def test_resources_may_appear_late_and_vanish(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """Their endpoints answer 404 before and after; that is expected."""
    cloud = make_cloud()
    cloud.add(resources_vanish(20, resources_appear(5, finishes(10, {"volumes": ["v"]}))), watched=False)
    shown = []
    for _ in range(7):
        shown.append(send(cloud, "/cloud/v1/volumes/1/1/v").status)
        cloud.sleep(5)
    assert shown == [404, 404, 404, 200, 200, 200, 404]
    assert cloud.problems() == []


def test_fault_may_be_restricted_to_resources(cloud: SimulatedCloud, send: Any) -> None:
    """Tasks and other paths do not get it."""
    task_id = cloud.add(finishes(0, {"volumes": ["v"]}), watched=False)
    cloud.fault(status(503), on="resource")
    assert send(cloud, f"/cloud/v1/tasks/{task_id}").status == 200
    assert send(cloud, "/cloud/v1/volumes/1/1/v").status == 503
