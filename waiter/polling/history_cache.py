"""Histories of task types, each requested once and shared by every wait of the process."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from waiter.schedule.history import HISTORY_SIZE, History
from waiter.schedule.priors import prior

if TYPE_CHECKING:
    from waiter.task import Task, TaskSnapshot

LISTED = HISTORY_SIZE
# The past may have changed after an hour: a wait that begins later requests it again. With a shorter time the sidecar would
# list the past for nearly every wait of a type that it sees a few times a day.
FRESH_FOR = 3600.0
# A listing takes half a minute at most, so that a claim holds until its outcome is known.
FIRST_RETRY, LONGEST_RETRY = 60.0, 3600.0


class _Entry:
    """The history of one type, and when it may be requested; times are monotonic seconds."""

    def __init__(self) -> None:
        self.history: History | None = None
        self.fresh_until = self.blocked_until = -inf
        self.claims = 0


class HistoryCache:
    """The histories of all task types for which one account waits; safe to share between threads."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = Lock()

    def claim(self, task_type: str, *, began: float, now: float) -> bool:
        """Return whether the caller should request the history of this type, and block others from it meanwhile.

        ``began`` is when the caller's wait began: one that began with a fresh history does not renew it. A claim without a
        result, because the request failed or the wait was cancelled, expires after a minute, and each further one in a row
        after twice as long, up to an hour.
        """
        with self._lock:
            entry = self._entries.setdefault(task_type, _Entry())
            if began < entry.fresh_until or now < entry.blocked_until:
                return False
            entry.blocked_until = now + min(FIRST_RETRY * 2.0 ** min(entry.claims, 10), LONGEST_RETRY)
            entry.claims += 1
            return True

    def store(self, task: Task, history: History, *, now: float) -> None:
        """Store the history of a task's type; one that shows running tasks only, as many as a listing holds, expires soon."""
        with self._lock:
            entry = self._entries.setdefault(task.task_type or "", _Entry())
            known = prior(task.task_type or "")
            entry.history = msgspec.structs.replace(history, usual=known.usual) if known else history
            if history.durations or len(history.running) < LISTED:
                entry.fresh_until, entry.claims = now + FRESH_FOR, 0

    def block_until(self, task: Task, until: float) -> None:
        """Block requests for the history of a task's type until then, as the server asked."""
        with self._lock:
            entry = self._entries.setdefault(task.task_type or "", _Entry())
            entry.blocked_until = max(entry.blocked_until, until)

    def get(self, task: Task | None, *, learned: bool = True) -> History | None:
        """Return the history of a task's type: its usual range until durations are known, None if there is none either.

        With ``learned=False``, the durations of this account are ignored.
        """
        if task is None or not task.task_type:
            return None
        entry = self._entries.get(task.task_type) if learned else None
        return entry.history if entry and entry.history else prior(task.task_type)


_shared: dict[tuple[str, str], HistoryCache] = {}


def shared_history_cache(base_url: str, account: str) -> HistoryCache:
    """Return the cache that all waits of this process share for one account."""
    return _shared.setdefault((base_url, account), HistoryCache())


def history_of(past: Iterable[TaskSnapshot]) -> History:
    """Return the history in a listing, newest first: durations of ended tasks, ERROR included, and ages of the others."""
    durations, running, errors = [], [], []
    for snapshot in past:
        task = snapshot.task
        if not task.ended:
            running.append(snapshot.age)
        elif task.created_on and task.finished_on:
            durations.append((task.finished_on - task.created_on).total_seconds())
            if task.failed:
                errors.append(durations[-1])
    return History(durations, [age for age in running if age is not None], errors)
