"""One budget of requests for all waits of an account: how long the next request has to hold back.

A token bucket bounds the requests per second. A refusal (429, or any answer with Retry-After) silences everybody for as long as
the server asks, and takes a quarter off the pace at which requests really went; from there it doubles every five seconds.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import exp, exp2, inf
from threading import Lock
from typing import Self

from waiter.errors import ApiUnavailableError

# What may go at once after a quiet time, in seconds of the full pace: enough for a handful of waits to start together.
BURST = 0.1
# The requests that are on their way when the first refusal arrives are refused too: together they count as one refusal.
ONE_REFUSAL = 1.0
SLOWEST = 1.0
SLOWDOWN = 0.75
DOUBLES_IN = 5.0
_MEMORY = 5.0
# From the slowest pace on, more than anybody can send; exp2 overflows at 1,024.
_MOST_DOUBLINGS = 64


class RateLimiter:
    """Gives out turns; safe to share between threads. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = self._quiet_until = self._slowed_at = self._counted_at = -inf
        self._slowed_to = self._silent_since = inf
        self._silences = 0.0
        self._recent = 0.0
        self._returned: list[float] = []
        self.season = 0

    def take(self, now: float, max_rps: float) -> float:
        """Take a turn, and tell when it is; there is one after the other, ``max_rps`` of them in a second at most."""
        with self._lock:
            while self._returned:
                if (turn := heappop(self._returned)) >= now - BURST:
                    return max(turn, now)
            # The distance to the last turn is that of whoever comes next: a wait that wants few requests slows no other.
            follows = self._last + 1 / self._pace(max(now, self._last), max_rps)
            self._last = turn = max(follows, self._quiet_until, now - BURST)
            return max(turn, now)

    def give_back(self, turn: float, season: int) -> None:
        """Take back a turn that nobody will use, for whoever comes next."""
        with self._lock:
            if season == self.season:
                heappush(self._returned, turn)

    def went(self, now: float) -> None:
        """Take note that a request was sent."""
        with self._lock:
            self._recent = 1.0 + self._recent * exp((self._counted_at - now) / _MEMORY)
            self._counted_at = now

    def quiet(self, now: float) -> float:
        """For how long nobody shall ask, because the server said so."""
        return max(0.0, self._quiet_until - now)

    def silences(self, now: float) -> float:
        """How many seconds the silences have lasted so far, all together."""
        return self._silences + max(0.0, min(now, self._quiet_until) - self._silent_since)

    def refused(self, now: float, max_rps: float, retry_after: float) -> None:
        """Take note that the server wants fewer requests, and none for ``retry_after`` seconds."""
        with self._lock:
            slows_down = now >= self._slowed_at + ONE_REFUSAL
            if slows_down:
                self._slow_down(now, max_rps)
            if slows_down or (retry_after and now + retry_after > self._quiet_until):
                self._silence(now, now + retry_after)

    def _slow_down(self, now: float, max_rps: float) -> None:
        pace = self._pace(now, max_rps)
        if self._last <= now:  # nobody queues up, so requests went more slowly than they could have
            pace = min(pace, self._recent * exp((self._counted_at - now) / _MEMORY) / _MEMORY)
        self._slowed_to = max(SLOWEST, pace * SLOWDOWN)
        self._slowed_at = now

    def _silence(self, now: float, until: float) -> None:
        """Hand out new turns, from the end of the silence on: old ones would all fall due at that moment."""
        self._silences, self._silent_since = self.silences(now), now
        self._quiet_until = max(self._quiet_until, until)
        self._last = -inf
        self._returned.clear()
        self.season += 1

    def _pace(self, now: float, max_rps: float) -> float:
        recovering = max(0.0, now - max(self._slowed_at, self._quiet_until))
        return min(max_rps, self._slowed_to * exp2(min(recovering / DOUBLES_IN, _MOST_DOUBLINGS)))


class RateLimitTimeoutError(ApiUnavailableError):
    """A look got no turn in time."""


class Turn:
    """One request's place in the queue; it is lost when a refusal slows everybody, and taken anew.

    As a context manager it is given back, unless the request went.
    """

    __slots__ = ("_at", "_limiter", "_max_rps", "_season")  # thousands queue up when all start at once

    def __init__(self, limiter: RateLimiter, max_rps: float) -> None:
        self._limiter = limiter
        self._max_rps = max_rps
        self._season = -1
        self._at = -inf

    def pause(self, now: float, *, is_last: bool = False) -> float:
        """Tell how long the request still has to hold back; a last look cannot come later, and goes in a quiet time too."""
        if self._season != self._limiter.season:
            self._season = self._limiter.season
            self._at = self._limiter.take(now, self._max_rps)
        quiet = self._limiter.quiet(now)
        return 0.0 if is_last and quiet else max(self._at - now, quiet)

    def went(self, now: float) -> None:
        """Take note that the request was sent."""
        self._limiter.went(now)
        self._at = -inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._at > -inf:
            self._limiter.give_back(self._at, self._season)


_of_process: dict[tuple[str, str], RateLimiter] = {}


def shared_rate_limiter(base_url: str, account: str) -> RateLimiter:
    """Give the pacer that all waits of this process have in common for one account."""
    return _of_process.setdefault((base_url, account), RateLimiter())
