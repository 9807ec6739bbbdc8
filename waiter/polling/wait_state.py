"""What one wait knows, and its answers to tenacity: poll again? when? is it over? with which result?

tenacity's own loop is the state machine. A :class:`WaitState` gives the same answers to ``Retrying`` and ``AsyncRetrying``
(see ``tenacity_hooks``). It does no I/O, and reads no clock but the one it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from waiter import errors
from waiter.outcome import outcome_of
from waiter.polling.history_cache import read_history
from waiter.polling.limits import (
    AUTH_GRACE,
    MAX_REQUEST_TIMEOUT,
    MIN_HISTORY_TIMEOUT,
    REQUEST_TIMEOUT,
    Limit,
    LimitKind,
    WaitLimits,
)
from waiter.polling.outage import REFUSED_ERRORS, Outage
from waiter.polling.reporter import Known, Reporter
from waiter.ratelimit.reservation import Delay, QueueLimits, RateLimitTimeoutError
from waiter.schedule.backoff import backoff, strategy_delay
from waiter.schedule.schedule import Schedule
from waiter.task import TaskSnapshot
from waiter.timing import EPSILON, FINAL_REQUEST_TIMEOUT, MAX_SLEEP

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.config.settings import Settings
    from waiter.polling.history_cache import HistoryCache
    from waiter.schedule.history import History
    from waiter.task import Task

_SURVIVED = (errors.ApiUnavailableError, errors.InvalidResponseError, errors.TaskNotFoundError)


class WaitState:
    """The state of one wait. All times are monotonic seconds; ``task`` is the task as last seen, None before a response.

    As a context manager it reports the begin and the end of the wait, and adds a note to an interruption, such as Ctrl-C: the
    task is still running.
    """

    # Saves 2 MB for ten thousand waits.
    __slots__ = (
        "_age", "_blocked_until", "_changed_at", "_confirm_end", "_deadline", "_error", "_has_ended", "_history",
        "_history_cache", "_now", "_outage", "_polled_at", "_polling_due_at", "_reporter", "_schedule",
        "_seen_at", "_settings", "_started_at", "task", "task_id",
    )  # fmt: skip

    def __init__(self, task_id: str, settings: Settings, history_cache: HistoryCache) -> None:
        self.task_id = task_id
        self.task: Task | None = None
        self._age: float | None = None
        self._settings = settings
        self._history_cache = history_cache
        self._reporter = Reporter(settings.on_event, task_id, log=settings.log)
        self._now = settings.clock
        now = self._now()
        self._started_at = self._changed_at = self._polled_at = self._polling_due_at = self._seen_at = now
        self._deadline = now + settings.timeout
        self._error: errors.ApiError | None = None
        self._has_ended = False
        self._outage = Outage()
        self._blocked_until = -inf
        self._schedule: Any = settings.wait
        self._history: History | None = None
        self._confirm_end = False

    def __enter__(self) -> Self:
        self._report("wait.started")
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._report("wait.ended", outcome=outcome_of(error), waited=round(self._now() - self._started_at, 3))
        if error is not None:
            errors.note_interruption(error, f"the wait for task {self.task_id} was interrupted; the task is still running")

    # What a poll needs.

    @property
    def time_left(self) -> float:
        """For how many seconds this wait may still last; when none is left, the poll that is due is the final one."""
        return self._deadline - self._now()

    @property
    def request_timeout(self) -> float:
        """How many seconds the next poll may take: longer after each failure, but not far beyond the deadline.

        A poll that is under way when the deadline passes is the final one, and keeps its time-out.
        """
        longest = min(REQUEST_TIMEOUT * (1 + self._outage.failures / 2), MAX_REQUEST_TIMEOUT)
        left = self._deadline - self._now()
        return min(longest, left + REQUEST_TIMEOUT if left >= EPSILON else FINAL_REQUEST_TIMEOUT)

    @property
    def history_timeout(self) -> float:
        """How many seconds a listing of past tasks may take: until the next poll is due, and no longer than the time left."""
        interval: float = self._schedule.interval(self._age)
        return min(max(interval, MIN_HISTORY_TIMEOUT), self.request_timeout, self.time_left)

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

    def record_delay(self, delay: Delay) -> None:
        """Record that a poll is sent now, after this delay. Queueing does not count towards ``max_outage``; blocking does."""
        self._polled_at = self._now()
        self._polling_due_at = self._polled_at - delay.blocked
        if self._outage.failures:
            self._outage.exclude(delay.queued)

    def record_snapshot(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Record a response, report what it changes, and return it with the task as it is kept here."""
        before, task, now = self.task, snapshot.task, self._now()
        if self._outage.failures:
            self._report("poll.recovered", outage=round(now - self._outage.since, 3))
            self._outage, self._blocked_until = Outage(), -inf
        self._age, self._seen_at = snapshot.age, now
        if task != before:
            # An equal task is not replaced: one more object for each poll makes the garbage collector halt ten thousand waits.
            self.task, self._changed_at, self._has_ended = task, now, task.ended
            self._reporter.report_snapshot(before, self._known(), elapsed=round(now - self._started_at, 3))
        # tenacity holds what it is given until the next poll.
        return TaskSnapshot(cast("Task", self.task), snapshot.age)

    def claim_history(self) -> str | None:
        """Return the task type if this wait should fetch its history, else None."""
        task = self.task
        if not self._settings.learn or task is None or self._has_ended or not task.task_type:
            return None
        now = self._now()
        if self._deadline - now < EPSILON:
            return None
        mine = self._history_cache.claim(task.task_type, age=self._age, began=self._started_at, now=now)
        return task.task_type if mine else None

    def record_history(self, past: Sequence[TaskSnapshot]) -> None:
        """Record the newest tasks of this type. One that shows this very task as ended is a reason to poll, not a result."""
        history = read_history(past)
        self._history_cache.keep(cast("Task", self.task), history, now=self._now())
        self._use_history()
        self._confirm_end = any(one.task.id == self.task_id and one.task.ended for one in past)
        self._report("history.learned", count=history.count, median=history.median, p90=history.p90)

    def record_history_failure(self, error: errors.ApiError) -> None:
        """Record that the history could not be fetched; the wait continues without it."""
        self._history_cache.put_off(cast("Task", self.task), self._now() + error.blocked_for)
        self._report("history.unavailable", error=str(error))

    def result(self, snapshot: TaskSnapshot) -> Task:
        """Return the finished task. Raises TaskError for one that ended in ERROR."""
        if snapshot.task.failed:
            raise errors.TaskError(snapshot.task)
        return snapshot.task

    # What tenacity asks, in the order in which it asks.

    def should_retry(self, error: errors.ApiError | None) -> bool:
        """Return whether to poll again after this error, or after a task that was recorded."""
        if error is None:
            return not self._has_ended
        if isinstance(error, REFUSED_ERRORS):
            return self._auth_grace() > 0
        return isinstance(error, _SURVIVED)

    def record_failure(self, error: errors.ApiError | None) -> None:
        """Record a failed poll; None is one that gave a task."""
        self._error = error
        if error is None:
            return
        if isinstance(error, RateLimitTimeoutError):
            self.record_delay(error.delay)
        self._outage.record(error, due_at=self._polling_due_at, sent_at=self._polled_at)
        if error.retry_after:
            self._blocked_until = self._now() + error.blocked_for

    def next_delay(self, call: RetryCallState) -> float:
        """Return the seconds until the next poll: not before the server accepts requests, nor beyond what ends the wait."""
        now = self._now()
        blocked = self._blocked_until - now
        delay = backoff(self._outage.failures) if self._error else self._interval(call, now)
        return max(0.0, min(max(delay, blocked), self._nearest_limit().at - now, MAX_SLEEP))

    def should_stop(self) -> bool:
        """Return whether the poll was the final one: one that was under way when a limit passed, or was sent then."""
        # A listing of past tasks after the poll does not count.
        ended_at = self._now() if self._error else self._seen_at
        return ended_at > self._nearest_limit().at - EPSILON

    def report_failure(self, retry_in: float) -> None:
        """Report a failed poll, if it failed, before the pause of ``retry_in`` seconds."""
        if self._error is not None:
            left = self._nearest_limit().at - self._now()
            self._report(
                "poll.failed",
                attempt=self._outage.failures,
                error=str(self._error),
                status=self._error.status,
                retry_in=round(retry_in, 3),
                gives_up_in=round(left, 3) if left < inf else None,
            )

    def raise_final_error(self) -> NoReturn:
        """Raise the error that ends a wait whose task has not ended."""
        error = self._final_error()
        raise error from (None if error is self._error else self._error)

    # Helpers.

    def _interval(self, call: RetryCallState, now: float) -> float:
        self._use_history()
        confirm, self._confirm_end = self._confirm_end, False
        # What came after the poll, such as a listing, does not delay the next poll.
        return 0.0 if confirm else strategy_delay(self._schedule(call)) - (now - self._seen_at)

    def _auth_grace(self) -> float:
        """Return for how many seconds polls may be refused (401, 403) in a row."""
        key = self._settings.api_key
        return AUTH_GRACE if key.can_change and key.accepted else 0.0

    def _nearest_limit(self) -> Limit:
        limits = WaitLimits(self._deadline, self._settings.max_outage, self._settings.stall_timeout, self._auth_grace())
        return limits.nearest(self._error, self._outage, self._changed_at)

    def _final_error(self) -> errors.WaiterError:
        now, error = self._now(), self._error
        match self._nearest_limit().kind:
            case LimitKind.TIMEOUT if self.task is None and isinstance(error, errors.TaskNotFoundError):
                return error
            case LimitKind.TIMEOUT:
                waited = round(now - self._started_at, 3)
                self._report("task.timed_out", waited=waited)
                return errors.TaskTimeoutError(self.task_id, waited=waited, last_task=self.task, last_error=error)
            case LimitKind.STALL:
                waited = round(now - self._changed_at, 3)
                self._report("task.stalled", waited=waited)
                return errors.TaskStalledError(cast("Task", self.task), waited=waited)
            case LimitKind.NOT_FOUND | LimitKind.REFUSED:
                return cast("errors.ApiError", error)
        return _unavailable(cast("errors.ApiError", error), now - self._outage.since)

    def _use_history(self) -> None:
        history = self._history_cache.get(self.task, learned=self._settings.learn)
        if history is not None and history is not self._history and isinstance(self._settings.wait, Schedule):
            self._history = history
            self._schedule = self._settings.wait.learned(history)

    def _report(self, name: str, **fields: object) -> None:
        self._reporter.report(name, fields, self._known())

    def _known(self) -> Known:
        left = None
        if self._history is not None and self._age is not None and not self._has_ended:
            left = self._schedule.time_left(self._age)
        return Known(self.task, self._age, self._history, left)


def _unavailable(error: errors.ApiError, outage: float) -> errors.ApiUnavailableError:
    return errors.ApiUnavailableError(
        f"no usable answer for {outage:.0f} s: {error}; the task is still running",
        status=error.status,
        request_id=error.request_id,
        url=error.url,
    )
