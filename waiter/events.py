"""The events of a wait, as the log and ``on_event`` are given them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from waiter.schedule.history import History
from waiter.task import Task

LEVELS: Final[Mapping[str, str]] = {
    "wait.started": "debug",
    "wait.ended": "debug",
    "history.learned": "debug",
    "history.unavailable": "debug",
    "poll.failed": "warning",
    "resource.failed": "error",
    "resource.timed_out": "warning",
    "task.failed": "error",
    "task.stalled": "warning",
    "task.state_unknown": "warning",
    "task.timed_out": "warning",
}
"""The log level of each event; the level of all others is info."""


class Event(msgspec.Struct, frozen=True):
    """One event of a wait.

    ``name`` is a constant dotted name; ``fields`` is what the log shows beside it, ``task_id`` included; ``task`` is the task
    as last seen and ``age`` its age at that time in seconds, both None before the first response; ``history`` is what is known
    of earlier tasks of its type: ``Schedule(history=...)`` estimates from it the time left at any age.
    """

    name: str
    fields: Mapping[str, Any]
    task: Task | None = None
    age: float | None = None
    history: History | None = None

    @property
    def task_id(self) -> str:
        """The ID of the awaited task; for ``waiter until``, which has none, the path of the resource."""
        task_id: str = self.fields["task_id"] if "task_id" in self.fields else self.fields["path"]
        return task_id
