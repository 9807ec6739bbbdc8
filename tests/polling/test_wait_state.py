"""The state of one wait: what it records, and what it answers."""

from __future__ import annotations

from typing import Any

import pytest

from waiter import Task, TaskState
from waiter.config.settings import resolve
from waiter.polling.history_cache import HistoryCache
from waiter.polling.wait_state import WaitState
from waiter.task import TaskSnapshot


@pytest.fixture
def state() -> WaitState:
    options: Any = {"api_key": "1$abcdef", "timeout": 100, "max_outage": 50, "clock": lambda: 1000.0}
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
