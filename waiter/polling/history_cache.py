"""What the API remembers of earlier tasks of a type, asked for once and shared by every wait of the process."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from threading import Lock
from typing import TYPE_CHECKING

from waiter.schedule.history import History

if TYPE_CHECKING:
    from waiter.task import Task, TaskSnapshot

# Twenty to a hundred past durations are all that the schedule can use.
LISTED = 100
# One request has to pay for itself: tasks that end sooner than this save less than one by what it teaches.
WORTH_ASKING_AT = 8.0
# What was learned an hour ago may have changed since: the wait that begins then asks again. A shorter span would have the
# sidecar list the past for nearly every wait of a type that it sees a few times a day.
FRESH_FOR = 3600.0
# A listing takes half a minute at the most, so that a claim holds until its outcome is known.
FIRST_RETRY, LONGEST_RETRY = 60.0, 3600.0


class _Past:
    """What is known of one type, and when it may be asked for; all times are monotonic seconds."""

    def __init__(self) -> None:
        self.history: History | None = None
        self.fresh_until = self.held_until = -inf
        self.claims = 0


class HistoryCache:
    """The pasts of all task types that one account's waits have asked for; safe to share between threads."""

    def __init__(self) -> None:
        self._pasts: dict[str, _Past] = {}
        self._lock = Lock()

    def claim(self, task_type: str, *, age: float | None, began: float, now: float) -> bool:
        """Whether the caller is the one that shall ask for this type's past, now that its task has this age in seconds.

        ``began`` is when its wait began: one that began with a fresh past goes on with it. A claim that nothing comes of,
        because the request failed or the wait was given up, expires after a minute, and each one more in a row after twice as
        long, up to an hour.
        """
        with self._lock:
            past = self._pasts.setdefault(task_type, _Past())
            if age is None or age < WORTH_ASKING_AT or began < past.fresh_until or now < past.held_until:
                return False
            past.held_until = now + min(FIRST_RETRY * 2.0 ** min(past.claims, 10), LONGEST_RETRY)
            past.claims += 1
            return True

    def keep(self, task: Task, history: History, *, now: float) -> None:
        """Keep what was learned of a task's type; a listing that is full of tasks that still run is no answer."""
        with self._lock:
            past = self._pasts.setdefault(task.task_type or "", _Past())
            past.history = history
            if history.durations or len(history.running) < LISTED:
                past.fresh_until, past.claims = now + FRESH_FOR, 0

    def put_off(self, task: Task, until: float) -> None:
        """Let nobody ask for the past of a task's type before then, because the server said so."""
        with self._lock:
            past = self._pasts.setdefault(task.task_type or "", _Past())
            past.held_until = max(past.held_until, until)

    def get(self, task: Task | None) -> History | None:
        """Give what is known of a task's type; None when nothing is, or not yet."""
        past = self._pasts.get(task.task_type or "") if task else None
        return past.history if past else None


_of_process: dict[tuple[str, str], HistoryCache] = {}


def shared_history_cache(base_url: str, account: str) -> HistoryCache:
    """Give the histories that all waits of this process have in common for one account."""
    return _of_process.setdefault((base_url, account), HistoryCache())


def read_history(past: Iterable[TaskSnapshot]) -> History:
    """Read a listing, newest first: how long the ended tasks took, ERROR included, and how old the others are, in seconds."""
    durations, running = [], []
    for task, age in ((snapshot.task, snapshot.age) for snapshot in past):
        if not task.ended:
            running.append(age)
        elif task.created_on and task.finished_on:
            durations.append((task.finished_on - task.created_on).total_seconds())
    return History(durations=durations, running=[age for age in running if age is not None])
