"""Progress as lines, for logs: one at each change, and a heartbeat, since CI systems end jobs that are silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from waiter.console import stderr
from waiter.console.formatting import format_duration, printable
from waiter.console.streams import write_stderr

if TYPE_CHECKING:
    from waiter.cli.board import Board, Row
    from waiter.events import Event

HEARTBEAT = 50.0
NAMED = 5


class Progress:
    """Tells nothing by itself; what has to be said all the same goes through it, so that nothing is torn."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._clock = clock

    def changed(self, event: Event) -> None:
        """Show what an event has changed on the board."""

    def pause(self) -> float:
        """Show what is due by now; gives the seconds until something is due again."""
        return inf

    def say(self, text: str) -> None:
        """Write a line that is no progress."""
        write_stderr(text)

    def close(self, *, keep: bool) -> None:
        """Leave the screen as it shall stay, with the last state of things if ``keep``."""


class Lines(Progress):
    """One line for each change, and one that says what is awaited whenever there was none for a while."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(board, clock)
        self._spoke_at = clock()

    def changed(self, event: Event) -> None:
        """Write a line for a transition, the begin and the end of an outage."""
        row = self._board.rows[event.task_id]
        match event.name:
            case "task.state_changed":
                self._tell(f"{row.name} is {row.state}{_within(row.times(self._clock()))}")
            case "history.learned" if row.time_left(self._clock()):
                self._tell(f"{row.name} is {row.times(self._clock())}")
            case "poll.failed" if event.fields["attempt"] == 1:
                self._tell(f"{row.name}: {printable(row.trouble)}; looking again")
            case "poll.recovered":
                self._tell(f"{row.name}: the API answers again after {format_duration(event.fields['outage'])}")

    def pause(self) -> float:
        """Write the heartbeat when it is due."""
        left = self._spoke_at + HEARTBEAT - self._clock()
        if left > 0:
            return left
        if not self._board.open:
            # All is over but the last word.
            return HEARTBEAT
        self._tell(heartbeat(self._board, self._clock()))
        return HEARTBEAT

    def _tell(self, text: str) -> None:
        self._spoke_at = self._clock()
        stderr.info(text)


class Logged(Lines):
    """Only heartbeats, in the log that tells the rest, and in one of any level: it may tell of no change at all."""

    def changed(self, event: Event) -> None:
        """Leave it to the log."""

    def _tell(self, text: str) -> None:  # noqa: ARG002 - a log has data instead
        from waiter.console import log_format as logs  # noqa: PLC0415 - only who logs gets here

        self._spoke_at = self._clock()
        tasks = {row.task_id: row.state for row in self._board.open}
        waited = round(self._spoke_at - self._board.started_at, 3)
        left = {row.task_id: left for row in self._board.open if (left := row.time_left(self._spoke_at))}
        estimate = {
            "time_left": {task_id: round(one.median, 1) for task_id, one in left.items()},
            "time_left_p90": {task_id: round(one.p90, 1) for task_id, one in left.items()},
        }
        logs.unfiltered_logger().info("wait.goes_on", tasks=tasks, waited=waited, **(estimate if left else {}))


def heartbeat(board: Board, now: float) -> str:
    """Say what is awaited and since when, naming the first few."""
    awaited = board.open
    named = "; ".join(_condition(row, now) for row in awaited[:NAMED])
    more = f"; and {len(awaited) - NAMED} more" if len(awaited) > NAMED else ""
    of = f" for {len(awaited)} of {len(board.rows)} tasks" if len(board.rows) > 1 else ""
    return f"still waiting after {format_duration(now - board.started_at)}{of}: {named}{more}"


def _condition(row: Row, now: float) -> str:
    trouble = f", but {printable(row.trouble)}" if row.trouble else ""
    return f"{row.name} is {row.state}{_within(row.times(now))}{trouble}"


def _within(times: str) -> str:
    return f" ({times})" if times else ""
