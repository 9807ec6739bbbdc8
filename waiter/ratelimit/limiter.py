"""The request budget that all waits of an account share.

A token bucket bounds the requests per second. A response that asks for fewer requests (429, or any response with Retry-After;
of a listing only 429) blocks all requests for as long as the server asks, and reduces the rate to three quarters of the rate
that was really sent; from there it doubles every five seconds.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import exp, exp2, inf
from threading import Lock
from typing import NamedTuple

BURST = 0.1
"""Seconds of the full rate that may be sent together after an idle time: enough for a handful of waits to start together."""
THROTTLING_WINDOW = 1.0
"""Requests under way when the first one is throttled are throttled too: within this time they count as one."""
MIN_RATE = 1.0
SLOWDOWN = 0.75
DOUBLING_TIME = 5.0
_RATE_MEMORY = 5.0
# From the minimum rate on, this is more than any process can send; exp2 overflows at 1,024.
_MAX_DOUBLINGS = 64


class Offer(NamedTuple):
    """When a request may be sent, in which generation, for how long the server blocks requests, and for how long it has."""

    at: float
    generation: int
    block_left: float
    blocked_so_far: float


class RateLimiter:
    """Assign a time to each request; safe to share between threads. All times are monotonic seconds.

    ``generation`` counts how often throttling has made all reserved times void.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = self._blocked_until = self._slowed_at = self._counted_at = -inf
        self._slowed_rate = self._blocked_since = inf
        self._blocked_before = 0.0
        self._recent = 0.0
        self._cancelled: list[float] = []
        self.generation = 0

    def offer(self, now: float, max_rps: float, held: Offer | None) -> Offer:
        """Return when a request may be sent: at the time that was offered before, unless throttling has made it void."""
        generation = self.generation
        at = held.at if held is not None and held.generation == generation else self.reserve(now, max_rps)
        return Offer(at, generation, self.blocked_for(now), self._total_blocked(now))

    def reserve(self, now: float, max_rps: float) -> float:
        """Return the time at which the next request may be sent; at most ``max_rps`` such times fall into one second."""
        with self._lock:
            while self._cancelled:
                if (reserved := heappop(self._cancelled)) >= now - BURST:
                    return max(reserved, now)
            # The distance to the previous time depends on the rate of this caller: a wait with a low rate slows no other wait.
            earliest = self._last + 1 / self._rate(max(now, self._last), max_rps)
            self._last = max(earliest, self._blocked_until, now - BURST)
            return max(self._last, now)

    def cancel(self, reserved: float, generation: int) -> None:
        """Return an unused time, which the next caller gets; one of an older generation is void already."""
        with self._lock:
            if generation == self.generation:
                heappush(self._cancelled, reserved)

    def record_sent(self, now: float) -> None:
        """Record that a request is sent now."""
        with self._lock:
            self._recent = 1.0 + self._recent * exp((self._counted_at - now) / _RATE_MEMORY)
            self._counted_at = now

    def blocked_for(self, now: float) -> float:
        """Return for how many seconds no request may be sent, because the server said so."""
        return max(0.0, self._blocked_until - now)

    def on_throttled(self, now: float, max_rps: float, retry_after: float) -> None:
        """Record that the server asks for fewer requests, and for none within ``retry_after`` seconds."""
        with self._lock:
            is_new = now >= self._slowed_at + THROTTLING_WINDOW
            if is_new:
                self._slow_down(now, max_rps)
            if is_new or (retry_after and now + retry_after > self._blocked_until):
                self._block(now, now + retry_after)

    def _total_blocked(self, now: float) -> float:
        return self._blocked_before + max(0.0, min(now, self._blocked_until) - self._blocked_since)

    def _slow_down(self, now: float, max_rps: float) -> None:
        rate = self._rate(now, max_rps)
        if self._last <= now:  # no request is queued, so fewer were sent than the rate allows
            rate = min(rate, self._recent * exp((self._counted_at - now) / _RATE_MEMORY) / _RATE_MEMORY)
        self._slowed_rate = max(MIN_RATE, rate * SLOWDOWN)
        self._slowed_at = now

    def _block(self, now: float, until: float) -> None:
        """Make reserved times void: all that fall into the block would otherwise become due together at its end."""
        self._blocked_before, self._blocked_since = self._total_blocked(now), now
        self._blocked_until = max(self._blocked_until, until)
        self._last = -inf
        self._cancelled.clear()
        self.generation += 1

    def _rate(self, now: float, max_rps: float) -> float:
        recovering = max(0.0, now - max(self._slowed_at, self._blocked_until))
        return min(max_rps, self._slowed_rate * exp2(min(recovering / DOUBLING_TIME, _MAX_DOUBLINGS)))


_limiters: dict[tuple[str, str], RateLimiter] = {}


def shared_rate_limiter(base_url: str, account: str) -> RateLimiter:
    """Return the limiter that all waits of this process share for one account."""
    return _limiters.setdefault((base_url, account), RateLimiter())
