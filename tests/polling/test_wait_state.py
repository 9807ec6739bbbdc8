"""The state of one wait: what it records, and what it answers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from waiter import ApiUnavailableError, Task, TaskState
from waiter.config.settings import resolve
from waiter.polling.history_cache import HistoryCache
from waiter.polling.wait_state import WaitState
from waiter.task import TaskSnapshot


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


def test_interval_now_needs_the_schedule_and_an_age(state: WaitState, clock: Clock) -> None:
    """Without them it is the interval that the wait has."""
    assert state.interval_now(7.0) == 7.0
    options: Any = {"api_key": "1$abcdef", "wait": lambda _: 3.0, "clock": clock}
    other = WaitState("t-0", resolve(options, {}), HistoryCache())
    other.record_snapshot(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING), 1.0))
    assert other.interval_now(7.0) == 7.0
