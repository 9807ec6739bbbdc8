"""The result as JSON."""

from __future__ import annotations

from typing import Any

from command_parts import make_task

from waiter.cli.output.result import TaskResult, as_json_object
from waiter.errors import TaskNotFoundError, TaskTimeoutError


def test_error_in_json_says_why_the_wait_ended() -> None:
    """A task that was never polled, and one that timed out, have the reason as their error."""
    missing = TaskResult("a", error=TaskNotFoundError("no such task (a)"))
    late = TaskTimeoutError("b", waited=5, last_task=None, last_error=None)
    data = as_json_object([missing, TaskResult("b", make_task("b"), late)])
    nothing: dict[str, Any] = {"created_on": None, "finished_on": None, "created_resources": {}}
    assert data == {
        "tasks": [
            {"id": "a", "task_type": None, "state": None, "error": "no such task (a)", **nothing},
            {
                "id": "b",
                "task_type": "create_vm",
                "state": "RUNNING",
                "error": "not ended after 5 s: never seen (b); the task is still running",
                "created_on": "2026-07-01T12:00:00+00:00",
                "finished_on": None,
                "created_resources": {},
            },
        ],
        "created_resources": {},
    }
