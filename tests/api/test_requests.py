"""The paths of requests."""

from __future__ import annotations

from waiter.api.requests import ACKNOWLEDGE_PATH, TASK_PATH, history_path


def test_the_paths_are_those_of_the_description() -> None:
    """Task IDs are global: no path has a project or a region."""
    assert TASK_PATH.format(task_id="t-1") == "/cloud/v1/tasks/t-1"
    assert ACKNOWLEDGE_PATH.format(task_id="t-1") == "/cloud/v1/tasks/t-1/acknowledge"
    assert history_path("create_vm&x", limit=100) == "/cloud/v1/tasks?task_type=create_vm%26x&order_by=desc&limit=100"
