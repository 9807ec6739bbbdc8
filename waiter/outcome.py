"""How several waits end: each well or badly, and none of it lost."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from waiter.errors import ConfigurationError, TasksError, WaiterError
from waiter.task import Task


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
        """Give the finished task, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.task is not None  # noqa: S101 - an outcome has one or the other
        return self.task


class OutcomeCollector:
    """The outcomes of several waits so far, and whether that is all that was wanted."""

    def __init__(self, task_ids: Iterable[str], return_when: str) -> None:
        self._return_when = ReturnWhen(return_when)
        self._outcomes: dict[str, Outcome | None] = dict.fromkeys(task_ids)
        self._ended = self._failed = 0

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Take note of waits that ended, each once."""
        for outcome in outcomes:
            self._outcomes[outcome.task_id] = outcome
            self._ended += 1
            self._failed += outcome.error is not None

    @property
    def task_ids(self) -> list[str]:
        """All that are awaited, each once, in the order asked for."""
        return list(self._outcomes)

    @property
    def is_over(self) -> bool:
        """Whether nobody has to wait any longer."""
        match self._return_when:
            case ReturnWhen.FIRST_COMPLETED if self._ended:
                return True
            case ReturnWhen.FIRST_EXCEPTION if self._failed:
                return True
        return self._ended == len(self._outcomes)

    def result(self) -> dict[str, Task]:
        """Give the finished tasks by ID, in the order asked for, or raise TasksError if a wait ended badly."""
        ended = {task_id: outcome for task_id, outcome in self._outcomes.items() if outcome}
        succeeded = {task_id: outcome.task for task_id, outcome in ended.items() if outcome.task}
        failed = {task_id: outcome.error for task_id, outcome in ended.items() if outcome.error}
        if failed:
            pending = tuple(task_id for task_id in self._outcomes if task_id not in ended)
            raise TasksError.of(succeeded=succeeded, failed=failed, pending=pending)
        return succeeded
