"""The state that waits for tasks, for resources and for listings share, with the methods that tenacity calls.

tenacity's own loop is the state machine. Its hooks (``tenacity_hooks``) call the same methods of a :class:`PollState` from
``Retrying`` and ``AsyncRetrying``. A state does no I/O, and reads no clock but the one it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING, NoReturn, Self, cast

from waiter import errors
from waiter.outcome import outcome_of
from waiter.polling.limits import AUTH_GRACE, MAX_REQUEST_TIMEOUT, REQUEST_TIMEOUT, Limit, LimitKind, WaitLimits
from waiter.polling.outage import REFUSED_ERRORS, Outage
from waiter.ratelimit.reservation import Delay, RateLimitTimeoutError
from waiter.schedule.backoff import backoff
from waiter.timing import EPSILON, FINAL_REQUEST_TIMEOUT, MAX_SLEEP

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.config.settings import Settings
    from waiter.polling.reporter import Reporter

_SURVIVED = (errors.ApiUnavailableError, errors.InvalidResponseError, errors.TaskNotFoundError)


class PollState(ABC):
    """The limits and the outage of what is polled until it ends. All times are monotonic seconds.

    Subclasses record what a poll shows in ``_has_ended``, ``_changed_at`` and ``_seen_at``, and know the interval, the events
    and the errors.

    As a context manager it reports the begin and the end of the wait, and adds a note to an interruption, such as Ctrl-C.
    """

    # Saves 2 MB for ten thousand waits.
    __slots__ = (
        "_blocked_until", "_changed_at", "_deadline", "_error", "_has_ended", "_now", "_outage", "_polled_at",
        "_polling_due_at", "_reporter", "_seen_at", "_settings", "_started_at",
    )  # fmt: skip

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self._settings = settings
        self._reporter = reporter
        self._now = settings.clock
        now = self._now()
        self._started_at = self._changed_at = self._polled_at = self._polling_due_at = self._seen_at = now
        self._deadline = now + settings.timeout
        self._error: errors.ApiError | None = None
        self._has_ended = False
        self._outage = Outage()
        self._blocked_until = -inf

    def __enter__(self) -> Self:
        if self._reporter.has_listener:
            self._report("wait.started")
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._reporter.has_listener:
            self._report("wait.ended", outcome=outcome_of(error), waited=round(self._now() - self._started_at, 3))
        if error is not None:
            errors.note_interruption(error, f"the wait for {self._subject()} was interrupted{self._note()}")

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

    # What happened.

    def record_delay(self, delay: Delay) -> None:
        """Record that a poll is sent now, after this delay. Queueing does not count towards ``max_outage``; blocking does."""
        self._polled_at = self._now()
        self._polling_due_at = self._polled_at - delay.blocked
        if self._outage.failures:
            self._outage.exclude(delay.queued)

    def _end_outage(self, now: float) -> None:
        """Record that a poll succeeded after some that failed."""
        self._report("poll.recovered", outage=round(now - self._outage.since, 3))
        self._outage, self._blocked_until = Outage(), -inf

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
            case LimitKind.TIMEOUT:
                return self._timeout_error(now)
            case LimitKind.STALL:
                return self._stall_error(now)
            case LimitKind.NOT_FOUND:
                return self._not_found_error(cast("errors.TaskNotFoundError", error))
            case LimitKind.REFUSED:
                return cast("errors.ApiError", error)
        return self._unavailable_error(cast("errors.ApiError", error), now - self._outage.since)

    def _unavailable_error(self, error: errors.ApiError, outage: float) -> errors.ApiUnavailableError:
        return errors.ApiUnavailableError(
            f"no usable answer for {outage:.0f} s: {error}{self._note()}",
            status=error.status,
            request_id=error.request_id,
            url=error.url,
        )

    # What depends on what is polled.

    @abstractmethod
    def _interval(self, call: RetryCallState, now: float) -> float:
        """Return the seconds until the next poll after one that succeeded."""

    @abstractmethod
    def _report(self, name: str, **fields: object) -> None:
        """Report an event."""

    @abstractmethod
    def _timeout_error(self, now: float) -> errors.WaiterError:
        """Return the error for the deadline, and report it."""

    @abstractmethod
    def _stall_error(self, now: float) -> errors.WaiterError:
        """Return the error for ``stall_timeout``, and report it."""

    @abstractmethod
    def _not_found_error(self, error: errors.TaskNotFoundError) -> errors.WaiterError:
        """Return the error for a 404 that lasts."""

    @abstractmethod
    def _subject(self) -> str:
        """Return what is awaited, for messages."""

    @abstractmethod
    def _note(self) -> str:
        """Return the end of a message that says what remains true: ``; the task is still running``, or nothing."""
