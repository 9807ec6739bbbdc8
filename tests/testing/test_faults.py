"""How each fault changes a response, and which requests get it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from fault_table import BROUGHT, SAID, SURVIVED

from waiter.testing import (
    Fault,
    SimulatedCloud,
    finishes,
    half_body,
    hang,
    html,
    never_ends,
    reset,
    status,
    wrong_types,
)
from waiter.testing.faults import FAULTS
from waiter.testing.response import SimulatedResponse

TASKS = "/cloud/v1/tasks"
TASK = {"id": "t", "state": "RUNNING", "created_resources": None}
REGULAR = SimulatedResponse(
    status=200, body=msgspec.json.encode(TASK), headers={"Content-Type": "application/json"}, request_id="r"
)


@pytest.mark.parametrize(("fault", "code", "body", "headers"), SAID)
def test_fault_changes_the_content(fault: Fault, code: int, body: bytes, headers: dict[str, str]) -> None:
    """A fault of the content arrives whole, with another status, body or headers."""
    response = fault.change(REGULAR)
    assert (code, body, headers, "whole", True) == (
        response.status,
        response.body,
        response.headers,
        response.delivery,
        response.arrives,
    )


@pytest.mark.parametrize(("fault", "delivery", "pause", "pace", "sent", "arrives"), BROUGHT)
def test_fault_changes_the_delivery(  # noqa: PLR0913 - a table
    fault: Fault, delivery: str, pause: float, pace: float, sent: int | None, *, arrives: bool
) -> None:
    """A fault of the delivery leaves the content as it is."""
    response = fault.change(REGULAR)
    assert (REGULAR.body, delivery, pause, pace, sent, arrives) == (
        response.body,
        response.delivery,
        response.pause,
        response.byte_interval,
        response.sent_status,
        response.arrives,
    )


def test_every_fault_is_tested_on_a_wait() -> None:
    """Each fault stands in the table of faults that a wait survives."""
    assert {fault.name.partition(" ")[0] for fault in SURVIVED} == set(FAULTS)


def test_wrong_types_change_a_listing() -> None:
    """Wrong types apply to the fields of a listing as well."""
    page = SimulatedResponse(status=200, body=b'{"count":0,"results":[]}')
    assert wrong_types().change(page).body == b'{"count":"many","results":{}}'


@pytest.mark.parametrize("make", [status, html])
def test_unknown_status_raises(make: Callable[[int], Fault]) -> None:
    """A fault with an impossible status is refused when it is made."""
    with pytest.raises(ValueError, match="799 is not a valid HTTPStatus"):
        make(799)


def statuses(cloud: SimulatedCloud, send: Any, *targets: str) -> list[int]:
    return [send(cloud, target).status for target in targets]


def test_fault_occurs_as_often_as_scheduled(cloud: SimulatedCloud, send: Any) -> None:
    """Faults occur in the order of scheduling, each as often as it was scheduled."""
    task_id = cloud.add(never_ends())
    cloud.fault(status(500), times=2)
    cloud.fault(status(503))
    assert statuses(cloud, send, *[task_id] * 4) == [500, 500, 503, 200]
    cloud.verify()


def test_fault_is_restricted_to_a_task_or_endpoint(cloud: SimulatedCloud, send: Any) -> None:
    """A fault may be for one task, for all polls of single tasks, or for the listing."""
    one, other = cloud.add(never_ends()), cloud.add(never_ends())
    cloud.fault(status(403), times=float("inf"), task=other)
    cloud.fault(status(500), on="task")
    cloud.fault(status(503), on="listing")
    assert statuses(cloud, send, one, other, one, other, TASKS, TASKS) == [500, 403, 200, 403, 503, 200]


def test_outage_lasts_its_seconds(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """An outage begins and ends by the clock, at the cloud's speed."""
    cloud = make_cloud(speed=2)
    task_id = cloud.add(finishes(12))
    cloud.outage(4, 6, status(502))
    shown = []
    for _ in range(7):
        shown += statuses(cloud, send, task_id)
        cloud.sleep(1)
    assert shown == [200, 200, 502, 502, 502, 200, 200]
    cloud.verify()


def test_outage_ends_after_a_number_of_requests(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """An outage may end after a number of requests, whenever they are sent."""
    cloud = make_cloud()
    task_id = cloud.add(finishes(4))
    cloud.outage(1.5, 60, status(503), times=2)
    shown = []
    for _ in range(6):
        shown += statuses(cloud, send, task_id)
        cloud.sleep(1)
    assert shown == [200, 200, 503, 503, 200, 200]
    cloud.verify()


def test_unused_fault_is_a_problem(cloud: SimulatedCloud, send: Any) -> None:
    """Verify names the faults that occurred less often than scheduled."""
    cloud.fault(status(500), times=3)
    cloud.fault(reset(), on="listing")
    cloud.outage(10, 5, hang())
    statuses(cloud, send, TASKS.replace("tasks", "nothing"))
    assert cloud.problems()[1:] == [
        "unused fault: status 500: 2 more expected",
        "unused fault: reset: 1 more expected",
        "unused fault: hang: 1 more expected",
    ]


@pytest.mark.parametrize("fault", [half_body(), hang(), html(200), status(500)])
def test_faulty_response_does_not_deliver_the_end(cloud: SimulatedCloud, fault: Fault) -> None:
    """A task whose last phase was replaced by a fault has not been polled until its end."""
    cloud.add(finishes(0), task_id="t")
    cloud.fault(fault)
    cloud.respond("GET", f"{TASKS}/t", {"authorization": "apikey simulated$key"})
    assert cloud.problems() == ["not polled until its end: create_vm t"]


def test_fault_rate_is_random_and_repeatable(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """A share of the requests gets a usual fault, the same ones for the same seed."""
    faults = (status(500), status(503))

    def play(seed: int) -> list[int]:
        cloud = make_cloud(fault_rate=0.25, usual_faults=faults, seed=seed)
        return statuses(cloud, send, *[cloud.add(never_ends())] * 1000)

    shown = play(1)
    assert shown == play(1) != play(2)
    assert {200, 500, 503} == set(shown)
    assert 200 < 1000 - shown.count(HTTPStatus.OK) < 300
