"""What is known of every awaited task at any moment, fed by events and outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from waiter.cli.output import Ending
from waiter.console.formatting import ascii_printable, format_duration
from waiter.errors import TaskError, described
from waiter.schedule.schedule import Schedule

if TYPE_CHECKING:
    from waiter.events import Event
    from waiter.outcome import Outcome
    from waiter.schedule.schedule import TimeLeft
    from waiter.task import Task


# What is known of a task type, by its name: the wait that asked for it shares it with all others.
Schedules: TypeAlias = dict[str | None, Schedule]


class Row:
    """One task as last heard of; ``now`` is monotonic seconds everywhere."""

    def __init__(self, task_id: str, now: float, schedules: Schedules | None = None) -> None:
        self.task_id = task_id
        self.task: Task | None = None
        self.outcome: Outcome | None = None
        self.trouble: str | None = None
        self.moved_at = self._heard_at = now
        self._age: float | None = None
        self._schedules: Schedules = {} if schedules is None else schedules

    def note(self, event: Event, now: float) -> None:
        """Take in an event."""
        self.task = event.task or self.task
        self._heard_at = now
        self._age = event.age
        if event.name == "task.state_changed":
            self.moved_at = now
        if event.name == "poll.failed":
            # Its line begins with the ID.
            self.trouble = str(event.fields["error"]).removesuffix(f" ({self.task_id})")
        elif event.name == "poll.recovered":
            self.trouble = None
        if event.history and event.history.count and self.task and self.task.task_type not in self._schedules:
            self._schedules[self.task.task_type] = Schedule(history=event.history)

    def end(self, outcome: Outcome, now: float) -> None:
        """Take in how its wait ended."""
        self.outcome = outcome
        self.moved_at = now
        failed = outcome.error.task if isinstance(outcome.error, TaskError) else None
        self.task = outcome.task or failed or getattr(outcome.error, "last_task", None) or self.task

    @property
    def state(self) -> str:
        """The state in full, such as ``RUNNING/NETWORK``."""
        return ascii_printable(described(self.task)) if self.task else "not seen yet"

    @property
    def name(self) -> str:
        """The type of the task and its ID."""
        return f"{ascii_printable(self.task.task_type)} {self.task_id}" if self.task and self.task.task_type else self.task_id

    def age(self, now: float) -> float | None:
        """How old the task is, and how old it grew when it has ended."""
        if self.task and self.task.ended:
            return _lifetime(self.task)
        return None if self._age is None else self._age + now - self._heard_at

    def time_left(self, now: float) -> TimeLeft | None:
        """How long it is likely to go on; None unless earlier tasks of its type tell."""
        age, schedule = self.age(now), self._schedules.get(self.task.task_type) if self.task else None
        if schedule is None or age is None or self.outcome or (self.task and self.task.ended):
            return None
        return schedule.time_left(age)

    def times(self, now: float) -> str:
        """Say how old it is and how long is left: ``19s old, about 12s left (90%: 40s)``; empty when nothing is known."""
        age, left = self.age(now), self.time_left(now)
        ended = self.task is not None and self.task.ended
        old = None if age is None else f"took {format_duration(age)}" if ended else f"{format_duration(age)} old"
        estimate = f"about {format_duration(left.median)} left (90%: {format_duration(left.p90)})" if left else None
        return ", ".join(filter(None, [old, estimate]))


def _lifetime(task: Task) -> float | None:
    if task.created_on is None or task.finished_on is None:
        return None
    return max(0.0, (task.finished_on - task.created_on).total_seconds())


class Board:
    """All awaited tasks, in the order in which they were asked for."""

    def __init__(self, task_ids: Iterable[str], now: float) -> None:
        self.started_at = now
        schedules: Schedules = {}
        self.rows = {task_id: Row(task_id, now, schedules) for task_id in task_ids}

    @property
    def open(self) -> list[Row]:
        """The tasks whose wait has not ended."""
        return [row for row in self.rows.values() if row.outcome is None]

    def endings(self) -> list[Ending]:
        """Give how every task was left."""
        return [Ending(row.task_id, row.task, row.outcome.error if row.outcome else None) for row in self.rows.values()]
