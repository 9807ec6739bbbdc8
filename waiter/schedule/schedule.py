"""When to poll next, and how long a task is still likely to run.

Times are seconds. Ages are those of the task, not of the wait: a wait that begins late, or again, continues from there.
"""

import random
from typing import Final, Self

import msgspec
from tenacity import RetryCallState
from tenacity.wait import wait_base

from waiter.schedule.hazard import MAX_AGE, estimate
from waiter.schedule.history import History
from waiter.schedule.inspection import InspectionPolicy, uninformed_interval

MIN_INTERVAL_FACTOR: Final = 30.0
"""Whatever the history, no interval is shorter than without one at the price divided by this: 0.18 times as long."""
MAX_INTERVAL_FACTOR: Final = 100.0
"""Whatever the history, no interval is longer than without one at this many times the price: 10 to 16 times as long.

At 30 times, everything would cost 2 to 3% more, whether the history is right or wrong by a factor of two: tasks that always
took ten minutes need no poll after ten seconds. At 300 times, it would cost up to 1% less, and the second poll could be two
minutes away.
"""
JITTER: Final = 0.1
"""A delay differs from its interval by up to this share. It adds JITTER²/3 to the mean delay: 0.3%."""


class TimeLeft(msgspec.Struct, frozen=True):
    """In how many seconds half, and nine in ten, of the tasks of this age will have ended."""

    median: float
    p90: float


class Schedule(wait_base):
    """When to poll next, from the age of the task: a ``wait`` for any tenacity ``Retrying``.

    ``price`` is the delay in seconds that one request is worth: a higher one means fewer polls. No interval is shorter than
    ``min_interval`` seconds. With a history of the same task type, polls are dense where such tasks end. Each interval still
    keeps to those without history at a thirtieth of the price and at a hundred times the price, or to ``min_interval`` if that
    is longer.

    Raises ValueError if ``price`` is not positive, ``min_interval`` is negative, or either is more than a day.
    """

    def __init__(self, *, price: float = 0.2, min_interval: float = 0.2, history: History | None = None) -> None:
        if not 0 < price <= MAX_AGE:
            message = f"price: not above 0 and within a day, in seconds ({price})"
            raise ValueError(message)
        if not 0 <= min_interval <= MAX_AGE:
            message = f"min_interval: not within a day, in seconds ({min_interval})"
            raise ValueError(message)
        self.price: Final = price
        self.min_interval: Final = min_interval
        self.history: Final = history or History()
        self._policy: Final = InspectionPolicy(estimate(self.history), price) if self.history.durations else None

    def learned(self, history: History) -> Self:
        """Return a copy that uses this history."""
        return type(self)(price=self.price, min_interval=self.min_interval, history=history)

    def interval(self, age: float) -> float:
        """Return the seconds from a poll at this age to the next, without jitter; an impossible age counts as the nearest."""
        age = min(max(0.0, age), MAX_AGE)
        if self._policy is None or age >= self._policy.max_age:
            return max(uninformed_interval(age, self.price), self.min_interval)
        shortest = uninformed_interval(age, self.price / MIN_INTERVAL_FACTOR)
        longest = uninformed_interval(age, self.price * MAX_INTERVAL_FACTOR)
        return max(min(max(self._policy.interval(age), shortest), longest), self.min_interval)

    def time_left(self, age: float) -> TimeLeft | None:
        """Return how long a task of this age is likely to run, or None without history, which allows no estimate."""
        if not self.history.durations:
            return None
        age = min(max(0.0, age), MAX_AGE)
        median, p90 = (estimate(self.history).age_when_ended(age, share) - age for share in (0.5, 0.9))
        return TimeLeft(median, p90)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the delay at the age that the last poll found; a poll that found none counts from the start of the wait."""
        return self.jittered_interval(_age(retry_state))

    def jittered_interval(self, age: float) -> float:
        """Return the interval at this age, jittered so that waits that began together drift apart."""
        interval = self.interval(age)
        # The jitter comes after the bounds: the other way round, all waits at a bound would poll in the same instant.
        return random.uniform(max(self.min_interval, (1 - JITTER) * interval), (1 + JITTER) * interval)  # noqa: S311 - no secret


def _age(retry_state: RetryCallState) -> float:
    outcome = retry_state.outcome
    age = None if outcome is None or outcome.failed else getattr(outcome.result(), "age", None)
    return age if age is not None else retry_state.seconds_since_start or 0.0
