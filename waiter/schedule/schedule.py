"""When to look next, and how long is left: polling as an inspection problem.

A look costs a request; every second between the end of a task and the next look is lost. The **price** λ says how many
seconds of delay one request is worth. If h(t) is the hazard of a task (its chance per second to end at age t), the cheapest
rate of looking is close to √(h(t) / 2λ) (J. B. Keller 1974, "Optimum checking schedules for systems subject to random
failure", Management Science 21). That prices what follows the next look, which can then go where it is cheapest (`Pace`).

Seconds everywhere. Ages are those of the task, not of the wait: a wait that begins late, or again, goes on from there.
"""

import random
from math import isnan
from typing import Final, Self, SupportsFloat

import msgspec
from tenacity import RetryCallState
from tenacity.wait import wait_base

from waiter.errors import ConfigurationError
from waiter.schedule.hazard import MAX_AGE, History, Pace, estimate, uninformed_interval

MIN_INTERVAL_FACTOR: Final = 30.0
"""Whatever the history, no gap is shorter than without one at this part of the price: 0.18 times as long."""
MAX_INTERVAL_FACTOR: Final = 100.0
"""Whatever the history, no gap is longer than without one at this many times the price: 10 to 16 times as long.

At 30 times, all would cost 2 to 3% more, whether the history is right or wrong by a factor of two: what always took ten minutes
need not be looked at after ten seconds. At 300 times, it would cost up to 1% less, and the second pause could last two minutes.
"""
JITTER: Final = 0.1
"""A pause strays from its gap by up to this part. It adds JITTER²/3 to the delay: 0.3%."""


class TimeLeft(msgspec.Struct, frozen=True):
    """In how many seconds half, and nine in ten, of the tasks as old as this one have ended."""

    median: float
    p90: float


class Schedule(wait_base):
    """When to look next, from the age of the task: a ``wait`` for any tenacity ``Retrying``.

    ``price`` is the delay in seconds that one request is worth: a higher one means fewer looks. No gap is shorter than
    ``min_interval`` seconds. A history of the same task type makes it look when such tasks end, and yet each gap
    stays within those without history at a thirtieth of the price and at a hundred times the price, or at
    ``min_interval`` if that is longer.

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
        self._pace: Final = Pace(estimate(self.history), price) if self.history.durations else None

    def learned(self, history: History) -> Self:
        """A copy that goes by this history."""
        return type(self)(price=self.price, min_interval=self.min_interval, history=history)

    def gap(self, age: float) -> float:
        """Seconds from a look at this age to the next, without jitter. An impossible age counts as the nearest possible."""
        age = min(max(0.0, age), MAX_AGE)
        if self._pace is None or age >= self._pace.until:
            return max(uninformed_interval(age, self.price), self.min_interval)
        shortest, longest = (
            uninformed_interval(age, self.price / MIN_INTERVAL_FACTOR),
            uninformed_interval(age, self.price * MAX_INTERVAL_FACTOR),
        )
        return max(min(max(self._pace.gap(age), shortest), longest), self.min_interval)

    def time_left(self, age: float) -> TimeLeft | None:
        """How long a task of this age still runs, or None without history: there would be no honest answer."""
        if not self.history.durations:
            return None
        age = min(max(0.0, age), MAX_AGE)
        median, p90 = (estimate(self.history).ended(age, share) - age for share in (0.5, 0.9))
        return TimeLeft(median, p90)

    def __call__(self, retry_state: RetryCallState) -> float:
        """The pause at the age that the last look found; a look that found none counts from the start of the wait."""
        return self.pause(_age(retry_state))

    def pause(self, age: float) -> float:
        """The gap at this age, jittered so that waits started together drift apart."""
        gap = self.gap(age)
        # The jitter comes after the bounds: the other way round, all waits at a bound would look at once.
        return random.uniform(max(self.min_interval, (1 - JITTER) * gap), (1 + JITTER) * gap)  # noqa: S311 (no secret)


def seconds(pause: object) -> float:
    """Read what a wait strategy, which may be anybody's, gave as a pause; raises ConfigurationError."""
    if isinstance(pause, SupportsFloat) and not isnan(given := float(pause)):
        return given
    message = f"wait: the strategy must give seconds, not {pause!r}"
    raise ConfigurationError(message)


def _age(retry_state: RetryCallState) -> float:
    outcome = retry_state.outcome
    age = None if outcome is None or outcome.failed else getattr(outcome.result(), "age", None)
    return age if age is not None else retry_state.seconds_since_start or 0.0


def backoff(failures: int) -> float:
    """Seconds to wait after so many failed looks in a row: about 0.5, doubling to 15, then jittered by up to a quarter.

    The documentation of the API advises 1 to 5 s after a 500.
    """
    pause = min(0.5 * 2.0 ** min(max(failures - 1, 0), 5), 15.0)
    return pause * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)
