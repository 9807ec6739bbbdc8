"""The result as JSON."""

from __future__ import annotations

from command_parts import make_task

from waiter.cli.output.result import TaskResult, as_json_object
from waiter.errors import TaskError, TaskNotFoundError, TaskTimeoutError


def test_json_says_how_each_wait_ended() -> None:
    """``status`` and ``message`` are about the wait, ``error`` is the text of the API alone; times end in Z."""
    late = TaskTimeoutError("b", waited=5, last_task=None, last_error=None)
    failed = make_task("c", "ERROR", error="No valid host", took=9)
    results = [
        TaskResult("a", error=TaskNotFoundError("no such task (a)")),
        TaskResult("b", make_task("b"), late),
        TaskResult("c", failed, TaskError(failed)),
        TaskResult("d", make_task("d", "FINISHED", created={"instances": ["vm"]})),
        TaskResult("e"),
        TaskResult("f", make_task("f", "ERROR")),
    ]
    tasks = as_json_object(results)["tasks"]
    assert [(task["id"], task["status"], task["message"], task["error"]) for task in tasks] == [
        ("a", "not_found", "no such task (a)", None),
        ("b", "timed_out", "not ended after 5 s: never seen (b); the task is still running", None),
        ("c", "failed", "create_vm failed: No valid host (c)", "No valid host"),
        ("d", "finished", None, None),
        ("e", "waiting", None, None),
        ("f", "failed", None, None),
    ]
    assert (tasks[2]["created_on"], tasks[2]["finished_on"]) == ("2026-07-01T12:00:00Z", "2026-07-01T12:00:09Z")
    assert tasks[0] == {
        "id": "a",
        "task_type": None,
        "target": None,
        "state": None,
        "status": "not_found",
        "message": "no such task (a)",
        "error": None,
        "created_on": None,
        "finished_on": None,
        "created_resources": {},
    }
