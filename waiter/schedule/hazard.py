"""What is known of how long a task will take: a history, the law that it suggests, and the pace that the law deserves.

Laws are simpler in log-age u = ln(5 s + t), in which hazards are chances per unit of u:

- ignorance is a hazard of 1 at every age, and gives gap(t) = √(2λ(5 + t)) + λ/2;
- a past duration x is a bell around ln(5 + x), log-logistic in time: with z = k·(u - ln(5 + x)), the share that still
  runs is S = 1 / (1 + eᶻ) and the density k·S·(1 - S);
- a history is a mixture: narrow bells on what was seen, one broad bell around two thirds of their middle ("similar, but
  not the same", and rather shorter, because to be late costs more than to look in vain), and a trace of ignorance that
  never fades. As a task outlives the bells, the rest gains weight: the law doubts itself.
"""

import math
import operator
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

import msgspec

OFFSET: Final = 5.0
"""Added to every age: below it the scale of things is not felt."""
MAX_AGE: Final = 86_400.0
"""No age counts for more than a day, so that every gap is bounded."""
REMEMBERED: Final = 100
"""So many of the newest durations count."""

_YOUNGEST: Final = math.log(OFFSET)
_BROAD: Final = 3.6
_SHORTER: Final = 0.45
_TRACE: Final = 0.003
_DOUBT: Final = 0.25
_DOUBT_OF_FEW: Final = 0.56
_STEEP: Final = 1.8
_STEEPER_BY_COUNT: Final = 0.2
_STEEPEST: Final = 50.0
_REACH: Final = 0.5  # so many neighbours on each side, times √N
_ALIKE: Final = 0.1  # no distance at all counts as this part of the usual one
_EDGES: Final = 2.0
_LOCAL: Final = 0.3
_AHEAD: Final = 0.7
_FLOOR: Final = 0.002  # ends until a look comes due, for each unit of log-age, at least: it keeps gaps continuous in age


class History(msgspec.Struct, frozen=True):
    """What is known of one task type: past durations, newest first, and the ages of tasks that still run.

    What is negative, infinite or not a number is dropped, and so is all but the newest hundred.
    """

    durations: Sequence[float] = ()
    running: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Keep what can be a duration."""
        for name in self.__struct_fields__:
            usable = (float(value) for value in getattr(self, name) if 0 <= value <= sys.float_info.max)
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
        return ranked[int(rank)] + (ranked[math.ceil(rank)] - ranked[int(rank)]) * (rank % 1)


class CumulativeHazard:
    """The number of ends to expect until an age: the integral of a hazard, given at log-ages, that is 1 ever after."""

    def __init__(self, log_ages: Sequence[float], hazards: Sequence[float]) -> None:
        self.log_ages: Final = log_ages
        self.hazards: Final = hazards
        self.ends: Final = list(accumulate(_areas(log_ages, hazards), initial=0.0))

    def ended(self, age: float, share: float) -> float:
        """The age at which this share (0 to 1) of the tasks that run at the given age have ended."""
        log_ages, ends = [*self.log_ages, self.log_ages[-1] + 50], [*self.ends, self.ends[-1] + 50]
        goal = _read(math.log(OFFSET + age), log_ages, ends) - math.log1p(-share)
        return math.exp(_read(goal, ends, log_ages)) - OFFSET


def _areas(xs: Sequence[float], ys: Sequence[float]) -> Iterator[float]:
    """The areas under the straight lines between points."""
    return ((b - a) * (c + d) / 2 for (a, b), (c, d) in zip(pairwise(xs), pairwise(ys), strict=True))


def _read(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Where the straight lines between points, or the first or last of them prolonged, are at x."""
    i = min(max(bisect_right(xs, x), 1), len(xs) - 1)
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (x - xs[i - 1]) / (xs[i] - xs[i - 1])


class Pace:
    """When the next look is due, for a law and a price.

    Let S(b) be the share that still runs at b, and W(b) the cost of all that follows a look at b: by Keller's density the
    integral of √(2λh)·S from b on, and _AHEAD·λ·S(b). The best look after one at a is where W(b) + S(a)·b, less the integral of
    S up to b, is least: to put it off beyond b costs S(a) a second, and is worth q(b) = S(b)·(1 + √(2λh) + _AHEAD·λh). Let q̄ be
    what q becomes when every rise is levelled to a mean over the seconds around it, as a convex hull would. It never rises, and
    the look is due where q̄(b) = S(a).

    The dearer a request, the more is q at every b, and so is q̄, and so is the gap.
    """

    def __init__(self, law: CumulativeHazard, price: float) -> None:
        self.until: Final = math.exp(law.log_ages[-1]) - OFFSET
        self._law: Final = law
        ages = [math.exp(log_age) for log_age in law.log_ages]
        steps = [math.sqrt(2 * price * hazard / age) for hazard, age in zip(law.hazards, ages, strict=True)]
        worth = [math.exp(-e) * (1 + step + _AHEAD * step**2 / 2) for e, step in zip(law.ends, steps, strict=True)]
        widths = [there - here for here, there in zip([ages[0], *ages[:-1]], [*ages[1:], ages[-1]], strict=True)]
        self._ends: Final = [-math.log(one) for one in _falling(worth, widths)]
        self._ends.append(law.ends[-1])
        self._due: Final = [*law.log_ages, math.log(ages[-1] + uninformed_interval(ages[-1] - OFFSET, price))]
        for i, (here, there) in enumerate(pairwise(self._due), 1):
            self._ends[i] = max(self._ends[i], self._ends[i - 1] + _FLOOR * (there - here))

    def gap(self, age: float) -> float:
        """Seconds from a look at this age, within what was seen, to the next."""
        ends = _read(math.log(OFFSET + age), self._law.log_ages, self._law.ends)
        return math.exp(_read(ends, self._ends, self._due)) - OFFSET - age


