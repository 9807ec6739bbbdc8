"""``waiter history``, as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command_parts import Run

from waiter import Task, TaskState
from waiter.cli.commands import history
from waiter.task import TaskSnapshot


def history_text(durations: Sequence[float], *, ended: int, running: int = 0, errors: int = 0, columns: int = 80) -> str:
    """Return the text for this many tasks, of which some have a duration."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    times: list[dict[str, Any]] = [{"created_on": at, "finished_on": at + timedelta(seconds=one)} for one in durations]
    tasks = [
        *(Task(id="a", state=TaskState.FINISHED, **took) for took in times[errors:]),
        *(Task(id="b", state=TaskState.ERROR, **took) for took in times[:errors]),
        *(Task(id="c", state=TaskState.ERROR) for _ in range(ended - len(times))),
        *(Task(id="d", state=TaskState.RUNNING) for _ in range(running)),
    ]
    return history.as_text(history.summarize("t", [TaskSnapshot(task, 1.0) for task in tasks]), "#", columns)


def test_history_as_json(run: Run) -> None:
    """Times are in seconds, durations newest first."""
    ran = run("history", "create_k8s_cluster_v2")
    assert json.loads(ran.out) == {
        "task_type": "create_k8s_cluster_v2",
        "count": 5,
        "ended": 5,
        "running": 0,
        "errors": 1,
        "p10": 340.0,
        "median": 500.0,
        "p90": 660.0,
        "durations": [700.0, 600.0, 500.0, 400.0, 300.0],
    }


def test_history_as_text_has_a_histogram(run: Run) -> None:
    """The text has the same figures, and a plot."""
    ran = run("history", "create_k8s_cluster_v2", "-o", "text")
    head, _, plot = ran.out.partition("\n\n")
    assert head == (
        "create_k8s_cluster_v2: the last 5 that ended\n  median 8m20s; 10% to 90%: 5m40s to 11m00s; 20% ended in ERROR"
    )
    assert len(plot.splitlines()) == history.MAX_BINS
    assert plot.splitlines()[0] == f"   5m00s to 5m34s   {'█' * 40}  1"
    assert sum(int(line.split()[-1]) for line in plot.splitlines()) == 5


def test_type_without_history_is_no_error(run: Run) -> None:
    """The text says so, with control characters escaped."""
    assert run("history", "no\x1bsuch", "-o", "text") == (0, "no\\x1bsuch: the API has none that ended\n", "")


def test_running_tasks_are_counted_separately() -> None:
    """Tasks that have not ended have no duration."""
    head = history_text([5.0, 5.0], ended=2, running=3).splitlines()[0]
    assert head == "t: the last 2 that ended; 3 still running"


def test_tasks_without_times_count_towards_the_share_of_errors() -> None:
    """A task may have ended without a duration."""
    assert history_text([5.0], ended=4).splitlines()[:2] == [
        "t: the last 4 that ended; 3 without a duration",
        "  median 5s; 10% to 90%: 5s to 5s; 75% ended in ERROR",
    ]
    assert history_text([], ended=3) == "t: the last 3 that ended; 3 without a duration\n  100% ended in ERROR\n"


@pytest.mark.parametrize(
    ("durations", "classes"),
    [
        ([60.0] * 9, ["1m00s"]),
        ([0.1] * 9, ["0s"]),
        ([7200.0, 7201.0], ["2h00m"]),
        ([3.0, 4.0], ["3s to 4s", "4s to 5s"]),
        ([3.0, 3.2, 9.0], ["3s to 4s", "4s to 5s", "5s to 6s", "6s to 7s", "7s to 8s", "8s to 10s"]),
    ],
    ids=str,
)
def test_bins_of_the_histogram_have_distinct_labels(durations: list[float], classes: list[str]) -> None:
    """There are fewer bins if labels would repeat."""
    rows = history.plot(durations, "#", 80).splitlines()
    assert [" ".join(row.split("#")[0].split()[:3]).removesuffix(" 0") for row in rows] == classes
    assert sum(int(row.split()[-1]) for row in rows) == len(durations)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_histogram_fits_the_terminal(columns: int) -> None:
    """No line wraps and the columns are aligned, whatever the durations."""
    rows = history.plot([5.0, 60.0, 600.0, *[7200.0] * 120, 3_456_000.0], "#", columns).splitlines()
    assert max(map(len, rows)) < columns
    assert len({row.rindex("  ") for row in rows}) == 1
    assert max(row.count("#") for row in rows) >= 8
