"""How waits end, one by one and several together."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from waiter import errors
from waiter.errors import ConfigurationError, TasksError, WaiterError
from waiter.task import Task


class WaitStatus(StrEnum):
    """The state of a wait, in the JSON of the command and of the sidecar; every status except ``waiting`` is final."""

    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"

    @property
    def is_task_end(self) -> bool:
        """Whether the task itself has ended; after any other final status the same ID can be awaited again."""
        return self in {WaitStatus.FINISHED, WaitStatus.FAILED}


STATUSES: tuple[tuple[type[WaiterError], WaitStatus], ...] = (
    (errors.TaskError, WaitStatus.FAILED),
    (errors.ResourceError, WaitStatus.FAILED),
    (errors.TaskTimeoutError, WaitStatus.TIMED_OUT),
    (errors.TaskStalledError, WaitStatus.STALLED),
    (errors.TaskNotFoundError, WaitStatus.NOT_FOUND),
    (errors.AuthenticationError, WaitStatus.REFUSED),
    (errors.PermissionDeniedError, WaitStatus.REFUSED),
    (errors.ApiError, WaitStatus.UNAVAILABLE),
)
"""The status of each error; the first kind that matches applies."""


def status_of(error: Exception | None) -> WaitStatus:
    """Return the status of a wait that ended with this error, or with a finished task."""
    if error is None:
        return WaitStatus.FINISHED
    return next((status for kind, status in STATUSES if isinstance(error, kind)), WaitStatus.UNAVAILABLE)


def outcome_of(error: BaseException | None) -> str:
    """Return the ``outcome`` of the event ``wait.ended``: a status, ``cancelled``, or ``error`` for a fault of a callable."""
    if error is not None and not isinstance(error, Exception):
        return "cancelled"
    if error is None or (isinstance(error, WaiterError) and not isinstance(error, ConfigurationError)):
        return status_of(error)
    return "error"


class ReturnWhen(StrEnum):
    """When a wait for several tasks is over; the names are those of :mod:`concurrent.futures`."""

    ALL_COMPLETED = "ALL_COMPLETED"
    FIRST_COMPLETED = "FIRST_COMPLETED"
    FIRST_EXCEPTION = "FIRST_EXCEPTION"

    @classmethod
    def _missing_(cls, value: object) -> None:
        message = f"return_when must be {', '.join(cls)}, not {value!r}"
        raise ConfigurationError(message)


class Outcome(msgspec.Struct, frozen=True):
    """The end of one wait: the finished ``task``, or the ``error`` that its wait ended with."""

    task_id: str
    task: Task | None = None
    error: WaiterError | None = None

    def result(self) -> Task:
        """Return the finished task, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.task is not None  # noqa: S101 - an outcome has one or the other
        return self.task


class OutcomeCollector:
    """The outcomes of several waits so far, and whether ``return_when`` is met."""

    def __init__(self, task_ids: Iterable[str], return_when: str) -> None:
        self._return_when = ReturnWhen(return_when)
        self._outcomes: dict[str, Outcome | None] = dict.fromkeys(task_ids)
        self._ended = self._failed = 0

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Add the outcomes of waits that ended, each once."""
        for outcome in outcomes:
            self._outcomes[outcome.task_id] = outcome
            self._ended += 1
            self._failed += outcome.error is not None

    @property
    def task_ids(self) -> list[str]:
        """The awaited IDs, each once, in the order given."""
        return list(self._outcomes)

    @property
    def is_over(self) -> bool:
        """Whether ``return_when`` is met."""
        match self._return_when:
            case ReturnWhen.FIRST_COMPLETED if self._ended:
                return True
            case ReturnWhen.FIRST_EXCEPTION if self._failed:
                return True
        return self._ended == len(self._outcomes)

    def result(self) -> dict[str, Task]:
        """Return the finished tasks by ID, in the order given. Raises TasksError if a wait failed."""
        ended = {task_id: outcome for task_id, outcome in self._outcomes.items() if outcome}
        succeeded = {task_id: outcome.task for task_id, outcome in ended.items() if outcome.task}
        failed = {task_id: outcome.error for task_id, outcome in ended.items() if outcome.error}
        if failed:
            pending = tuple(task_id for task_id in self._outcomes if task_id not in ended)
            raise TasksError.of(succeeded=succeeded, failed=failed, pending=pending)
        return succeeded
