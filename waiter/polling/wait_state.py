"""The state of the wait for one task."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, cast

from waiter import errors
from waiter.polling.history_cache import history_of
from waiter.polling.limits import MAX_HISTORY_SHARE, MIN_HISTORY_TIMEOUT
from waiter.polling.poll_state import PollState
from waiter.polling.reporter import EventContext, Reporter
from waiter.ratelimit.reservation import QueueLimits
from waiter.schedule.backoff import strategy_delay
from waiter.schedule.schedule import MAX_INTERVAL, Schedule
from waiter.task import FINAL_STATES, TaskSnapshot, TaskState, is_older
from waiter.timing import EPSILON

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.config.settings import Settings
    from waiter.polling.history_cache import HistoryCache
    from waiter.polling.resource_state import ResourceWaitState
    from waiter.schedule.history import History
    from waiter.task import Task


_YOUNG = 2 * MAX_INTERVAL
"""Up to this age in seconds, no interval of a type that takes long is longer than ``MAX_INTERVAL``."""


class WaitState(PollState):
    """The state of one wait. All times are monotonic seconds; ``task`` is the task as last seen, None before a response.

    ``target`` is what to poll, the ``task_id``; ``awaits_resources`` is whether the wait is also for what the task creates;
    ``is_old`` is whether the task is active and so old that its polls may be far apart.
    """

    __slots__ = (
        "_age", "_confirm_end", "_history", "_history_cache", "_schedule", "awaits_resources", "is_old", "target", "task",
        "task_id",
    )  # fmt: skip

    def __init__(self, task_id: str, settings: Settings, history_cache: HistoryCache) -> None:
        super().__init__(settings, Reporter(task_id, settings.on_event, settings.log))
        self.task_id = self.target = task_id
        self.awaits_resources = settings.ready
        self.task: Task | None = None
        self._age: float | None = None
        self._history_cache = history_cache
        self._schedule: Any = settings.wait
        self._history: History | None = None
        self._confirm_end = self.is_old = False

    # What a poll needs.

    @property
    def history_timeout(self) -> float:
        """How many seconds a listing of past tasks may take: if it hangs, it delays the poll whose place it took by so much."""
        interval: float = self._schedule.interval(self._age)
        longest = max(MAX_HISTORY_SHARE * interval, MIN_HISTORY_TIMEOUT)
        return min(longest, self.request_timeout, self._nearest_limit().at - self._now())

    @property
    def queue_limits(self) -> QueueLimits:
        """How long the next poll may be delayed by the limiter."""
        return QueueLimits(self.task_id, self._deadline, self._outage.since, self._settings.max_outage)

    # What a listing needs, which can take the place of this wait's own polls.

    @property
    def listing_valid_until(self) -> float:
        """Until when a listing that shows the task as active replaces a poll; never after a poll that failed."""
        return -inf if self._outage.failures else min(self._deadline, self._changed_at + self._settings.stall_timeout)

    def interval_now(self, default: float) -> float:
        """Return the interval of the schedule at the task's present age, ``default`` when it depends on more than the age."""
        self._use_history()
        if self._age is None or not isinstance(self._schedule, Schedule):
            return default
        return self._schedule.jittered_interval(self._age + self._now() - self._seen_at)

    # What happened.

    def record_snapshot(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Record a response, report what it changes, and return it with the task as it is kept here."""
        before, task, now = self.task, snapshot.task, self._now()
        if self._outage.failures:
            self._end_outage(now)
        self._age, self._seen_at, self._confirm_end = snapshot.age, now, False
        if task != before:
            # An equal task is not replaced: one more object for each poll makes the garbage collector halt ten thousand waits.
            self.task, self._changed_at, self._has_ended = task, now, task.state in FINAL_STATES
            if self._reporter.has_listener:
                self._reporter.report_snapshot(before, task, self._known(), elapsed=round(now - self._started_at, 3))
        self.is_old = snapshot.age is not None and snapshot.age >= _YOUNG and not self._has_ended
        # tenacity holds what it is given until the next poll.
        return TaskSnapshot(cast("Task", self.task), snapshot.age)

    def claim_history(self) -> str | None:
        """Return the task type if this wait should fetch its history now, else None.

        Not before the first poll, nor at the time of the final one or of one that follows a failure.
        """
        task, now = self.task, self._now()
        if task is None or not task.task_type or self._age is None or self._has_ended or not self._settings.learn:
            return None
        if self._outage.failures or self._is_final_poll(now):
            return None
        is_mine = self._history_cache.claim(task.task_type, began=self._started_at, now=now)
        return task.task_type if is_mine else None

    def _is_final_poll(self, now: float) -> bool:
        """Return whether a poll that is sent now is the final one."""
        return self._nearest_limit().at - now < EPSILON

    def record_history(self, past: Sequence[TaskSnapshot]) -> TaskSnapshot | None:
        """Record the newest tasks of this type, and return this very task if the listing shows it as active.

        A listing that shows it as ended is a reason to poll, not a result; nor is a listing the final poll.
        """
        history = history_of(past)
        self._history_cache.store(cast("Task", self.task), history, now=self._now())
        self._use_history()
        shown = [one for one in past if one.task.id == self.task_id]
        self._confirm_end = any(one.task.ended for one in shown)
        self._report("history.learned", count=history.count, median=history.median, p90=history.p90)
        if not shown or self._confirm_end or self._is_final_poll(self._now()) or self._is_outdated(shown[0].task):
            return None
        return shown[0]

    def _is_outdated(self, shown: Task) -> bool:
        """Return whether a listing shows the task as it was before the last poll. Listings may lag."""
        return shown != self.task and is_older(shown, self.task)

    def record_history_failure(self, error: errors.ApiError) -> None:
        """Record that the history could not be fetched; the wait continues without it."""
        self._history_cache.block_until(cast("Task", self.task), self._now() + error.blocked_for)
        self._report("history.unavailable", error=str(error))

    def result(self, snapshot: TaskSnapshot) -> Task:
        """Return the finished task. Raises TaskError for one that ended in ERROR."""
        if snapshot.task.state is TaskState.ERROR:
            raise errors.TaskError(snapshot.task)
        return snapshot.task

    def resource_state(self) -> ResourceWaitState | None:
        """Return the state of the wait for what the finished task created, or None if none of it can be polled.

        It is a part of this wait, with the same deadline. Resources without a known endpoint count as ready.
        """
        from waiter.api.resources import targets_of  # noqa: PLC0415 - only needed with ready
        from waiter.polling.resource_state import ResourceWaitState  # noqa: PLC0415 - as above

        task = cast("Task", self.task)
        targets, unknown = targets_of(task)
        for kind, ids in unknown.items():
            self._report("resource.unchecked", kind=kind, resource_ids=ids)
        if not targets:
            return None
        age = 0.0
        if self._age is not None and task.created_on and task.finished_on:
            age = max(0.0, self._age - (task.finished_on - task.created_on).total_seconds())
        state = ResourceWaitState(targets, self._settings, self._reporter, task=task, age=age)
        return state.within(started_at=self._started_at, deadline=self._deadline)

    # Helpers.

    def _interval(self, call: RetryCallState, now: float) -> float:
        self._use_history()
        # What came after the poll, such as a listing, does not delay the next poll.
        return 0.0 if self._confirm_end else strategy_delay(self._schedule(call)) - (now - self._seen_at)

    def _timeout_error(self, now: float) -> errors.WaiterError:
        error = self._error
        if self.task is None and isinstance(error, errors.TaskNotFoundError):
            return error
        waited = round(now - self._started_at, 3)
        self._report("task.timed_out", waited=waited)
        return errors.TaskTimeoutError(self.task_id, waited=waited, last_task=self.task, last_error=error)

    def _stall_error(self, now: float) -> errors.TaskStalledError:
        waited = round(now - self._changed_at, 3)
        self._report("task.stalled", waited=waited)
        return errors.TaskStalledError(cast("Task", self.task), waited=waited)

    def _not_found_error(self, error: errors.TaskNotFoundError) -> errors.WaiterError:
        return error

    def _subject(self) -> str:
        return f"task {self.task_id}"

    def _note(self) -> str:
        return "; the task is FINISHED" if self._has_ended else "; the task is still running"

    def _use_history(self) -> None:
        history = self._history_cache.get(self.task, learned=self._settings.learn)
        if history is not None and history is not self._history and isinstance(self._settings.wait, Schedule):
            self._history = history
            self._schedule = self._settings.wait.learned(history)

    def _report(self, name: str, **fields: object) -> None:
        if self._reporter.has_listener:
            self._reporter.report(name, fields, self._known())

    def _known(self) -> EventContext:
        left = None
        if self._history is not None and self._age is not None and not self._has_ended:
            left = self._schedule.time_left(self._age)
        return EventContext(self.task, self._age, self._history, left)
