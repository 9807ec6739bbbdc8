"""The paths of the requests that waiter makes.

Source: the public description of ``GET /cloud/v1/tasks/{task_id}`` and ``GET /cloud/v1/tasks``, and the official SDK.
"""

from __future__ import annotations

from urllib.parse import urlencode

from waiter.task import TaskState

TASKS_PATH = "/cloud/v1/tasks"


def task_path(task_id: str) -> str:
    """Return the path of one task."""
    return f"{TASKS_PATH}/{task_id}"


def acknowledge_path(task_id: str) -> str:
    """Return the path to which a POST request acknowledges one task."""
    return f"{TASKS_PATH}/{task_id}/acknowledge"


def history_path(task_type: str, *, limit: int) -> str:
    """Return the path of a listing of the newest tasks of a type; ``limit`` is 1 to 1000."""
    return f"{TASKS_PATH}?{urlencode({'task_type': task_type, 'order_by': 'desc', 'limit': limit})}"


def active_path(*, limit: int, offset: int) -> str:
    """Return the path of one page of the tasks that have not ended, newest first; ``limit`` is 1 to 1000."""
    states = [("state", state.value) for state in (TaskState.NEW, TaskState.RUNNING)]
    return f"{TASKS_PATH}?{urlencode([*states, ('limit', limit), ('offset', offset)])}"
