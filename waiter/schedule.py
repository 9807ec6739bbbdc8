"""When to look next, and how long is left: polling as an inspection problem.

A look costs a request; every second between the end of a task and the next look is lost. The **price** λ says how many
seconds of delay one request is worth. If h(t) is the hazard of a task (the chance per second that it ends now, at age t,
having run until now), the cheapest rate of looking is close to n(t) = √(h(t) / 2λ), and the next look is due where the
integral of n from this one reaches 1 (J. B. Keller 1974, "Optimum checking schedules for systems subject to random
failure", Management Science 21).

All of it is simpler in log-age u = ln(5 s + t), in which hazards are chances per unit of u:

- ignorance is a hazard of 1 at every age, and gives gap(t) = √(2λ(5 + t)) + λ/2;
- a past duration x is a bell around ln(5 + x), log-logistic in time: with z = k·(u - ln(5 + x)), the share that still
  runs is S = 1 / (1 + eᶻ) and the density k·S·(1 - S);
- a history is a mixture: narrow bells on what was seen, one broad bell around two thirds of their middle ("similar, but not
  the same", and rather shorter, because to be late costs more than to look in vain), and a trace of ignorance that
  never fades.

Seconds everywhere. Ages are those of the task, not of the wait: a wait that begins late, or again, goes on from there.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final, Protocol, Self

import msgspec
from tenacity import RetryCallState
from tenacity.wait import wait_base

OFFSET: Final = 5.0
"""Added to every age: below it the scale of things is not felt."""
OLDEST: Final = 86_400.0
"""No age counts for more than a day, so that every gap is bounded."""
REMEMBERED: Final = 100
"""So many of the newest durations count."""
NARROWEST: Final = 0.18
"""History shortens no gap to less than this part of the gap without it."""
WIDEST: Final = 5.5
"""History stretches no gap to more than this many times the gap without it."""
JITTER: Final = 0.1
"""A pause strays from its gap by up to this part. It adds JITTER²/3 to the delay: 0.3%."""

_YOUNGEST: Final = math.log(OFFSET)
_BROAD: Final = 3.0
_SHORTER: Final = 0.4
_TRACE: Final = 0.005


class HasAge(Protocol):
    """The result of a look, which knows how old its task was then."""

    @property
    def age(self) -> float | None:
        """Seconds since the task was created, or None if nobody said."""


class TimeLeft(msgspec.Struct, frozen=True):
    """In how many seconds half, and nine in ten, of the tasks as old as this one have ended."""

    median: float
    p90: float


class History(msgspec.Struct, frozen=True):
    """What is known of one task type: past durations, newest first, and the ages of tasks that still run.

    Both in seconds. What cannot be a duration (negative, infinite, not a number) is dropped, and so is all but the newest
    hundred. Both are tuples afterwards, whatever they were.
    """

    durations: Sequence[float] = ()
    running: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Keep what can be a duration."""
        for name in self.__struct_fields__:
            usable = (float(value) for value in getattr(self, name) if 0 <= value < math.inf)
            msgspec.structs.force_setattr(self, name, tuple(usable)[:REMEMBERED])

    @property
    def count(self) -> int:
        """The number of past durations."""
        return len(self.durations)

    @property
    def p10(self) -> float | None:
        """One task in ten was at least this quick; None without durations."""
        return self.quantile(0.1)

    @property
    def median(self) -> float | None:
        """The duration in the middle; None without durations."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float | None:
        """One task in ten took at least this long; None without durations."""
        return self.quantile(0.9)

    def quantile(self, share: float) -> float | None:
        """The duration that this share (0 to 1) of the tasks kept within, interpolated; None without durations."""
        if not self.durations:
            return None
        ranked = sorted(self.durations)
        rank = share * (len(ranked) - 1)
        low, high = ranked[math.floor(rank)], ranked[math.ceil(rank)]
        return low + (high - low) * (rank % 1)


class Law:
    """A hazard, constant from each start (in log-age) to the next and for ever from the last, with its two integrals.

    The number of looks grows by √h·dv on the clock v = 2√(5 + t) on which an ignorant poller ticks evenly.
    """

    def __init__(self, starts: Sequence[float], hazards: Sequence[float]) -> None:
        """Sum both integrals up once; each question is then one search."""
        self._starts: Final = starts
        self._hazards: Final = hazards
        self._ended: Final = _integral(starts, hazards)
        self._clock: Final = [2 * math.exp(start / 2) for start in starts]
        self._rates: Final = [math.sqrt(hazard) for hazard in hazards]
        self._looks: Final = _integral(self._clock, self._rates)

    def due(self, age: float, price: float) -> float:
        """The age at which the next look is due, after one at this age."""
        clock = _advance(2 * math.sqrt(OFFSET + age), math.sqrt(2 * price), self._clock, self._rates, self._looks)
        return clock * clock / 4 - OFFSET

    def ended(self, age: float, share: float) -> float:
        """The age at which this share (0 to 1) of the tasks that run at the given age have ended."""
        log_age = math.log(OFFSET + age)
        return math.exp(_advance(log_age, -math.log1p(-share), self._starts, self._hazards, self._ended)) - OFFSET


def _integral(starts: Sequence[float], rates: Sequence[float]) -> list[float]:
    areas = (rate * (end - start) for rate, (start, end) in zip(rates, pairwise(starts), strict=False))
    return list(accumulate(areas, initial=0.0))


def _advance(x: float, amount: float, starts: Sequence[float], rates: Sequence[float], sums: Sequence[float]) -> float:
    """Where the integral of a piecewise constant rate has grown by an amount since x."""
    here = max(bisect_right(starts, x) - 1, 0)
    goal = sums[here] + rates[here] * (x - starts[here]) + amount
    there = bisect_right(sums, goal, lo=here) - 1
    return starts[there] + (goal - sums[there]) / rates[there]


@lru_cache(maxsize=256)
def estimate(history: History) -> Law:
    """The law that a history suggests; ignorance for an empty one.

    The narrow bells have the width of a kernel density estimate: the spread of the log-ages, itself drawn towards 0.15 by
    three imagined durations, over N to the 0.3. The broad bell weighs 0.2 + 0.3/N, more when tasks outlive all that was
    seen. The widths come from synthetic task types that no benchmark shows; the weight is a bargain between a history
    that is right, for which less is better, and one that is wrong by a factor of two.
    """
    seen = sorted(_log_age(duration) for duration in history.durations)
    if not seen:
        return Law([_YOUNGEST], [1.0])
    count, middle = len(seen), math.fsum(seen) / len(seen)
    spread = math.sqrt((3 * 0.15**2 + math.fsum((u - middle) ** 2 for u in seen)) / (count + 2))
    narrow = min(max(2.5 * count**0.3 / spread, 5.0), 60.0)
    weights, outlived = _weights(seen, [_log_age(age) for age in history.running])
    broad = min(0.2 + (0.3 + outlived) / (count + outlived), 0.9)
    scale = (1 - broad) / math.fsum(weights)
    bells = [(middle - _SHORTER, _BROAD, broad), *((u, narrow, weight * scale) for u, weight in zip(seen, weights, strict=True))]
    starts = _knots(seen, narrow)
    hazards = [_hazard((start + end) / 2, bells) for start, end in pairwise(starts)]
    return Law(starts, [*hazards, 1.0])


def _log_age(age: float) -> float:
    return math.log(OFFSET + min(max(0.0, age), OLDEST))


def _weights(seen: Sequence[float], running: Sequence[float]) -> tuple[list[float], float]:
    """The weight of each duration, and how many running tasks have outlived them all.

    A task that still runs will turn out like one of those that took longer: its weight of one is shared out among them
    (B. Efron 1967, "The two sample problem with censored data": redistribution to the right).
    """
    weights, outlived = [1.0] * len(seen), 0
    for age in sorted(running):
        later = bisect_right(seen, age)
        if later == len(seen):
            outlived += 1
        else:
            growth = 1 + 1 / math.fsum(weights[later:])
            weights[later:] = [weight * growth for weight in weights[later:]]
    return weights, float(outlived)


def _knots(seen: Sequence[float], narrow: float) -> list[float]:
    """Log-ages between which the hazard may count as constant: dense around what was seen, coarse elsewhere."""
    first, last = max(seen[0] - 6 / narrow, _YOUNGEST), seen[-1] + 6 / narrow
    before, within, after = math.ceil((first - _YOUNGEST) / 0.1), math.ceil(1.5 * narrow * (last - first)), 30
    return [
        *(_YOUNGEST + (first - _YOUNGEST) * i / before for i in range(before)),
        *(first + (last - first) * i / within for i in range(within)),
        *(last + 0.1 * i for i in range(after)),
    ]


def _hazard(u: float, bells: Sequence[tuple[float, float, float]]) -> float:
    alive = density = _TRACE
    for centre, steepness, weight in bells:
        share = 1 / (1 + math.exp(min(steepness * (u - centre), 700.0)))
        alive += weight * share
        density += weight * steepness * share * (1 - share)
    return density / alive


class Schedule(wait_base):
    """When to look next, from the age of the task: a ``wait`` for any tenacity ``Retrying``.

    ``price`` is the delay in seconds that one request is worth: a higher one means fewer looks. No gap is shorter than
    ``min_interval`` seconds. A history of the same task type makes it look when such tasks end, and yet each gap
    stays within 0.18 and 5.5 times the gap without history, or at ``min_interval`` if that is longer.

    Raises ValueError if ``price`` is not positive, ``min_interval`` is negative, or either is not finite.
    """

    def __init__(self, *, price: float = 0.2, min_interval: float = 0.2, history: History | None = None) -> None:
        if not 0 < price < math.inf:
            message = f"price: not a positive number of seconds ({price})"
            raise ValueError(message)
        if not 0 <= min_interval < math.inf:
            message = f"min_interval: not a number of seconds ({min_interval})"
            raise ValueError(message)
        self.price: Final = price
        self.min_interval: Final = min_interval
        self.history: Final = history or History()
        self._law: Final = estimate(self.history)

    def learned(self, history: History) -> Self:
        """A copy that goes by this history."""
        return type(self)(price=self.price, min_interval=self.min_interval, history=history)

    def gap(self, age: float) -> float:
        """Seconds from a look at this age to the next, without jitter. An impossible age counts as the nearest possible."""
        age = min(max(0.0, age), OLDEST)
        ignorant = math.sqrt(2 * self.price * (OFFSET + age)) + self.price / 2
        gap = self._law.due(age, self.price) - age
        return max(min(max(gap, NARROWEST * ignorant), WIDEST * ignorant), self.min_interval)

    def time_left(self, age: float) -> TimeLeft | None:
        """How long a task of this age still runs, or None without history: there would be no honest answer."""
        if not self.history.durations:
            return None
        age = min(max(0.0, age), OLDEST)
        return TimeLeft(median=self._law.ended(age, 0.5) - age, p90=self._law.ended(age, 0.9) - age)

    def __call__(self, retry_state: RetryCallState) -> float:
        """The gap at the age that the last look found, jittered so that waits started together drift apart.

        A look that failed, or whose result has no age, counts from the start of the wait.
        """
        gap = self.gap(_age(retry_state))
        # The jitter comes after the bounds: the other way round, all waits at a bound would look at once.
        return random.uniform(max(self.min_interval, (1 - JITTER) * gap), (1 + JITTER) * gap)  # noqa: S311 (no secret)


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
