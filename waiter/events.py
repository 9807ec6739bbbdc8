"""What a wait has to tell: to the log, and to whoever asked to be told.

The library configures no logging. Its events go to structlog when the application has configured structlog, and otherwise
to the standard logger ``waiter``, which is silent until the application wants it, as libraries are by convention.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import msgspec

from waiter.schedule.history import History
from waiter.task import Task

_LEVELS = {
    "history.learned": "debug",
    "history.unavailable": "debug",
    "poll.failed": "warning",
    "task.failed": "error",
    "task.stalled": "warning",
    "task.state_unknown": "warning",
    "task.timed_out": "warning",
}


class Event(msgspec.Struct, frozen=True):
    """One thing that happened in a wait.

    ``name`` is one of the constant dotted names; ``fields`` is what the log shows beside it, ``task_id`` included; ``task``
    is the task as last seen and ``age`` its age then in seconds, both None before the first answer; ``history`` is what is
    known of earlier tasks of its type, from which ``Schedule(history=...)`` estimates the time left at any age.
    """

    name: str
    fields: Mapping[str, Any]
    task: Task | None = None
    age: float | None = None
    history: History | None = None

    @property
    def task_id(self) -> str:
        """The ID of the task that is awaited."""
        task_id: str = self.fields["task_id"]
        return task_id


class _Logger(Protocol):
    def bind(self, **context: object) -> Self: ...


class Reporter:
    """Tells the events of one wait, each with the context that was bound to it."""

    __slots__ = ("_logger", "_on_event", "_task_id", "_task_type")  # ten thousand of them weigh 4 MB less

    def __init__(self, on_event: Callable[[Event], object] | None, task_id: str) -> None:
        self._on_event = on_event
        self._task_id = task_id
        self._task_type: str | None = None
        self._logger: _Logger | None = None

    def bind(self, task_type: str | None) -> None:
        """Add the task's type to the context of every later event."""
        self._task_type = task_type
        self._logger = None

    @property
    def _context(self) -> dict[str, str]:
        context = {"task_id": self._task_id, "task_type": self._task_type}
        return {name: value for name, value in context.items() if value is not None}

    def tell(self, name: str, fields: Mapping[str, Any], **seen: Any) -> None:  # noqa: ANN401 - the rest of an Event
        """Log an event and hand it to the listener; a fault of the listener is logged and harms no wait."""
        level = _LEVELS.get(name, "info")
        if _is_wanted(level):
            self._logger = self._logger or _get_logger().bind(**self._context)
            getattr(self._logger, level)(name, **fields)
        if self._on_event is None:
            return
        try:
            self._on_event(Event(name, {**self._context, **fields}, **seen))
        except Exception:
            logging.getLogger("waiter").exception("on_event raised at %s", name)


def _structlog_is_configured() -> bool:
    # structlog takes longer to import than the rest of waiter; whoever has configured it has imported it.
    structlog = sys.modules.get("structlog")
    return structlog is not None and structlog.is_configured()


def _is_wanted(level: str) -> bool:
    if _structlog_is_configured():
        return True
    # Without a handler the standard library would print warnings by itself; a library that nobody listens to is silent.
    logger = logging.getLogger("waiter")
    return logger.hasHandlers() and logger.isEnabledFor(getattr(logging, level.upper()))


def _get_logger() -> _Logger:
    import structlog  # noqa: PLC0415 - see above

    if structlog.is_configured():
        logger: _Logger = structlog.get_logger("waiter")
        return logger
    return structlog.wrap_logger(  # type: ignore[no-any-return]
        logging.getLogger("waiter"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
    )
