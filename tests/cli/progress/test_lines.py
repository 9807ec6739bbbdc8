"""Progress as lines and heartbeats."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from command_parts import BROKEN, ENDLESS, GOOD, PAST, event_of, make_task
from command_progress import Clock, several_tasks

from waiter import CreatedResources
from waiter.cli.progress.base import Progress
from waiter.cli.progress.lines import LineProgress, LogProgress, closing_summary
from waiter.cli.progress.model import ProgressModel
from waiter.errors import TaskNotFoundError, TaskTimeoutError
from waiter.events import Event
from waiter.outcome import Outcome


def lines_for(
    model: ProgressModel, progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str], *events: Event
) -> str:
    for event in events:
        model.rows[event.task_id].record_event(event, clock())
        progress.show_event(event)
    return capsys.readouterr().err


def test_each_change_is_a_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Changes of state, the start and the end of an outage, and the time left when it becomes known."""
    model = ProgressModel([GOOD], clock())
    lines = LineProgress(model, clock)
    new = make_task(state="NEW", task_type=None)
    assert lines_for(model, lines, clock, capsys, event_of(new, age=None)) == f"waiter: {GOOD} is NEW\n"
    running = make_task(detailed_state="NETWORK")
    assert (
        lines_for(model, lines, clock, capsys, event_of(running)) == f"waiter: create_vm {GOOD} is RUNNING/NETWORK (12s old)\n"
    )
    fields: dict[str, Any] = {"name": "poll.failed", "error": "the API returned 503", "status": 503, "gives_up_in": 250.0}
    failed = [event_of(running, attempt=n, **fields) for n in (1, 2)]
    assert lines_for(model, lines, clock, capsys, *failed) == (
        f"waiter: create_vm {GOOD}: the API returned 503, retrying, gives up in 4m10s\n"
    )
    recovered = event_of(running, name="poll.recovered", outage=4.2)
    assert lines_for(model, lines, clock, capsys, recovered) == f"waiter: create_vm {GOOD}: the API answers again after 4s\n"
    learned = event_of(running, name="history.learned", history=PAST)
    assert lines_for(model, lines, clock, capsys, learned) == (
        f"waiter: create_vm {GOOD} is 12s old, about 8s left (90%: 18s)\n"
    )
    unlearned = event_of(make_task(task_type="other"), name="history.learned")
    assert lines_for(model, lines, clock, capsys, unlearned) == ""
    done = event_of(make_task(state="FINISHED", took=19))
    assert lines_for(model, lines, clock, capsys, done) == f"waiter: create_vm {GOOD} is FINISHED (took 19s)\n"


