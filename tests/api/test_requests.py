"""The paths of requests."""

from __future__ import annotations

import pytest

from waiter.api.requests import ACKNOWLEDGE_PATH, TASK_PATH, TaskFilter, active_path, history_path, listing_path
from waiter.task import Task


def test_the_paths_are_those_of_the_description() -> None:
    """Task IDs are global: no path has a project or a region."""
    assert TASK_PATH.format(task_id="t-1") == "/cloud/v1/tasks/t-1"
    assert ACKNOWLEDGE_PATH.format(task_id="t-1") == "/cloud/v1/tasks/t-1/acknowledge"
    assert history_path("create_vm&x", limit=100) == "/cloud/v1/tasks?task_type=create_vm%26x&order_by=desc&limit=100"
    assert active_path(limit=7, offset=14) == "/cloud/v1/tasks?state=NEW&state=RUNNING&limit=7&offset=14"


def test_listing_has_a_parameter_for_each_value_of_its_filter() -> None:
    """Without a filter it has all tasks, newest first."""
    chosen = TaskFilter(("NEW", "ERROR"), (1, 2), (3,), "create_vm")
    filters = "state=NEW&state=ERROR&project_id=1&project_id=2&region_id=3&task_type=create_vm"
    assert listing_path(chosen, limit=5, offset=10) == f"/cloud/v1/tasks?{filters}&order_by=desc&limit=5&offset=10"
    assert listing_path(TaskFilter(), limit=5, offset=0) == "/cloud/v1/tasks?order_by=desc&limit=5&offset=0"


@pytest.mark.parametrize(
    ("fields", "is_selected"),
    [
        ({}, True),
        ({"project_id": 1, "region_id": 3, "task_type": "create_vm"}, True),
        ({"state": "RUNNING"}, False),
        ({"project_id": 2}, False),
        ({"region_id": 4}, False),
        ({"task_type": "delete_vm"}, False),
    ],
)
def test_task_is_selected_unless_it_contradicts_the_filter(fields: dict[str, object], is_selected: bool) -> None:
    """A field that it does not have contradicts nothing, and an empty filter selects all."""
    task = Task.from_mapping({"id": "t", "state": "NEW", **fields})
    assert TaskFilter(("NEW",), (1,), (3,), "create_vm").selects(task) == is_selected
    assert TaskFilter().selects(task)
