"""What is learned of listed tasks; the commands that list them have further tests."""

from __future__ import annotations

from waiter import Waiter
from waiter.api.requests import TaskFilter
from waiter.cli.task_list import MAX_HISTORIES, described_filter, fetch_histories, make_model, results_of
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


def test_filter_is_described() -> None:
    """A filter that selects all needs no words."""
    assert described_filter(TaskFilter()) == ""
    assert (
        described_filter(TaskFilter(("NEW",), (1, 2), (3,), "create_vm"))
        == " (NEW, project 1, project 2, region 3, type create_vm)"
    )