def _falling(heights: Sequence[float], widths: Sequence[float]) -> Iterator[float]:
    """The heights of columns, levelled where they would rise (M. Ayer et al. 1955: pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for height, width in zip(heights, widths, strict=True):
        pool = height * width, width, 1
        while pools and pools[-1][0] * pool[1] <= pool[0] * pools[-1][1]:
            area, together, count = pools.pop()
            pool = area + pool[0], together + pool[1], count + pool[2]
        pools.append(pool)
    for area, together, count in pools:
        yield from [area / together] * count


def uninformed_interval(age: float, price: float) -> float:
    """Seconds from a look at this age to the next, when nothing is known of such tasks."""
    return math.sqrt(2 * price * (OFFSET + age)) + price / 2


@lru_cache(maxsize=256)
def estimate(history: History) -> CumulativeHazard:
    """The law that a history of one duration or more suggests.

    The weight of the broad bell is a bargain between a history that is right, for which less is better, and one that is wrong
    by a factor of two. A task that has outlived all that ended counts as ended now. The constants were tuned by cost on random
    laws; tests/benchmarks shows what they are worth on others.
    """
    longest = max(history.durations)
    outlived = (age for age in history.running if age > longest)
    seen = sorted(map(_log_age, (*history.durations, *outlived)))
    weights = _weights(seen, [_log_age(age) for age in history.running if age <= longest])
    middle = math.fsum(map(operator.mul, weights, seen))
    narrow = _steepness(seen, middle)
    broad = _DOUBT + _DOUBT_OF_FEW / (len(seen) + 1)
    weights = [*(weight * (1 - broad) for weight in weights), broad]
    log_ages = _knots(seen, narrow)
    return CumulativeHazard(log_ages, [*_hazards(log_ages, [*seen, middle - _SHORTER], weights, [*narrow, _BROAD])])


def _log_age(age: float) -> float:
    return math.log(OFFSET + min(max(0.0, age), MAX_AGE))


def _weights(seen: Sequence[float], running: Sequence[float]) -> list[float]:
    """The weights of the log-ages seen, 1 together.

    A task that still runs will turn out like one of those that took longer: its weight is shared out among them
    (B. Efron 1967, "The two sample problem with censored data": redistribution to the right).
    """
    weights = [1.0] * len(seen)
    for age in sorted(running):
        later = bisect_left(seen, age)
        growth = 1 + 1 / math.fsum(weights[later:])
        weights[later:] = [weight * growth for weight in weights[later:]]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]


def _steepness(seen: Sequence[float], middle: float) -> list[float]:
    """How steep the bell around each log-age is: a kernel density estimate, whose width is that of the law.

    The first guess is the spread of the log-ages, drawn towards 0.15 by two imagined ones. When they lie closer to their
    neighbours than those of a normal law of that spread, whose entropy is ln(4.13 spread), the law has an edge or humps, which
    bells as wide as the spread would blur. And bells are narrowest where the log-ages lie closest (I. S. Abramson 1982, "On
    bandwidth variation in kernel estimates").
    """
    count = len(seen)
    spread = math.sqrt((2 * 0.15**2 + math.fsum((log_age - middle) ** 2 for log_age in seen)) / (count + 1))
    steepness = _STEEP * count**_STEEPER_BY_COUNT / spread
    if count < 3:  # noqa: PLR2004 - fewer have no neighbours on both sides
        return [min(steepness, _STEEPEST)] * count
    reach = max(1, round(_REACH * math.sqrt(count)))
    near = [(max(0, i - reach), min(count - 1, i + reach)) for i in range(count)]
    sparse = [math.log(count * (seen[j] - seen[i]) / (j - i) / (4.13 * spread) + _ALIKE) for i, j in near]
    mean = math.fsum(sparse) / count
    steepness *= math.exp(-_EDGES * mean)
    return [min(max(steepness * math.exp(_LOCAL * (mean - here)), 2.0), _STEEPEST) for here in sparse]


def _knots(seen: Sequence[float], steepness: Sequence[float]) -> list[float]:
    """Log-ages between which the hazard may count as straight: dense around what was seen, coarse elsewhere."""
    first = max(_YOUNGEST, min(u - 6 / k for u, k in zip(seen, steepness, strict=True)))
    last = max(u + 6 / k for u, k in zip(seen, steepness, strict=True))
    before = math.ceil((first - _YOUNGEST) / 0.1)
    # As many as the narrower bells need, and never so many that a wait would feel it.
    within = min(math.ceil(2 * sorted(steepness)[2 * len(seen) // 3] * (last - first)), 160)
    return [*_even(_YOUNGEST, first, before), *_even(first, last, within), *_even(last, last + 3, 15)]


def _even(first: float, last: float, count: int) -> list[float]:
    return [first + (last - first) * i / count for i in range(count)]


def _hazards(
    log_ages: Iterable[float], centres: Sequence[float], weights: Sequence[float], steepness: Sequence[float]
) -> Iterator[float]:
    """The hazards of a mixture of bells, and of a trace of ignorance, at these log-ages."""
    heights = [*map(operator.mul, weights, steepness)]
    starts = [*map(operator.mul, centres, steepness)]
    exp = math.exp
    for u in log_ages:
        shares = [1 / (1 + exp(k * u - start)) for k, start in zip(steepness, starts, strict=True)]
        alive = sum(map(operator.mul, weights, shares))
        density = sum(h * s * (1 - s) for h, s in zip(heights, shares, strict=True))
        yield (density + _TRACE) / (alive + _TRACE)
