"""A clock, a schedule and rows for the tests of the progress."""

from __future__ import annotations

import io

import pyte
from command_parts import BROKEN, ENDLESS, GOOD, PAST, UNKNOWN, event_of, make_task

from waiter.cli.progress.model import ProgressModel
from waiter.errors import TaskError
from waiter.outcome import Outcome
from waiter.schedule.history import History
from waiter.schedule.schedule import TimeLeft


class Clock:
    """A clock that stands still until ``now`` is changed."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TwentySeconds:
    """A schedule that expects every task to take 20 seconds, and 30 at most."""

    def __init__(self, history: History) -> None:
        assert history == PAST

    def time_left(self, age: float) -> TimeLeft:
        return TimeLeft(median=max(20 - age, 1), p90=max(30 - age, 2))


def several_tasks(clock: Clock) -> ProgressModel:
    """Return four tasks: one finished, one failed, one running for 15 s, one never polled."""
    model = ProgressModel([GOOD, BROKEN, ENDLESS, UNKNOWN], clock())
    done = make_task(GOOD, "FINISHED", took=19)
    model.rows[GOOD].record_event(event_of(done), clock())
    model.rows[GOOD].record_outcome(Outcome(GOOD, task=done), clock())
    failed = make_task(BROKEN, "ERROR", error="No valid host")
    model.rows[BROKEN].record_event(event_of(failed), clock())
    model.rows[BROKEN].record_outcome(Outcome(BROKEN, error=TaskError(failed)), clock())
    running = make_task(ENDLESS, detailed_state="NETWORK")
    model.rows[ENDLESS].record_event(event_of(running, history=PAST), clock())
    clock.now += 3
    return model


class Screen(io.StringIO):
    """Standard error on a terminal."""

    encoding = "utf-8"

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, 10)
        self.stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self.stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]
