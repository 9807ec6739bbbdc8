"""Progress as lines, for CI: one at each change, and heartbeats, because CI systems end jobs without output."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from waiter.cli.progress.base import Progress
from waiter.console import stderr
from waiter.console.formatting import format_duration, printable
from waiter.outcome import WaitStatus

if TYPE_CHECKING:
    from waiter.cli.progress.model import ProgressModel, TaskRow
    from waiter.events import Event

HEARTBEAT = 50.0
# More tasks than this are counted, not named.
MAX_NAMED = 5


class LineProgress(Progress):
    """One line at each change, and a heartbeat when there has been no line for 50 s."""

    def __init__(self, model: ProgressModel, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(model, clock)
        self._written_at = clock()

    def show_event(self, event: Event) -> None:
        """Write a line for a change of state of a task or of its resources, and for the start and the end of an outage."""
        row = self._model.rows[event.task_id]
        match event.name:
            case "task.state_changed":
                self._write_line(f"{row.name} is {row.state}{_in_parentheses(row.times(self._clock()))}")
            case "resource.state_changed" if row.created_count <= MAX_NAMED:
                kind, new = event.fields.get("kind"), event.fields["new"]
                resource = f": {kind} {event.fields['resource_id']}" if kind else ""
                self._write_line(f"{row.name}{printable(f'{resource} is {new}')}")
            case "resource.unchecked":
                self._write_line(
                    f"{row.name}: no endpoint of {printable(event.fields['kind'])} is known, so they count as ready"
                )
            case "history.learned" if row.time_left(self._clock()):
                self._write_line(f"{row.name} is {row.times(self._clock())}")
            case "poll.failed" if event.fields["attempt"] == 1 and row.problem:
                self._write_line(f"{row.name}: {printable(row.problem.describe(self._clock()))}")
            case "poll.recovered":
                self._write_line(f"{row.name}: the API answers again after {format_duration(event.fields['outage'])}")

    def refresh(self) -> float:
        """Write the heartbeat when it is due."""
        remaining = self._written_at + HEARTBEAT - self._clock()
        if remaining > 0:
            return remaining
        if self._model.pending:
            self._write_heartbeat()
        return HEARTBEAT

    def _write_heartbeat(self) -> None:
        self._write_line(heartbeat(self._model, self._clock()))

    def _write_line(self, text: str) -> None:
        self._written_at = self._clock()
        stderr.info(text)


class LogProgress(LineProgress):
    """Only heartbeats, as events of the log, at every level: the log has everything else."""

    def show_event(self, event: Event) -> None:
        """Do nothing: the library logs events."""

    def _write_heartbeat(self) -> None:
        from waiter.console.log_format import unfiltered_logger  # noqa: PLC0415 - only needed with a log

        self._written_at = now = self._clock()
        pending = self._model.pending
        left = {row.task_id: left for row in pending if (left := row.time_left(now))}
        estimate = {
            "time_left": {task_id: round(one.median, 1) for task_id, one in left.items()},
            "time_left_p90": {task_id: round(one.p90, 1) for task_id, one in left.items() if one.p90 is not None},
        }
        unfiltered_logger().info(
            "wait.heartbeat",
            tasks={row.task_id: row.state for row in pending},
            waited=round(now - self._model.started_at, 3),
            **(estimate if left else {}),
        )


def heartbeat(model: ProgressModel, now: float) -> str:
    """Return what is awaited and for how long, naming the first few tasks."""
    pending = model.pending
    named = "; ".join(_condition(row, now) for row in pending[:MAX_NAMED])
    more = f"; and {len(pending) - MAX_NAMED} more" if len(pending) > MAX_NAMED else ""
    of = f" for {len(pending)} of {len(model.rows)} tasks" if len(model.rows) > 1 else ""
    return f"still waiting after {format_duration(now - model.started_at)}{of}: {named}{more}"


# Failures last, because their names follow.
_SUMMARY_ORDER = (
    WaitStatus.FINISHED,
    WaitStatus.WAITING,
    WaitStatus.TIMED_OUT,
    WaitStatus.STALLED,
    WaitStatus.UNAVAILABLE,
    WaitStatus.REFUSED,
    WaitStatus.NOT_FOUND,
    WaitStatus.FAILED,
)
_COLORS = {WaitStatus.FINISHED: "32", WaitStatus.WAITING: "36"}
_RED = "31"


def closing_summary(model: ProgressModel, *, color: bool) -> str:
    """Return how the waits for several tasks ended, and which failed: ``45 finished, 5 failed: create_vm 2222..., ...``."""
    counts = Counter(result.status for result in model.results())
    parts = [_count(status, counts[status], color=color) for status in _SUMMARY_ORDER]
    failed = [row.name for row in model.rows.values() if row.has_failed]
    more = [f"and {len(failed) - MAX_NAMED} more"] if len(failed) > MAX_NAMED else []
    named = f": {', '.join([*failed[:MAX_NAMED], *more])}" if failed else ""
    return f"{', '.join(filter(None, parts))}{named}"


def _count(status: WaitStatus, count: int, *, color: bool) -> str:
    if not count:
        return ""
    text = f"{count} {'still running' if status is WaitStatus.WAITING else status.replace('_', ' ')}"
    return f"\x1b[{_COLORS.get(status, _RED)}m{text}\x1b[0m" if color else text


def _condition(row: TaskRow, now: float) -> str:
    problem = f", but {printable(row.problem.describe(now))}" if row.problem else ""
    return f"{row.name} is {row.state}{_in_parentheses(row.times(now))}{problem}"


def _in_parentheses(text: str) -> str:
    return f" ({text})" if text else ""
