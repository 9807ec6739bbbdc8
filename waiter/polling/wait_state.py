"""One wait's answers to tenacity's questions: look again? when? is it over? and what then?

tenacity's own loop is the state machine. A :class:`Plan` holds what one wait knows, and the same answers drive ``Retrying`` and
``AsyncRetrying``. Nothing here sleeps, asks or reads a clock but the one that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from waiter import errors
from waiter.events import Reporter
from waiter.polling.history_cache import read_history
from waiter.schedule.backoff import backoff, strategy_delay
from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule, TimeLeft
from waiter.task import TaskSnapshot

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.config.settings import Settings
    from waiter.polling.history_cache import HistoryCache
    from waiter.task import Task

# What is shorter than this is over: a clamped pause that a frozen clock rounds to nothing would spin for ever.
EPSILON = 0.001
REQUEST_TIMEOUT = 10.0
LONGEST_REQUEST_TIMEOUT = 30.0
LAST_REQUEST_TIMEOUT = 5.0  # it is made when no time is left, and an answer still needs some
# Whatever the pace, a listing of a hundred tasks gets so long.
SHORTEST_LISTING = 1.0
# A task that was made an instant ago may not be known everywhere yet.
NOT_FOUND_GRACE = 10.0
LONGEST_PAUSE = 86_400.0  # no clock can sleep for ever

_SURVIVED = (errors.ApiUnavailableError, errors.InvalidResponseError)


class _Limit(NamedTuple):
    """When a wait is over at the latest, and the error that it ends with."""

    at: float
    error: Callable[[], errors.WaiterError]


class WaitState:
    """What one wait knows and decides; all times are monotonic seconds."""

    # Ten thousand of them weigh 2 MB less.
    __slots__ = (
        "_age",
        "_changed_at",
        "_confirm",
        "_deadline",
        "_failures",
        "_history",
        "_history_cache",
        "_left_alone_until",
        "_looked_at",
        "_missing_since",
        "_now",
        "_reporter",
        "_saw_at",
        "_schedule",
        "_settings",
        "_started_at",
        "_wanted_at",
        "failing_since",
        "task",
        "task_id",
    )  # fmt: skip

    def __init__(self, task_id: str, settings: Settings, history_cache: HistoryCache) -> None:
        self.task_id = task_id
        self.task: Task | None = None
        self._age: float | None = None
        self._settings = settings
        self._history_cache = history_cache
        self._reporter = Reporter(settings.on_event, task_id)
        self._now = settings.clock
        self._started_at = self._changed_at = self._looked_at = self._wanted_at = self._saw_at = self._now()
        self._deadline = self._started_at + settings.timeout
        self._failures = 0
        self.failing_since = self._missing_since = inf
        self._left_alone_until = -inf
        self._schedule: Any = settings.wait
        self._history: History | None = None
        self._confirm = False

    @property
    def request_timeout(self) -> float:
        """How long the next look may take: longer after each failure, cut to the time left."""
        patience = min(REQUEST_TIMEOUT * (1 + self._failures / 2), LONGEST_REQUEST_TIMEOUT)
        return min(patience, self.time_left if self.time_left >= EPSILON else LAST_REQUEST_TIMEOUT)

    @property
    def listing_timeout(self) -> float:
        """How long the past of the task's type may take: until the next look is due, so that it keeps nobody from looking."""
        gap: float = self._schedule.interval(self._age)
        return min(self.request_timeout, max(gap, SHORTEST_LISTING))

    @property
    def time_left(self) -> float:
        """How long this wait may still go on; when none is left, the look that is due is the last."""
        return self._deadline - self._now()

    @property
    def patience(self) -> float:
        """How long a look that is due may be kept waiting: until max_outage is used up, or a little beyond the deadline."""
        until = min(self._deadline + LAST_REQUEST_TIMEOUT, self.failing_since + self._settings.max_outage)
        return max(0.0, until - self._now())

    @property
    def may_do_without_until(self) -> float:
        """Up to when somebody else's looks may stand for this wait's own; never after one that failed."""
        return -inf if self._failures else min(self._deadline, self._changed_at + self._settings.stall_timeout)

    def gap_by_now(self, gap: float) -> float:
        """The pause that the schedule gives at the age that the task has by now; ``gap`` when it goes by more than that."""
        self._take_history()
        if self._age is None or not isinstance(self._schedule, Schedule):
            return gap
        return self._schedule.jittered_interval(self._age + self._now() - self._saw_at)

    def saw(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Take note of an answer, tell what is new in it, and give it as it is kept."""
        before, task = self.task, snapshot.task
        if self._failures:
            self._tell("poll.recovered", outage=self._seconds_since(self.failing_since))
            self._failures, self.failing_since, self._missing_since = 0, inf, inf
            self._left_alone_until = -inf
        if before is None:
            self._reporter.bind(task.task_type)
        self._age, self._saw_at = snapshot.age, self._now()
        if task != before:
            # What is equal is kept: a new one for each look makes the collector of garbage halt ten thousand waits.
            self.task, self._changed_at = task, self._saw_at
            self._tell_transition(before, task)
        # tenacity holds what it was given until the next look.
        return TaskSnapshot(cast("Task", self.task), snapshot.age)

    def conclude(self, snapshot: TaskSnapshot) -> Task:
        """Give the finished task, or raise TaskError for one that ended in ERROR."""
        if snapshot.task.failed:
            raise errors.TaskError(snapshot.task)
        return snapshot.task

    def claim_past(self) -> str | None:
        """Take it upon this wait, on behalf of all, to ask for the past of its task's type; None almost always."""
        task = self.task
        if not self._settings.learn or task is None or task.ended or not task.task_type or self.time_left < EPSILON:
            return None
        mine = self._history_cache.claim(task.task_type, age=self._age, began=self._started_at, now=self._now())
        return task.task_type if mine else None

    def learn(self, past: Sequence[TaskSnapshot]) -> None:
        """Take the past of this task's type; a listing that shows this very task as ended is a reason to look, not a result."""
        history = read_history(past)
        self._history_cache.keep(cast("Task", self.task), history, now=self._now())
        self._take_history()
        self._confirm = any(one.task.id == self.task_id and one.task.ended for one in past)
        self._tell("history.learned", count=history.count, median=history.median, p90=history.p90)

    def cannot_learn(self, error: errors.ApiError) -> None:
        """Go on without a past."""
        self._history_cache.put_off(cast("Task", self.task), self._now() + error.silence)
        self._tell("history.unavailable", error=str(error))

    def held_back(self, queued: float, silent: float) -> None:
        """Take note that a look begins only now: it was in a queue, which is no outage, and in a silence, which is one."""
        self._looked_at = self._now()
        self._wanted_at = self._looked_at - silent
        self.failing_since += queued
        self._missing_since += queued

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Say, to whoever reads the traceback of Ctrl-C or of a cancellation, that the task does not end with the wait."""
        errors.note_interruption(error, f"the wait for task {self.task_id} was interrupted; the task goes on")

    # What tenacity asks, in the order in which it asks.

    def start_look(self, _: RetryCallState) -> None:
        """Take note that a look begins."""
        self._looked_at = self._wanted_at = self._now()

    def goes_on(self, state: RetryCallState) -> bool:
        """Whether to look again."""
        error = _error_of(state)
        if error is None:
            return not _sighting_of(state).task.ended
        return isinstance(error, (*_SURVIVED, errors.TaskNotFoundError))

    def take_failure(self, state: RetryCallState) -> None:
        """Take note of a look that failed."""
        error = _error_of(state)
        if error is None:
            return
        self._failures += 1
        self.failing_since = min(self.failing_since, self._wanted_at)
        if isinstance(error, errors.TaskNotFoundError):
            self._missing_since = min(self._missing_since, self._looked_at)
        if error.retry_after:
            self._left_alone_until = self._now() + error.silence

    def pause(self, state: RetryCallState) -> float:
        """Seconds until the next look: never past what ends the wait, nor before the server wants to hear of us."""
        left_alone = self._left_alone_until - self._now()
        pause = backoff(self._failures) if _error_of(state) else self._gap(state)
        left = max(self._limit(state).at - self._now(), left_alone)
        return max(0.0, min(max(pause, left_alone), left, self._deadline - self._now(), LONGEST_PAUSE))

    def _gap(self, state: RetryCallState) -> float:
        self._take_history()
        confirm, self._confirm = self._confirm, False
        # What came after the look, such as a listing, does not put off the next.
        return 0.0 if confirm else strategy_delay(self._schedule(state)) - (self._now() - self._saw_at)

    def is_over(self, state: RetryCallState) -> bool:
        """Whether that was the last look."""
        # Only a look that began when the time was up is the last: the task may have ended while an earlier one was answered.
        return self._looked_at > self._limit(state).at - EPSILON

    def tell_failure(self, state: RetryCallState) -> None:
        """Tell of a look that failed, before the pause."""
        error = _error_of(state)
        if error is not None:
            retry_in = round(state.upcoming_sleep, 3)
            self._tell("poll.failed", attempt=self._failures, error=str(error), retry_in=retry_in)

    def give_up(self, state: RetryCallState) -> TaskSnapshot:
        """Raise what ends a wait whose task has not ended."""
        error, ending = _error_of(state), self._limit(state).error()
        raise ending from (None if ending is error else error)

    # What ends a wait.

    def _limit(self, state: RetryCallState) -> _Limit:
        error = _error_of(state)
        limits = [_Limit(self._deadline, lambda: self._timed_out(error))]
        if error is None:
            limits.append(_Limit(self._changed_at + self._settings.stall_timeout, self._stalled))
        elif isinstance(error, errors.TaskNotFoundError):
            limits.append(_Limit(self._missing_since + NOT_FOUND_GRACE, lambda: error))
        else:
            limits.append(_Limit(self.failing_since + self._settings.max_outage, lambda: self._unavailable(error)))
        return min(limits, key=lambda limit: limit.at)

    def _timed_out(self, error: errors.ApiError | None) -> errors.TaskTimeoutError:
        waited = self._seconds_since(self._started_at)
        self._tell("task.timed_out", waited=waited)
        return errors.TaskTimeoutError(self.task_id, waited=waited, last_task=self.task, last_error=error)

    def _stalled(self) -> errors.TaskStalledError:
        waited = self._seconds_since(self._changed_at)
        self._tell("task.stalled", waited=waited)
        return errors.TaskStalledError(cast("Task", self.task), waited=waited)

    def _unavailable(self, error: errors.ApiError) -> errors.ApiUnavailableError:
        outage = self._seconds_since(self.failing_since)
        return errors.ApiUnavailableError(
            f"no usable answer for {outage:.0f} s: {error}; the task goes on",
            status=error.status,
            request_id=error.request_id,
            url=error.url,
        )

    # What there is to tell.

    def _tell_transition(self, before: Task | None, task: Task) -> None:
        if before and (before.state, before.detailed_state) == (task.state, task.detailed_state):
            return
        elapsed = self._seconds_since(self._started_at)
        old = before and str(before.state)
        new, detailed_state = str(task.state), task.detailed_state
        self._tell("task.state_changed", old=old, new=new, detailed_state=detailed_state, elapsed=elapsed)
        if not task.state.is_known and old != new:
            self._tell("task.state_unknown", state=new)
        if task.ended:
            name = "task.failed" if task.failed else "task.finished"
            made = task.created_resources.as_dict()
            self._tell(name, error=task.error, created_resources=made, elapsed=elapsed)

    def _tell(self, name: str, **fields: object) -> None:
        left = self._time_left()
        if left is not None:
            fields |= {"time_left": round(left.median, 1), "time_left_p90": round(left.p90, 1)}
        self._reporter.tell(name, fields, task=self.task, age=self._age, history=self._history)

    def _time_left(self) -> TimeLeft | None:
        if self._history is None or self._age is None or self.task is None or self.task.ended:
            return None
        return cast("TimeLeft | None", self._schedule.time_left(self._age))

    def _take_history(self) -> None:
        history = self._history_cache.get(self.task)
        if history is not None and self._settings.learn and history is not self._history:
            self._history = history
            self._schedule = self._settings.wait.learned(history)

    def _seconds_since(self, moment: float) -> float:
        return round(self._now() - moment, 3)


def _error_of(state: RetryCallState) -> errors.ApiError | None:
    # An error that is not the API's, such as KeyboardInterrupt, ends the wait before anybody asks for it here.
    return cast("errors.ApiError | None", state.outcome and state.outcome.exception())


def _sighting_of(state: RetryCallState) -> TaskSnapshot:
    return cast("TaskSnapshot", state.outcome and state.outcome.result())