def test_resources_are_lines_unless_they_are_many(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Each change is one; of many, the heartbeat counts them. Kinds that count as ready are named."""
    model = ProgressModel([GOOD], clock())
    lines = LineProgress(model, clock)
    for count, expected in ((5, f"waiter: create_vm {GOOD}: volumes v-0 is creating\n"), (6, "")):
        created = CreatedResources(volumes=tuple(f"v-{number}" for number in range(count)))
        task = make_task(state="FINISHED", took=19, created_resources=created)
        changed = event_of(task, name="resource.state_changed", kind="volumes", resource_id="v-0", old=None, new="creating")
        assert lines_for(model, lines, clock, capsys, changed) == expected
    unchecked = event_of(task, name="resource.unchecked", kind="l7rules", resource_ids=["l-1"])
    assert lines_for(model, lines, clock, capsys, unchecked) == (
        f"waiter: create_vm {GOOD}: no endpoint of l7rules is known, so they count as ready\n"
    )


def test_heartbeat_after_50_seconds_without_a_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what is awaited."""
    model = ProgressModel([GOOD], clock())
    lines = LineProgress(model, clock)
    lines_for(model, lines, clock, capsys, event_of(make_task(), history=PAST))
    assert lines.refresh() == 50
    clock.now += 30
    assert (lines.refresh(), capsys.readouterr().err) == (20, "")
    clock.now += 20
    assert lines.refresh() == 50
    assert capsys.readouterr().err == (
        f"waiter: still waiting after 50s: create_vm {GOOD} is RUNNING (1m02s old, about 1s left (90%: 2s))\n"
    )


def test_no_heartbeat_after_the_last_outcome(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The result follows."""
    model = ProgressModel([GOOD], clock())
    lines = LineProgress(model, clock)
    model.rows[GOOD].record_outcome(Outcome(GOOD, task=make_task(state="FINISHED")), clock())
    clock.now += 50
    assert (lines.refresh(), capsys.readouterr().err) == (50, "")


def test_heartbeat_names_the_first_five_tasks(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """It names only tasks that are still awaited, with their problems."""
    model = ProgressModel(["t0", "t1", "t2", "t3", "t4", "t5", "t6"], clock())
    lines = LineProgress(model, clock)
    failed = event_of(make_task("t1"), name="poll.failed", attempt=1, error="no answer", gives_up_in=None)
    lines_for(model, lines, clock, capsys, event_of(make_task("t1")), failed)
    model.rows["t0"].record_outcome(Outcome("t0", task=make_task("t0", "FINISHED")), clock())
    clock.now += 50
    lines.refresh()
    waiting = "; ".join(f"t{n} is not polled yet" for n in (2, 3, 4, 5))
    assert capsys.readouterr().err == (
        "waiter: still waiting after 50s for 6 of 7 tasks: create_vm t1 is RUNNING (1m02s old), but no answer, retrying; "
        f"{waiting}; and 1 more\n"
    )


def test_log_progress_writes_only_heartbeats(clock: Clock) -> None:
    """The log has everything else."""
    model = ProgressModel([GOOD], clock())
    with structlog.testing.capture_logs() as log:
        beats = LogProgress(model, clock)
        beats.show_event(event_of(make_task()))
        clock.now += 50
        beats.refresh()
    structlog.reset_defaults()
    assert log == [{"event": "wait.heartbeat", "tasks": {GOOD: "not polled yet"}, "waited": 50.0, "log_level": "info"}]


def test_heartbeat_in_the_log_has_the_time_left(clock: Clock) -> None:
    """It is there for each task of a type with a history."""
    model = several_tasks(clock)
    with structlog.testing.capture_logs() as log:
        beats = LogProgress(model, clock)
        clock.now += 50
        beats.refresh()
    structlog.reset_defaults()
    left = model.rows[ENDLESS].time_left(clock())
    assert left is not None
    assert left.p90 is not None
    assert log[0]["time_left"] == {ENDLESS: round(left.median, 1)}
    assert log[0]["time_left_p90"] == {ENDLESS: round(left.p90, 1)}


def test_events_below_the_log_level_do_not_postpone_heartbeats(clock: Clock) -> None:
    """An event that is not written does not count as output."""
    model = ProgressModel([GOOD], clock())
    beats = LogProgress(model, clock)
    clock.now += 40
    beats.show_event(event_of(make_task()))
    assert beats.refresh() == 10


def test_closing_summary_counts_the_ends_and_names_the_failures(clock: Clock) -> None:
    """Failures come last and are named, the first five of them; colours are optional."""
    model = several_tasks(clock)
    model.rows[ENDLESS].record_outcome(
        Outcome(ENDLESS, error=TaskTimeoutError(ENDLESS, waited=1, last_task=None, last_error=None)), clock()
    )
    assert closing_summary(model, color=False) == (f"1 finished, 1 still running, 1 timed out, 1 failed: create_vm {BROKEN}")
    colored = closing_summary(model, color=True)
    assert colored.startswith("\x1b[32m1 finished\x1b[0m, \x1b[36m1 still running\x1b[0m, \x1b[31m1 timed out\x1b[0m, ")
    many = ProgressModel([f"t{n}" for n in range(7)], clock())
    for task_id, row in many.rows.items():
        row.record_outcome(Outcome(task_id, error=TaskNotFoundError("no")), clock())
    assert closing_summary(many, color=False) == "7 not found: t0, t1, t2, t3, t4, and 2 more"
    done = ProgressModel(["a"], clock())
    done.rows["a"].record_outcome(Outcome("a", task=make_task("a", "FINISHED")), clock())
    assert closing_summary(done, color=False) == "1 finished"
