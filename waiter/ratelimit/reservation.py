"""A request's way through the limiter: how long to sleep before it is sent, and how long it was delayed."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, Self

from waiter.errors import ApiError, ApiUnavailableError
from waiter.ratelimit.limiter import THROTTLING_WINDOW, Offer, RateLimiter
from waiter.timing import EPSILON, FINAL_REQUEST_TIMEOUT, MAX_SLEEP


class Delay(NamedTuple):
    """How many seconds a request was delayed: queued behind others, and blocked because the server said so."""

    queued: float = 0.0
    blocked: float = 0.0


class QueueLimits(NamedTuple):
    """How long a poll may be delayed. Times are monotonic seconds.

    ``deadline`` is when the final poll is due; ``failing_since`` is when the current outage began, inf without one, and
    ``max_outage`` how many seconds it may last; ``task_id`` is for messages.
    """

    task_id: str
    deadline: float
    failing_since: float
    max_outage: float

    def max_queue_time(self, now: float) -> float:
        """Return for how many seconds the poll may wait for a slot."""
        return max(0.0, min(self.deadline + FINAL_REQUEST_TIMEOUT, self.failing_since + self.max_outage) - now)


class RateLimitTimeoutError(ApiUnavailableError):
    """The limits of a poll ended before its request could be sent; ``.delay`` says how long it was delayed."""

    def __init__(self, message: str, delay: Delay) -> None:
        super().__init__(message)
        self.delay = delay


class RequestBudget:
    """One waiter's access to the limiter of its account; ``max_rps`` is the waiter's own, ``clock`` is monotonic."""

    def __init__(self, limiter: RateLimiter, clock: Callable[[], float], max_rps: float) -> None:
        self.limiter = limiter
        self.max_rps = max_rps
        self._clock = clock

    @property
    def blocked_for(self) -> float:
        """For how many seconds no request may be sent, because the server said so."""
        return self.limiter.blocked_for(self._clock())

    def reserve(self, limits: QueueLimits) -> Reservation:
        """Return a reservation for one poll."""
        return Reservation(self.limiter, self._clock, self.max_rps, limits)

    def reserve_immediately(self) -> None:
        """Count a request that is sent now without queueing, because it stands for many; later requests are delayed for it."""
        now = self._clock()
        self.limiter.reserve(now, self.max_rps)
        self.limiter.record_sent(now)

    def report_throttling(self, error: ApiError, *, listing: bool = False) -> None:
        """Slow all waits down if this error of a request shows that the server asks for fewer.

        Retry-After on a response other than 429 applies to listings alone when the request was a ``listing``.
        """
        if error.status == HTTPStatus.TOO_MANY_REQUESTS or (error.retry_after and not listing):
            self.limiter.on_throttled(self._clock(), self.max_rps, error.blocked_for)


class Reservation:
    """The time at which one poll may be sent.

    Sleep for ``next_pause()`` seconds until it is 0: then the poll is sent, after a ``delay``. As a context manager it cancels
    a reservation that is not used. Throttling makes the reserved time void; the next ``next_pause()`` reserves another one.
    """

    __slots__ = ("_began", "_blocked_before", "_clock", "_limiter", "_limits", "_max_rps", "_offer", "delay")

    def __init__(self, limiter: RateLimiter, clock: Callable[[], float], max_rps: float, limits: QueueLimits) -> None:
        self._limiter = limiter
        self._clock = clock
        self._max_rps = max_rps
        self._limits = limits
        self._offer: Offer | None = None
        self._began = self._blocked_before = 0.0
        self.delay = Delay()

    def next_pause(self) -> float:
        """Return the seconds to sleep before the next call, or 0 and record that the request is sent now.

        At the deadline, and when a block by the server has lasted as long as an outage may, the final poll is sent although the
        server asked for none. Raises RateLimitTimeoutError when the reserved time is too late for the final poll.
        """
        now = self._clock()
        offer = self._limiter.offer(now, self._max_rps, self._offer)
        if self._offer is None:
            self._began, self._blocked_before = now, offer.blocked_so_far
        self._offer = offer
        blocked = offer.blocked_so_far - self._blocked_before
        self.delay = Delay(now - self._began - blocked, blocked)
        left = until_final = self._limits.deadline - now
        if offer.block_left > THROTTLING_WINDOW:
            # Time in the queue is no outage; other waits may prolong the block.
            outage = now - self.delay.queued - min(self._began, self._limits.failing_since)
            until_final = min(left, self._limits.max_outage - outage)
        pause = 0.0 if offer.block_left and until_final < EPSILON else max(offer.at - now, offer.block_left)
        if pause < EPSILON:
            self._limiter.record_sent(now)
            self._offer = None
            return 0.0
        if until_final >= EPSILON:
            return min(pause, until_final, MAX_SLEEP)
        if pause > left + FINAL_REQUEST_TIMEOUT:
            message = f"not polled: max_rps={self._max_rps:g} leaves no time for it ({self._limits.task_id})"
            raise RateLimitTimeoutError(message, Delay(queued=self.delay.queued))
        return pause

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._offer is not None:
            self._limiter.cancel(self._offer.at, self._offer.generation)
