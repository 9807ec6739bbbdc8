"""The state of one wait: what it records, and what it answers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from waiter import ApiUnavailableError, Event, Task, TaskState
from waiter.api.resources import Condition, Target
from waiter.config.settings import resolve
from waiter.polling.history_cache import HistoryCache
from waiter.polling.reporter import Reporter
from waiter.polling.resource_state import ResourceWaitState
from waiter.polling.wait_state import WaitState
from waiter.ratelimit.reservation import Delay, RateLimitTimeoutError
from waiter.task import TaskSnapshot

SECOND = timedelta(seconds=1)


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> WaitState:
    options: Any = {"api_key": "1$abcdef", "timeout": 100, "max_outage": 50, "stall_timeout": 40, "clock": clock}
    return WaitState("t-0", resolve(options, {}), HistoryCache())


def test_equal_task_is_kept_once(state: WaitState) -> None:
    """Tenacity holds the result of a poll until the next, which would be half a kilobyte more for each of thousands."""
    task = Task(id="t-0", state=TaskState.RUNNING)
    state.record_snapshot(TaskSnapshot(task, 1.0))
    again = state.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING), 3.0))
    assert (again.task is task, again.age) == (True, 3.0)


def test_queue_limits_are_those_of_the_wait(state: WaitState) -> None:
    """The limiter is told when the final poll is due and how long an outage may last."""
    assert state.queue_limits == ("t-0", 1100.0, float("inf"), 50.0)


def test_listing_replaces_no_poll_after_one_that_failed(state: WaitState, clock: Clock) -> None:
    """Before, it does until the stall or the deadline, whichever is first."""
    state.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.NEW), 1.0))
    assert state.listing_valid_until == 1040.0
    clock.now = 1080.0
    state.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING), 81.0))
    assert state.listing_valid_until == 1100.0
    state.record_failure(ApiUnavailableError("x"))
    assert state.listing_valid_until == -math.inf


@pytest.mark.parametrize(("now", "task_type"), [(1050.0, "create_thing"), (1100.0, None)])
def test_history_is_not_requested_at_the_deadline(state: WaitState, clock: Clock, now: float, task_type: str | None) -> None:
    """No poll follows for which it could be used."""
    clock.now = now
    state.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING, task_type="create_thing"), 50.0))
    assert state.claim_history() == task_type


def test_time_left_ends_at_the_deadline(state: WaitState, clock: Clock) -> None:
    """It is negative after that."""
    lefts = []
    for clock.now in (1000.0, 1099.0, 1101.0):
        lefts.append(state.time_left)
    assert lefts == [100.0, 1.0, -1.0]


def test_block_of_a_poll_that_was_not_sent_counts_towards_the_outage(state: WaitState, clock: Clock) -> None:
    """The poll was due before it; the time in the queue of the limiter does not count."""
    clock.now = 1010.0
    state.record_failure(RateLimitTimeoutError("not sent", Delay(queued=4.0, blocked=3.0)))
    assert state.queue_limits.failing_since == 1007.0


def test_time_in_the_queue_of_the_limiter_is_no_outage(state: WaitState) -> None:
    """After a poll that failed, the outage begins later by as long as the next poll was queued."""
    state.record_delay(Delay(queued=4.0))
    state.record_failure(ApiUnavailableError("x"))
    begins = [state.queue_limits.failing_since]
    state.record_delay(Delay(queued=4.0))
    begins.append(state.queue_limits.failing_since)
    assert begins == [1000.0, 1004.0]


def test_interval_of_a_task_counts_from_its_poll(clock: Clock) -> None:
    """A listing of past tasks that follows the poll does not delay the next one."""
    call: Any = None
    options: Any = {"api_key": "1$abcdef", "wait": lambda _: 5.0, "clock": clock}
    state = WaitState("t-0", resolve(options, {}), HistoryCache())
    state.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING), 1.0))
    clock.now = 1002.0
    assert state.next_delay(call) == 3.0


def test_failure_without_any_limit_has_no_end(clock: Clock) -> None:
    """Infinity is no number in JSON."""
    events: list[Event] = []
    options: Any = {"api_key": "1$abcdef", "timeout": None, "max_outage": None, "clock": clock, "on_event": events.append}
    state = WaitState("t-0", resolve(options, {}), HistoryCache())
    state.record_failure(ApiUnavailableError("x"))
    state.report_failure(0.5)
    assert [(event.name, event.fields["retry_in"], event.fields["gives_up_in"]) for event in events] == [
        ("poll.failed", 0.5, None)
    ]


CREATED = datetime(2026, 7, 1, tzinfo=UTC)


def vm(state: TaskState = TaskState.RUNNING, changed: int | None = None, task_id: str = "t-0") -> TaskSnapshot:
    """Return a task of 20 s that was changed at so many seconds."""
    updated = None if changed is None else CREATED + timedelta(seconds=changed)
    ended = CREATED + timedelta(seconds=20) if state in {TaskState.FINISHED, TaskState.ERROR} else None
    task = Task(id=task_id, state=state, task_type="create_vm", created_on=CREATED, updated_on=updated, finished_on=ended)
    return TaskSnapshot(task, 20.0)


OTHER = vm(TaskState.FINISHED, task_id="t-9")


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        ([OTHER, vm(changed=5)], vm(changed=5)),
        ([vm(changed=9), OTHER], vm(changed=9)),
        ([vm(changed=4)], None),
        ([vm(TaskState.NEW, changed=5)], None),
        ([vm(TaskState.NEW)], None),
        ([vm(TaskState.FINISHED, changed=9)], None),
        ([vm(TaskState.ERROR, changed=9)], None),
        ([vm(changed=9), vm(TaskState.FINISHED, changed=9)], None),
        ([OTHER, vm(changed=9, task_id="t-8")], None),
        ([], None),
    ],
    ids=["equal", "newer", "older", "same second", "no time", "finished", "error", "twice", "others", "empty"],
)
def test_listing_replaces_a_poll_if_it_shows_the_task_as_active(
    state: WaitState, past: list[TaskSnapshot], shown: TaskSnapshot | None
) -> None:
    """One that is older than the last poll, or shows an end, leads to a poll."""
    state.record_snapshot(vm(changed=5))
    assert state.record_history(past) == shown


@pytest.mark.parametrize("limit", [1040.0, 1100.0], ids=["stall", "deadline"])
def test_listing_does_not_replace_the_final_poll(state: WaitState, clock: Clock, limit: float) -> None:
    """A poll has the last word, at the deadline and at the end of ``stall_timeout``, and no listing delays it."""
    state.record_snapshot(vm(changed=1))
    if limit == 1100.0:
        clock.now = 1070.0
        state.record_snapshot(vm(changed=2))
    clock.now = limit - 0.25
    assert state.history_timeout == 0.25
    assert state.record_history([vm(changed=2)]) is not None
    clock.now = limit
    assert state.claim_history() is None
    assert state.record_history([vm(changed=2)]) is None


def test_interval_now_needs_the_schedule_and_an_age(state: WaitState, clock: Clock) -> None:
    """Without them it is the interval that the wait has."""
    assert state.interval_now(7.0) == 7.0
    options: Any = {"api_key": "1$abcdef", "wait": lambda _: 3.0, "clock": clock}
    other = WaitState("t-0", resolve(options, {}), HistoryCache())
    other.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING), 1.0))
    assert other.interval_now(7.0) == 7.0


@pytest.mark.parametrize(("age", "since_end"), [(25.0, 15.0), (10.0, 0.0), (9.0, 0.0), (None, 0.0)])
def test_age_of_a_resource_counts_from_the_end_of_its_task(state: WaitState, age: float | None, since_end: float) -> None:
    """By the server's clock, and never from the future; if it is not known, the resource is new."""
    created = datetime(2026, 7, 1, tzinfo=UTC)
    fields = {"project_id": 1, "region_id": 1, "created_resources": {"images": ["m-1"]}, "created_on": created.isoformat()}
    task = Task.from_mapping({"id": "t-0", "state": "FINISHED", "finished_on": (created + 10 * SECOND).isoformat(), **fields})
    state.record_snapshot(TaskSnapshot(task, age))
    resources = state.resource_state()
    assert resources is not None
    assert resources.record_snapshot({"id": "m-1", "status": "saving"}).age == since_end


def resource_state(clock: Clock, **options: Any) -> ResourceWaitState:
    """Return the state of a wait for a resource of no task."""
    target = Target("/cloud/v1/x", Condition(lambda resource: resource["status"], ["ACTIVE"]), "/cloud/v1/x")
    settings = resolve({"api_key": "1$abcdef", "clock": clock, **options}, {})  # type: ignore[typeddict-item]
    return ResourceWaitState([target], settings, Reporter("/cloud/v1/x", None, log=False))


def test_resource_of_no_task_is_new(clock: Clock) -> None:
    """Its age counts from the begin of its wait."""
    state, ages = resource_state(clock), []
    for clock.now in (1000.0, 1003.0):
        ages.append(state.record_snapshot({"status": "BUILD"}).age)
    assert ages == [0.0, 3.0]


def test_interval_of_a_resource_counts_from_its_poll(clock: Clock) -> None:
    """The time that passed since then does not delay the next poll."""
    call: Any = None
    state = resource_state(clock, wait=lambda _: 5.0)
    state.record_snapshot({"status": "BUILD"})
    clock.now = 1002.0
    assert state.next_delay(call) == 3.0
