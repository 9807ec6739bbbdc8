"""What is known of the awaited tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from command_parts import GOOD, PAST, event_of, make_task
from command_progress import Clock

from waiter import CreatedResources, History, ResourceError, Schedule, TaskTimeoutError
from waiter.cli.progress import model
from waiter.cli.progress.model import ListingRow, Problem, TaskRow
from waiter.errors import NotReady
from waiter.events import Event
from waiter.outcome import Outcome


def record(row: TaskRow, clock: Clock, events: Sequence[Event | float]) -> list[tuple[float | None, float]]:
    """Record events, between which seconds pass, and return the age and the time left after each of them."""
    seen: list[tuple[float | None, float]] = []
    for event in events:
        if isinstance(event, float):
            clock.now += event
        else:
            row.record_event(event, clock())
        left = row.time_left(clock())
        seen.append((row.age(clock()), left.median if left else 0.0))
    return seen


def test_age_and_time_left_never_run_backwards_in_an_outage(clock: Clock) -> None:
    """A failed poll reports the age at the last answer, which is not the age now."""
    running = make_task()
    failed = event_of(running, name="poll.failed", attempt=1, error="503", age=2.0)
    recovered = event_of(running, name="poll.recovered", outage=9.0, age=11.0)
    row = TaskRow(GOOD, clock())
    seen = record(row, clock, [event_of(running, age=2.0, history=PAST), 3.0, failed, 3.0, failed, 3.0, recovered, 2.0])
    assert seen == [(2, 18), (5, 15), (5, 15), (8, 12), (8, 12), (11, 9), (11, 9), (13, 7)]


def test_age_never_decreases_when_the_clock_estimate_improves(clock: Clock) -> None:
    """The age of an answer may be a second less than expected, because the clock of the server is estimated."""
    row = TaskRow(GOOD, clock())
    assert [
        age for age, _ in record(row, clock, [event_of(make_task(), age=5.0), 2.0, event_of(make_task(), age=6.0), 1.0])
    ] == [
        5,
        7,
        7,
        8,
    ]


@pytest.mark.parametrize(
    ("problem", "text", "short"),
    [
        (Problem("the API answers 503: Maintenance", 503, 1250.0), "the API answers 503: Maintenance", "503"),
        (Problem("connection refused", None, 1250.0), "connection refused", "connection refused"),
    ],
)
def test_problem_says_when_the_wait_gives_up(clock: Clock, problem: Problem, text: str, short: str) -> None:
    """The short form has the HTTP status in place of the message."""
    assert problem.describe(clock()) == f"{text}, retrying, gives up in 4m10s"
    assert problem.describe(clock(), short=True) == f"{short}, retrying, gives up in 4m10s"
    assert Problem("no").describe(clock()) == "no, retrying"


@pytest.fixture
def _real_schedule(monkeypatch: pytest.MonkeyPatch, _known_history: None) -> None:
    monkeypatch.setattr(model, "Schedule", Schedule)


@pytest.mark.usefixtures("_real_schedule")
def test_usual_duration_is_shown_until_there_is_an_estimate(clock: Clock) -> None:
    """In the first seconds the range that the documentation gives stands for the time left; beyond it nothing does."""
    row = TaskRow(GOOD, clock())
    task = make_task(state="RUNNING")
    row.record_event(event_of(task, age=5.0, history=History(usual=(15.0, 30.0))), clock())
    assert row.times(clock()) == "5s old, usually 15s to 30s"
    assert row.times(clock() + 40) == "45s old"


@pytest.mark.usefixtures("_real_schedule")
def test_no_90_percent_is_shown_for_few_durations(clock: Clock) -> None:
    """With fewer than five past durations it would be a guess."""
    row = TaskRow(GOOD, clock())
    row.record_event(event_of(make_task(state="RUNNING"), age=5.0, history=History([20.0, 20.0])), clock())
    assert re.fullmatch(r"5s old, about 1\ds left", row.times(clock()))


@pytest.mark.usefixtures("_real_schedule")
def test_durations_replace_the_usual_range(clock: Clock) -> None:
    """When the history has become known, the time left is shown; a later event without one changes nothing."""
    row, task = TaskRow(GOOD, clock()), make_task(state="RUNNING")
    row.record_event(event_of(task, age=5.0, history=History(usual=(15.0, 30.0))), clock())
    row.record_event(event_of(task, age=5.0, history=History([20.0] * 9, usual=(15.0, 30.0))), clock())
    row.record_event(event_of(task, age=5.0, history=History(usual=(15.0, 30.0))), clock())
    assert re.fullmatch(r"5s old, about 1\ds left \(90%: \d\ds\)", row.times(clock()))


@pytest.mark.usefixtures("_real_schedule")
def test_nothing_is_estimated_for_a_task_that_has_ended(clock: Clock) -> None:
    """Its line says how long it took."""
    row = TaskRow(GOOD, clock())
    row.record_event(event_of(make_task(state="FINISHED", took=20), history=History(usual=(15.0, 30.0))), clock())
    assert row.times(clock()) == "took 20s"


def resource_event(name: str, resource_id: str, **fields: Any) -> Event:
    task = make_task(GOOD, "FINISHED", took=19, created_resources=CreatedResources(images=("m-1", "m-2")))
    return event_of(task, name=f"resource.{name}", kind="images", resource_id=resource_id, **fields)


def test_state_names_a_resource_that_is_not_ready(clock: Clock) -> None:
    """The others are counted; a row is done once all are ready."""
    row = TaskRow(GOOD, clock())
    shown = []
    for event in (
        resource_event("state_changed", "m-1", new="saving"),
        resource_event("state_changed", "m-2", new=None),
        resource_event("ready", "m-1"),
        resource_event("ready", "m-2"),
        resource_event("ready", "m-2"),
    ):
        row.record_event(event, clock())
        shown.append((row.state, row.is_getting_ready, row.has_finished))
    assert shown == [
        ("FINISHED, images saving", True, False),
        ("FINISHED, images saving, 1 more", True, False),
        ("FINISHED, images without status", True, False),
        ("FINISHED", False, True),
        ("FINISHED", False, True),
    ]


def test_row_of_a_failed_resource_has_failed(clock: Clock) -> None:
    """The task is FINISHED, but the wait for it has failed."""
    row = TaskRow(GOOD, clock())
    event = resource_event("state_changed", "m-1", new="killed")
    row.record_event(event, clock())
    error = ResourceError("killed", task=event.task, kind="images", resource_id="m-1", resource={})
    row.record_outcome(Outcome(GOOD, error=error), clock())
    assert (row.has_failed, row.has_finished, row.is_getting_ready) == (True, False, False)
    assert row.state == "FINISHED, images killed"


def test_row_of_a_resource_that_timed_out_has_not_failed(clock: Clock) -> None:
    """The wait can be resumed."""
    row = TaskRow(GOOD, clock())
    task = resource_event("state_changed", "m-1", new="saving").task
    error = TaskTimeoutError(GOOD, waited=9, last_task=task, last_error=None, not_ready=[NotReady("images", "m-1", "saving")])
    row.record_outcome(Outcome(GOOD, error=error), clock())
    assert (row.has_failed, row.has_finished) == (False, False)


def test_list_of_tasks_has_a_name() -> None:
    """It is awaited before any task is."""
    row = ListingRow("/cloud/v1/tasks", 0.0)
    assert (row.name, row.state) == ("the list of tasks", "not known yet")
