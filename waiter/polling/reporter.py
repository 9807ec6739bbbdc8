"""The events of one wait, to the log and to ``on_event``.

The library configures no logging. Events go to structlog when the application has configured structlog, otherwise to the
standard logger ``waiter``, which writes nothing until the application configures it, as is the convention for libraries.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec

from waiter.events import LEVELS, Event
from waiter.schedule.history import History
from waiter.schedule.schedule import TimeLeft
from waiter.task import Task

_LOGGER = logging.getLogger("waiter")


class EventContext(NamedTuple):
    """What a wait knows when it reports an event: the task as last seen, its age, its type's history, the time left."""

    task: Task | None
    age: float | None
    history: History | None
    time_left: TimeLeft | None


class Reporter(msgspec.Struct, frozen=True):
    """Report the events of one wait, each with the ID and type of its task: to the log if ``log``, and to ``on_event``.

    The wait for a resource of no task has its path in the place of the ID, under the name ``path``.
    """

    task_id: str
    on_event: Callable[[Event], object] | None
    log: bool
    id_field: str = "task_id"

    @property
    def has_listener(self) -> bool:
        """Whether anything would be given an event; if not, there is no need to collect what the event shows."""
        return self.on_event is not None or (self.log and (_structlog_is_configured() or _LOGGER.hasHandlers()))

    def report_snapshot(self, before: Task | None, task: Task, known: EventContext, *, elapsed: float) -> None:
        """Report what a new snapshot of the task changes: its state or detailed state, an unknown state, its end."""
        if before and (before.state, before.detailed_state) == (task.state, task.detailed_state):
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

    def report(self, name: str, fields: Mapping[str, Any], known: EventContext) -> None:
        """Log an event and call ``on_event``; an exception of the callback is logged and does not end the wait."""
        shown: dict[str, Any] = {self.id_field: self.task_id}
        if known.task is not None and known.task.task_type is not None:
            shown["task_type"] = known.task.task_type
        shown |= fields
        if known.time_left is not None:
            shown["time_left"] = round(known.time_left.median, 1)
            if known.time_left.p90 is not None:
                shown["time_left_p90"] = round(known.time_left.p90, 1)
        level = LEVELS.get(name, "info")
        if self.log and _is_logged(level):
            getattr(_get_logger(), level)(name, **shown)
        if self.on_event is None:
            return
        try:
            self.on_event(Event(name, shown, known.task, known.age, known.history))
        except Exception:
            _LOGGER.exception("on_event raised at %s", name)


def _structlog_is_configured() -> bool:
    # structlog takes longer to import than the rest of waiter; an application that has configured it has imported it.
    # While another thread imports it, the module is there but not its functions.
    is_configured = getattr(sys.modules.get("structlog"), "is_configured", None)
    return is_configured is not None and is_configured()


def _is_logged(level: str) -> bool:
    # Without a handler the standard library would print warnings to standard error.
    return _structlog_is_configured() or (_LOGGER.hasHandlers() and _LOGGER.isEnabledFor(getattr(logging, level.upper())))


def _get_logger() -> Any:  # noqa: ANN401 - structlog's bound loggers have no type in common
    if _structlog_is_configured():
        import structlog  # noqa: PLC0415 - see above

        return structlog.get_logger("waiter")
    return _standard_logger()


@cache
def _standard_logger() -> Any:  # noqa: ANN401 - see above
    import structlog  # noqa: PLC0415 - see above

    return structlog.wrap_logger(
        _LOGGER,
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
    )
