"""The paths of the requests that waiter makes.

Source: the public description of ``GET /cloud/v1/tasks/{task_id}`` and ``GET /cloud/v1/tasks``, and the official SDK.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from waiter.task import Task, TaskState

TASKS_PATH = "/cloud/v1/tasks"
TASK_PATH = "/cloud/v1/tasks/{task_id}"
ACKNOWLEDGE_PATH = "/cloud/v1/tasks/{task_id}/acknowledge"
ACTIVE_STATES = (TaskState.NEW, TaskState.RUNNING)


class TaskFilter(msgspec.Struct, frozen=True):
    """Which tasks a listing has; an empty tuple and None select all."""

    states: tuple[str, ...] = ()
    project_ids: tuple[int, ...] = ()
    region_ids: tuple[int, ...] = ()
    task_type: str | None = None

    def selects(self, task: Task) -> bool:
        """Return whether a task matches; what the task does not say matches everything."""
        return (
            _is_among(task.state, self.states)
            and _is_among(task.project_id, self.project_ids)
            and _is_among(task.region_id, self.region_ids)
            and (self.task_type is None or task.task_type in {None, self.task_type})
        )


def _is_among(value: object, selected: tuple[object, ...]) -> bool:
    return not selected or value is None or value in selected


def history_path(task_type: str, *, limit: int) -> str:
    """Return the path of a listing of the newest tasks of a type; ``limit`` is 1 to 1000."""
    return f"{TASKS_PATH}?{urlencode({'task_type': task_type, 'order_by': 'desc', 'limit': limit})}"


def active_path(*, limit: int, offset: int) -> str:
    """Return the path of one page of the tasks that have not ended, newest first; ``limit`` is 1 to 1000."""
    states = [("state", state.value) for state in ACTIVE_STATES]
    return f"{TASKS_PATH}?{urlencode([*states, ('limit', limit), ('offset', offset)])}"


def listing_path(chosen: TaskFilter, *, limit: int, offset: int) -> str:
    """Return the path of one page of the tasks that a filter selects, newest first; ``limit`` is 1 to 1000."""
    parameters: list[tuple[str, object]] = [
        *(("state", state) for state in chosen.states),
        *(("project_id", project_id) for project_id in chosen.project_ids),
        *(("region_id", region_id) for region_id in chosen.region_ids),
    ]
    if chosen.task_type is not None:
        parameters.append(("task_type", chosen.task_type))
    return f"{TASKS_PATH}?{urlencode([*parameters, ('order_by', 'desc'), ('limit', limit), ('offset', offset)])}"
