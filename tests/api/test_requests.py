"""The paths of requests."""

from __future__ import annotations

from waiter.api.requests import acknowledge_path, history_path, task_path


def test_the_paths_are_those_of_the_description() -> None:
    """Task IDs are global: no path has a project or a region."""
    assert task_path("t-1") == "/cloud/v1/tasks/t-1"
    assert acknowledge_path("t-1") == "/cloud/v1/tasks/t-1/acknowledge"
    assert history_path("create_vm&x", limit=100) == "/cloud/v1/tasks?task_type=create_vm%26x&order_by=desc&limit=100"
