"""The result of a task, from which every output format is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from waiter.console.result_json import result_json, utc_text
from waiter.console.stderr import describe
from waiter.errors import TaskError, WaiterError
from waiter.outcome import WaitStatus, status_of
from waiter.task import CreatedResources

if TYPE_CHECKING:
    from waiter.schedule.schedule import TimeLeft
    from waiter.task import Task


class TaskResult(NamedTuple):
    """A task as last polled, None if it never was, and the error with which the wait for it ended.

    A listing and a single poll give the ``age`` of the task too, in seconds; a listing gives the time left, also as a text.
    """

    task_id: str
    task: Task | None = None
    error: WaiterError | None = None
    age: float | None = None
    time_left: TimeLeft | None = None
    estimate: str = ""
    is_listed: bool = False

    @property
    def reason(self) -> str | None:
        """The error's text: the API's own if the task failed, otherwise why the wait for it ended."""
        if self.task is not None and self.task.error:
            return self.task.error
        return describe(self.error) if self.error and not isinstance(self.error, TaskError) else None

    @property
    def status(self) -> WaitStatus:
        """How the wait ended; ``waiting`` if the task has not ended and no error ended the wait."""
        if self.error is not None:
            return status_of(self.error)
        if self.task is None or not self.task.ended:
            return WaitStatus.WAITING
        return WaitStatus.FAILED if self.task.failed else WaitStatus.FINISHED

    def as_dict(self) -> dict[str, Any]:
        """Return the task as :func:`result_json` takes it."""
        task = self.task
        return {
            "id": self.task_id,
            "task_type": task and task.task_type,
            "target": task and task.target,
            "state": task and str(task.state),
            "status": self.status,
            "message": describe(self.error) if self.error else None,
            "error": task and task.error,
            "created_on": task and utc_text(task.created_on),
            "finished_on": task and utc_text(task.finished_on),
            "created_resources": task.created_resources.as_dict() if task else {},
            **(self._times() if self.is_listed else {}),
        }

    def _times(self) -> dict[str, float | None]:
        median, p90 = (self.time_left.median, self.time_left.p90) if self.time_left else (None, None)
        times = {"age": self.age, "time_left": median, "time_left_p90": p90}
        return {name: None if seconds is None else round(seconds, 1) for name, seconds in times.items()}


def as_json_object(results: Iterable[TaskResult]) -> dict[str, Any]:
    """Return the object that ``--output json`` prints."""
    return result_json(result.as_dict() for result in results)


def finished_resources(results: Iterable[TaskResult]) -> CreatedResources:
    """Return what the FINISHED tasks created, without what failed tasks left behind or what is not ready."""
    tasks = [result.task for result in results if result.task and result.error is None]
    return CreatedResources.merge(task.created_resources for task in tasks if task.ended and not task.failed)


def task_duration(task: Task) -> float | None:
    """Return how many seconds an ended task took, by the API's own times; None if they are missing."""
    if task.created_on is None or task.finished_on is None:
        return None
    return max(0.0, (task.finished_on - task.created_on).total_seconds())
