"""What is learned of listed tasks; the commands that list them have further tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tenacity
from command_progress import Clock

from waiter import ApiError, ApiUnavailableError, AuthenticationError, Waiter
from waiter.api.requests import TaskFilter
from waiter.cli import task_list
from waiter.cli.progress.model import Problem
from waiter.cli.task_list import MAX_HISTORIES, described_filter, fetch_histories, list_through_outage, make_model, results_of
from waiter.schedule.history import History
from waiter.testing import SimulatedCloud, ended, never_ends, status


def test_histories_of_the_most_frequent_types_are_requested() -> None:
    """Each costs a request; ended tasks and tasks without a type need none."""
    cloud = SimulatedCloud.virtual(strict=False)
    for number in range(MAX_HISTORIES + 2):
        for _ in range(1 + (number > 0)):
            cloud.add(never_ends(task_type=f"type_{number}"))
    cloud.add(never_ends(fields={"task_type": None}))
    cloud.add(ended(task_type="create_bm"))
    with Waiter(**cloud.options) as waiter:
        model = make_model(snapshots := waiter.list_snapshots(TaskFilter()))
        cloud.requests.clear()
        fetch_histories(waiter, snapshots, ask=True)
    asked = {request.path.partition("task_type=")[2].partition("&")[0] for request in cloud.requests}
    assert (len(cloud.requests), len(asked), "type_0" in asked, "create_bm" in asked) == (
        MAX_HISTORIES,
        MAX_HISTORIES,
        False,
        False,
    )
    assert len(results_of(model)) == len(model.rows)


def test_usual_duration_stands_for_a_history_that_cannot_be_had() -> None:
    """A type without either is missing."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.add(never_ends(task_type="create_bm"))
    cloud.add(never_ends(task_type="resize_vm"))
    with Waiter(**cloud.options) as waiter:
        snapshots = waiter.list_snapshots(TaskFilter())
        cloud.fault(status(500), times=2)
        assert fetch_histories(waiter, snapshots, ask=True) == {"create_bm": History(usual=(240.0, 900.0))}
        assert fetch_histories(waiter, snapshots, ask=True)["create_bm"].running != ()


def test_last_request_is_made_when_the_outage_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After is obeyed within that time, and an error that no repetition mends is raised immediately."""
    clock = Clock()

    def advance(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(task_list, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=advance))
    requested: list[float] = []
    reported: list[Problem] = []

    def fail() -> None:
        requested.append(clock.now - 1000)
        _raise(ApiUnavailableError("the API returned 429", status=429, retry_after=25.0))

    with pytest.raises(ApiUnavailableError, match=r"^no usable answer for 60 s: the API returned 429$") as caught:
        list_through_outage(fail, 60.0, reported.append)
    assert (requested, caught.value.status) == ([0.0, 25.0, 50.0, 60.0], 429)
    assert reported == [Problem("the API returned 429", 429, 1060.0)] * 3
    with pytest.raises(AuthenticationError):
        list_through_outage(lambda: _raise(AuthenticationError("no")), 60.0, reported.append)
    assert len(reported) == 3


def _raise(error: ApiError) -> None:
    raise error


def test_filter_is_described() -> None:
    """A filter that selects all needs no words."""
    assert described_filter(TaskFilter()) == ""
    assert (
        described_filter(TaskFilter(("NEW",), (1, 2), (3,), "create_vm"))
        == " (NEW, project 1, project 2, region 3, type create_vm)"
    )
