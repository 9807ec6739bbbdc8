"""What each fault makes of an answer, and which requests get it."""

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
from waiter.testing.answer import Answer
from waiter.testing.faults import FAULTS

TASKS = "/cloud/v1/tasks"
TASK = {"id": "t", "state": "RUNNING", "created_resources": None}
DUE = Answer(status=200, body=msgspec.json.encode(TASK), headers={"Content-Type": "application/json"}, request_id="r")


@pytest.mark.parametrize(("fault", "code", "body", "headers"), SAID)
def test_changes_what_is_said(fault: Fault, code: int, body: bytes, headers: dict[str, str]) -> None:
    """These faults come whole: only what they say is wrong."""
    answer = fault.change(DUE)
    assert (code, body, headers, "whole", True) == (
        answer.status,
        answer.body,
        answer.headers,
        answer.delivery,
        answer.arrives,
    )


@pytest.mark.parametrize(("fault", "delivery", "pause", "pace", "sent", "arrives"), BROUGHT)
def test_changes_how_it_comes(  # noqa: PLR0913 - a table
    fault: Fault, delivery: str, pause: float, pace: float, sent: int | None, *, arrives: bool
) -> None:
    """These faults say the right thing in the wrong way."""
    answer = fault.change(DUE)
    assert (DUE.body, delivery, pause, pace, sent, arrives) == (
        answer.body,
        answer.delivery,
        answer.pause,
        answer.pace,
        answer.sent_status,
        answer.arrives,
    )


def test_every_fault_is_in_the_tables() -> None:
    """A new one is tried here, and on a wait."""
    assert {fault.name.partition(" ")[0] for fault in SURVIVED} == set(FAULTS)


def test_has_a_head() -> None:
    """The head of an answer is what stands on the wire, for statuses with and without a name."""
    plain = Answer(status=200, body=b"{}", headers={"Date": "today"})
    assert plain.head == b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\n"
    assert Answer(status=599).head == b"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n"


def test_wrong_types_of_a_list() -> None:
    """A list of wrong types has them in its own fields."""
    page = Answer(status=200, body=b'{"count":0,"results":[]}')
    assert wrong_types().change(page).body == b'{"count":"many","results":{}}'


@pytest.mark.parametrize("make", [status, html])
def test_refuses_a_status_that_does_not_exist(make: Callable[[int], Fault]) -> None:
    """A fault that could not be answered is refused when it is made."""
    with pytest.raises(ValueError, match="799 is not a valid HTTPStatus"):
        make(799)


def statuses(cloud: SimulatedCloud, ask: Any, *targets: str) -> list[int]:
    return [ask(cloud, target).status for target in targets]


def test_comes_as_often_as_scripted(cloud: SimulatedCloud, ask: Any) -> None:
    """Faults come in the order of scripting, each as often as it was scripted."""
    task_id = cloud.add(never_ends())
    cloud.fault(status(500), times=2)
    cloud.fault(status(503))
    assert statuses(cloud, ask, *[task_id] * 4) == [500, 500, 503, 200]
    cloud.verify()


def test_comes_for_one_task_or_endpoint(cloud: SimulatedCloud, ask: Any) -> None:
    """A fault may be for one task, for all single tasks, or for the list."""
    one, other = cloud.add(never_ends()), cloud.add(never_ends())
    cloud.fault(status(403), times=float("inf"), task=other)
    cloud.fault(status(500), on="task")
    cloud.fault(status(503), on="listing")
    assert statuses(cloud, ask, one, other, one, other, TASKS, TASKS) == [500, 403, 200, 403, 503, 200]


def test_comes_for_a_time(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """An outage begins and ends by the clock, at the cloud's speed."""
    cloud = make_cloud(speed=2)
    task_id = cloud.add(finishes(12))
    cloud.outage(4, 6, status(502))
    shown = []
    for _ in range(7):
        shown += statuses(cloud, ask, task_id)
        cloud.sleep(1)
    assert shown == [200, 200, 502, 502, 502, 200, 200]
    cloud.verify()


def test_comes_so_often_from_then_on(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """An outage may be over after so many requests, whenever they come."""
    cloud = make_cloud()
    task_id = cloud.add(finishes(4))
    cloud.outage(1.5, 60, status(503), times=2)
    shown = []
    for _ in range(6):
        shown += statuses(cloud, ask, task_id)
        cloud.sleep(1)
    assert shown == [200, 200, 503, 503, 200, 200]
    cloud.verify()


def test_is_missed_when_it_never_comes(cloud: SimulatedCloud, ask: Any) -> None:
    """Verify names the faults that were scripted and not used up."""
    cloud.fault(status(500), times=3)
    cloud.fault(reset(), on="listing")
    cloud.outage(10, 5, hang())
    statuses(cloud, ask, TASKS.replace("tasks", "nothing"))
    assert cloud.problems()[1:] == [
        "never came: status 500: 2 more to come",
        "never came: reset: 1 more to come",
        "never came: hang: 1 more to come",
    ]


@pytest.mark.parametrize("fault", [half_body(), hang(), html(200), status(500)])
def test_hides_the_end(cloud: SimulatedCloud, fault: Fault) -> None:
    """A task whose end went under in a fault has not been seen to its end."""
    cloud.add(finishes(0), task_id="t")
    cloud.fault(fault)
    cloud.answer("GET", f"{TASKS}/t", {"authorization": "apikey simulated$key"})
    assert cloud.problems() == ["never asked to its end: create_vm t"]


def test_comes_by_chance(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """A share of the requests gets a usual fault, the same for the same seed."""
    faults = (status(500), status(503))

    def play(seed: int) -> list[int]:
        cloud = make_cloud(fault_rate=0.25, usual_faults=faults, seed=seed)
        return statuses(cloud, ask, *[cloud.add(never_ends())] * 1000)

    shown = play(1)
    assert shown == play(1) != play(2)
    assert {200, 500, 503} == set(shown)
    assert 200 < 1000 - shown.count(HTTPStatus.OK) < 300
