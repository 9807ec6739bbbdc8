"""The events of one wait, to the log and to ``on_event``.

The library configures no logging. Events go to structlog when the application has configured structlog, otherwise to the
standard logger ``waiter``, which writes nothing until the application configures it, as is the convention for libraries.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, Self

from waiter.events import LEVELS, Event
from waiter.schedule.history import History
from waiter.schedule.schedule import TimeLeft
from waiter.task import Task


class _Logger(Protocol):
    def bind(self, **context: object) -> Self: ...


class Known(NamedTuple):
    """What a wait knows when it reports an event: the task as last seen, its age, its type's history, the time left."""

    task: Task | None
    age: float | None
    history: History | None
    time_left: TimeLeft | None


class Reporter:
    """Report the events of one wait, each with the task's ID and type."""

    __slots__ = ("_log", "_logger", "_on_event", "_task_id", "_task_type")  # saves 4 MB for ten thousand waits

    def __init__(self, on_event: Callable[[Event], object] | None, task_id: str, *, log: bool) -> None:
        self._on_event = on_event
        self._log = log
        self._task_id = task_id
        self._task_type: str | None = None
        self._logger: _Logger | None = None

    def report_snapshot(self, before: Task | None, known: Known, *, elapsed: float) -> None:
        """Report what a new snapshot of the task changes: its state or detailed state, an unknown state, its end.

        From the first snapshot on, every event has the task's type.
        """
        task = known.task
        if before is None and task is not None:
            self._task_type, self._logger = task.task_type, None
        if task is None or (before and (before.state, before.detailed_state) == (task.state, task.detailed_state)):
            return
        old, new = before and str(before.state), str(task.state)
        fields = {"old": old, "new": new, "detailed_state": task.detailed_state, "elapsed": elapsed}
        self.report("task.state_changed", fields, known)
        if not task.state.is_known and old != new:
            self.report("task.state_unknown", {"state": new}, known)
        if task.ended:
            name = "task.failed" if task.failed else "task.finished"
            created = task.created_resources.as_dict()
            self.report(name, {"error": task.error, "created_resources": created, "elapsed": elapsed}, known)

    def report(self, name: str, fields: Mapping[str, Any], known: Known) -> None:
        """Log an event and call ``on_event``; an exception of the callback is logged and does not end the wait."""
        if known.time_left is not None:
            fields = {**fields, "time_left": round(known.time_left.median, 1)}
            if known.time_left.p90 is not None:
                fields["time_left_p90"] = round(known.time_left.p90, 1)
        level = LEVELS.get(name, "info")
        if self._log and _is_logged(level):
            self._logger = self._logger or _get_logger().bind(**self._context())
            getattr(self._logger, level)(name, **fields)
        if self._on_event is None:
            return
        try:
            self._on_event(Event(name, {**self._context(), **fields}, known.task, known.age, known.history))
        except Exception:
            logging.getLogger("waiter").exception("on_event raised at %s", name)

    def _context(self) -> dict[str, str]:
        context = {"task_id": self._task_id, "task_type": self._task_type}
        return {name: value for name, value in context.items() if value is not None}


def _structlog_is_configured() -> bool:
    # structlog takes longer to import than the rest of waiter; an application that has configured it has imported it.
    # While another thread imports it, the module is there but not its functions.
    is_configured = getattr(sys.modules.get("structlog"), "is_configured", None)
    return is_configured is not None and is_configured()


def _is_logged(level: str) -> bool:
    if _structlog_is_configured():
        return True
    # Without a handler the standard library would print warnings to standard error.
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
