"""When to poll next, and how long a task is still likely to run.

Times are seconds. Ages are those of the task, not of the wait: a wait that begins late, or again, continues from there.
"""

import math
import random
from functools import lru_cache
from typing import Final, Self

import msgspec
from tenacity import RetryCallState
from tenacity.wait import wait_base

from waiter.schedule.hazard import ESTIMATE_SIZE, FOR_COST, FOR_TIME_LEFT, MAX_AGE, USUAL_COUNT, estimate
from waiter.schedule.history import History
from waiter.schedule.inspection import InspectionPolicy, uninformed_interval
from waiter.timing import EPSILON

MIN_INTERVAL_FACTOR: Final = 30.0
"""Whatever the history, no interval is shorter than without one at the price divided by this: 0.18 times as long."""
MAX_INTERVAL_FACTOR: Final = 100.0
"""Whatever the history, no interval is longer than without one at this many times the price: 10 to 16 times as long."""
MAX_FACTOR_PER_DURATION: Final = 20.0
"""With fewer than five durations that factor is lower: so many times the price for each of them."""
MAX_INTERVAL: Final = 9.5
"""No interval of a young task of a long kind is longer than this many seconds, unless that without history is.

The bound holds for types whose median is ``LONG`` or more, and up to twice this age; from there on it grows with the fourth
power of the age. So a task that fails in its first 20 s is noticed within 5 s on average and 13 s at most, however long such
tasks take (``tests/schedule/``). Shorter types have polls of their own by then: for them it is higher, by the fourth power too.
"""
LONG: Final = 100.0
MAX_INTERVAL_PRICE: Final = 0.2
"""At higher prices, where fewer requests are wanted, the bound grows with the square root of the price."""
MIN_COUNT_FOR_P90: Final = 5
"""With fewer past durations, "nine in ten" would be a guess."""
JITTER: Final = 0.1
"""A delay differs from its interval by up to this share. It adds JITTER²/3 to the mean delay: 0.3%."""


class TimeLeft(msgspec.Struct, frozen=True):
    """In how many seconds half, and nine in ten, of the tasks of this age will have ended.

    ``p90`` is None with fewer than five past durations.
    """

    median: float
    p90: float | None


class Schedule(wait_base):
    """When to poll next, from the age of the task: a ``wait`` for any tenacity ``Retrying``.

    ``price`` is the delay in seconds that one request is worth: a higher one means fewer polls. No interval is shorter than
    ``min_interval`` seconds. With a history of the same task type, polls are dense where such tasks end. Each interval still
    keeps to those without history at a thirtieth of the price and at a hundred times the price. The first ones of a type that
    takes 100 s or more keep to 9.5 s (more at a price above 0.2), unless those without history or ``min_interval`` are longer.

    Raises ValueError if ``price`` is not positive, ``min_interval`` is negative, or either is more than a day.
    """

    def __init__(self, *, price: float = 0.05, min_interval: float = 0.2, history: History | None = None) -> None:
        if not 0 < price <= MAX_AGE:
            message = f"price: not above 0 and within a day, in seconds ({price})"
            raise ValueError(message)
        if not 0 <= min_interval <= MAX_AGE:
            message = f"min_interval: not within a day, in seconds ({min_interval})"
            raise ValueError(message)
        self.price: Final = price
        self.min_interval: Final = min_interval
        self.history: Final = history or History()
        self._policy: Final = _policy(self.history, price) if self.history.durations or self.history.usual else None
        self._max_early_interval: Final = MAX_INTERVAL * math.sqrt(max(1.0, price / MAX_INTERVAL_PRICE))
        self._shortness: Final = LONG / max(_median(self.history), EPSILON)

    def learned(self, history: History) -> Self:
        """Return a copy that uses this history."""
        return type(self)(price=self.price, min_interval=self.min_interval, history=history)

    def interval(self, age: float) -> float:
        """Return the seconds from a poll at this age to the next, without jitter; an impossible age counts as the nearest."""
        age = min(max(0.0, age), MAX_AGE)
        if self._policy is None or age >= self._policy.max_age:
            return max(uninformed_interval(age, self.price), self.min_interval)
        uninformed = uninformed_interval(age, self.price)
        shortest = uninformed_interval(age, self.price / MIN_INTERVAL_FACTOR)
        factor = min(MAX_INTERVAL_FACTOR, MAX_FACTOR_PER_DURATION * self._evidence)
        early = self._max_early_interval * max(1.0, self._shortness, age / (2 * MAX_INTERVAL)) ** 4
        longest = min(early, uninformed_interval(age, self.price * factor))
        return max(min(max(self._policy.interval(age), shortest), max(longest, uninformed)), self.min_interval)

    @property
    def _evidence(self) -> int:
        """Return for how many durations the history counts: a usual range counts for three."""
        return self.history.count + (USUAL_COUNT if self.history.usual else 0)

    def time_left(self, age: float) -> TimeLeft | None:
        """Return how long a task of this age is likely to run, or None without durations, which allows no estimate."""
        if not self.history.durations:
            return None
        age = min(max(0.0, age), MAX_AGE)
        hazard = estimate(self.history, FOR_TIME_LEFT)
        p90 = hazard.age_when_ended(age, 0.9) - age if self.history.count >= MIN_COUNT_FOR_P90 else None
        return TimeLeft(hazard.age_when_ended(age, 0.5) - age, p90)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the delay at the age that the last poll found; a poll that found none counts from the start of the wait."""
        return self.jittered_interval(_age(retry_state))

    def jittered_interval(self, age: float) -> float:
        """Return the interval at this age, jittered so that waits that began together drift apart."""
        interval = self.interval(age)
        # The jitter comes after the bounds: the other way round, all waits at a bound would poll in the same instant.
        return random.uniform(max(self.min_interval, (1 - JITTER) * interval), (1 + JITTER) * interval)  # noqa: S311 - no secret


@lru_cache(maxsize=256)
def _policy(history: History, price: float) -> InspectionPolicy:
    # Ten thousand waits for tasks of one type share it.
    return InspectionPolicy(estimate(history, FOR_COST), price)


def _median(history: History) -> float:
    """Return the median of the newest durations, or else the middle of the usual range; 0 without either."""
    median = History(history.durations[:ESTIMATE_SIZE]).median
    return median if median is not None else math.sqrt(math.prod(history.usual or (0.0,)))


def _age(retry_state: RetryCallState) -> float:
    outcome = retry_state.outcome
    age = None if outcome is None or outcome.failed else getattr(outcome.result(), "age", None)
    return age if age is not None else retry_state.seconds_since_start or 0.0
