"""The hazard of a task: the chance, per unit of age, that a task of this age ends now.

Hazards are simpler over the log-age u = ln(5 s + age), where they are chances per unit of u:

- Without history the hazard is 1 at every age (1 / (5 s + age) per second): no age is more likely than another of its size.
- A past duration x contributes a kernel around ln(5 + x), log-logistic in time. With z = k·(u - ln(5 + x)), the share of
  tasks that are still running is S = 1 / (1 + eᶻ), and the density is k·S·(1 - S).
- A history is a mixture of these kernels, one broad kernel around four fifths of their middle, and a constant of small weight,
  ``_PRIOR_WEIGHT``. The broad kernel stands for "similar, but not the same"; it is rather shorter, because noticing an end
  late costs more than one request too many. When a task outlives the kernels, the rest of the mixture gains weight.
- Tasks that ended in ERROR are such a mixture of their own, with wide kernels: errors come early, and must not widen the
  kernels of the others. The hazards of the two add up, each by its share.
- The usual range of a type is one more kernel, as wide as the range, which counts for three durations at most and fades with
  a history.

The kernels are as wide as the distances between neighbouring durations suggest, so that a type with two humps or a few
outliers still has narrow ones.
"""

import math
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from waiter.schedule.history import History

OFFSET: Final = 5.0
"""Seconds added to every age before the logarithm is taken."""
MAX_AGE: Final = 86_400.0
"""Higher ages count as this one, so that every interval is bounded."""

ESTIMATE_SIZE: Final = 20
"""Only this many of the newest durations are used, so that the estimate follows a type whose tasks become slower."""
USUAL_COUNT: Final = 3
"""A usual range counts for so many durations."""

_MIN_LOG_AGE: Final = math.log(OFFSET)
_PRIOR_WEIGHT: Final = 0.003
_STEEPNESS_EXPONENT: Final = 0.2
_MAX_STEEPNESS: Final = 50.0
_PRIOR_SPREAD: Final = 0.15
_NEIGHBOURS: Final = 0.5  # on each side, times the square root of the count
_MIN_DISTANCE: Final = 0.1  # neighbours that are equal count as this part of the usual distance apart
_NORMAL_DISTANCE: Final = 4.13  # exp(entropy) of a normal distribution whose standard deviation is 1
_ERROR_STEEPNESS: Final = 2.0
_USUAL_STEEPNESS: Final = 4.4  # over the width of the range: eight in ten of a log-logistic distribution are then within it
_MAX_KNOTS: Final = 160


class Purpose(NamedTuple):
    """The constants that depend on what an estimate is for."""

    steepness: float
    broad_steepness: float
    broad_shift: float
    broad_weight: float
    broad_weight_of_few: float


FOR_COST: Final = Purpose(1.8, 3.0, 0.25, 0.2, 0.56)
"""For polling at the least cost, which needs caution: tasks may end earlier than those before."""
FOR_TIME_LEFT: Final = Purpose(3.0, 3.6, 0.2, 0.05, 0.5)
"""For the time left: half of the tasks end within the median."""


class CumulativeHazard:
    """The expected number of ends up to an age: the integral of a hazard given at log-ages, and 1 beyond the last."""

    def __init__(self, log_ages: Sequence[float], hazards: Sequence[float]) -> None:
        self.log_ages: Final = log_ages
        self.hazards: Final = hazards
        self.values: Final = list(accumulate(_trapezoids(log_ages, hazards), initial=0.0))

    def age_when_ended(self, age: float, share: float) -> float:
        """Return the age at which this share (0 to 1) of the tasks that are running at ``age`` have ended."""
        log_ages, values = [*self.log_ages, self.log_ages[-1] + 50], [*self.values, self.values[-1] + 50]
        target = interpolate(math.log(OFFSET + age), log_ages, values) - math.log1p(-share)
        return math.exp(interpolate(target, values, log_ages)) - OFFSET


def _trapezoids(xs: Sequence[float], ys: Sequence[float]) -> Iterator[float]:
    return ((b - a) * (c + d) / 2 for (a, b), (c, d) in zip(pairwise(xs), pairwise(ys), strict=True))


def interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the value at x of the straight lines between points; beyond the points, the first or last line is extended."""
    i = min(max(bisect_right(xs, x), 1), len(xs) - 1)
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (x - xs[i - 1]) / (xs[i] - xs[i - 1])


@lru_cache(maxsize=256)
def estimate(history: History, purpose: Purpose = FOR_COST) -> CumulativeHazard:
    """Return the hazard that a history suggests, which has at least one duration or a usual range.

    The weight of the broad kernel balances histories that are right, for which less is better, against those that are wrong by
    a factor of two. A running task that has outlived all durations counts as one that ends now. The constants were chosen by
    cost on random distributions (``tests/benchmarks/constants.py``); ``tests/benchmarks/fresh.py`` measures them on others.
    """
    finished, errors = _newest(history)
    log_ages, weights = _centres(finished, history)
    steepness = _steepness(log_ages, weights, purpose)
    kernels = [(log_age, weight, steepness) for log_age, weight in zip(log_ages, weights, strict=True)]
    if history.usual:
        kernels.append(_usual_kernel(*map(_log_age, history.usual), count=len(finished)))
    count = math.fsum(weight for _, weight, _ in kernels)
    middle = math.fsum(centre * weight for centre, weight, _ in kernels) / count
    broad = purpose.broad_weight + purpose.broad_weight_of_few / (count + 1)
    error_share = len(errors) / (len(errors) + count)
    scale = (1 - broad) * (1 - error_share) / count
    knots = _knots(kernels)
    kernels = [(centre, weight * scale, steep) for centre, weight, steep in kernels]
    kernels.append((middle - purpose.broad_shift, broad * (1 - error_share), purpose.broad_steepness))
    kernels += [(_log_age(error), error_share / len(errors), _ERROR_STEEPNESS) for error in errors]
    return CumulativeHazard(knots, [_hazard(knot, kernels) for knot in knots])


def _newest(history: History) -> tuple[list[float], list[float]]:
    """Return the newest durations, without those that ended in ERROR, and these; only errors count as durations."""
    finished = list(history.durations[:ESTIMATE_SIZE])
    errors = [error for error in history.errors if error in finished]
    for error in errors:
        if error in finished:
            finished.remove(error)
    return (finished, errors) if finished else (errors, [])


def _centres(finished: Sequence[float], history: History) -> tuple[list[float], list[float]]:
    """Return the log-ages of the durations in ascending order, and how many durations each counts for."""
    if not finished:
        return [], []
    longest = max(finished)
    outlived = [age for age in history.running if age > longest]
    log_ages = sorted(map(_log_age, (*finished, *outlived)))
    return log_ages, _redistribute(log_ages, [_log_age(age) for age in history.running if age <= longest])


def _usual_kernel(low: float, high: float, *, count: int) -> tuple[float, float, float]:
    """Return centre, weight and steepness of the kernel for a usual range of log-ages, beside so many durations."""
    steepness = min(_USUAL_STEEPNESS / max(high - low, 1 / MAX_AGE), _MAX_STEEPNESS)
    return (low + high) / 2, USUAL_COUNT / (1 + USUAL_COUNT * count), steepness


def _log_age(age: float) -> float:
    return math.log(OFFSET + min(max(0.0, age), MAX_AGE))


def _redistribute(centres: Sequence[float], running: Sequence[float]) -> list[float]:
    """Return the weight of each log-age of a duration; they sum to the number of durations.

    A running task will end like one of those that took longer, so its weight is divided among them (B. Efron 1967, "The two
    sample problem with censored data": redistribution to the right).
    """
    weights = [1.0] * len(centres)
    for age in sorted(running):
        later = bisect_left(centres, age)
        growth = 1 + 1 / math.fsum(weights[later:])
        weights[later:] = [weight * growth for weight in weights[later:]]
    scale = len(centres) / math.fsum(weights)
    return [weight * scale for weight in weights]


def _steepness(log_ages: Sequence[float], weights: Sequence[float], purpose: Purpose) -> float:
    """Return how steep the kernels are: the inverse of the width of the distribution, steeper for more durations.

    The width is the geometric mean of the distances between neighbours, as a multiple of those of a normal distribution whose
    standard deviation is 1. Unlike the standard deviation of the durations, which scales small distances here and replaces the
    width of fewer than three, it does not grow with outliers and with the distance between two humps. Two imagined durations
    keep it away from 0 (B. W. Silverman 1986, "Density estimation", 3.4.2: kernels narrow with the fifth root of the count).
    """
    count = len(log_ages)
    if not count:
        return _MAX_STEEPNESS
    middle = math.fsum(map(operator.mul, weights, log_ages)) / count
    squares = math.fsum(weight * (log_age - middle) ** 2 for log_age, weight in zip(log_ages, weights, strict=True))
    width = math.sqrt((2 * _PRIOR_SPREAD**2 + squares) / (count + 1))
    if count > 2:  # noqa: PLR2004 - fewer have no neighbours on both sides
        reach = max(1, round(_NEIGHBOURS * math.sqrt(count)))
        ranks = list(accumulate(weights))
        near = [(max(0, i - reach), min(count - 1, i + reach)) for i in range(count)]
        distances = [(log_ages[j] - log_ages[i]) * count / (ranks[j] - ranks[i]) / _NORMAL_DISTANCE for i, j in near]
        width = math.exp(math.fsum(math.log(distance + _MIN_DISTANCE * width) for distance in distances) / count)
    return min(purpose.steepness * math.pow(count, _STEEPNESS_EXPONENT) / width, _MAX_STEEPNESS)


def _knots(kernels: Sequence[tuple[float, float, float]]) -> list[float]:
    """Return log-ages between which the hazard counts as straight: dense around each kernel, coarse elsewhere.

    The kernels of the durations, which are equally steep, share their knots; a usual range has its own.
    """
    knots = []
    for steepness in sorted({steepness for _, _, steepness in kernels}):
        centres = [centre for centre, _, steep in kernels if steep == steepness]
        first = max(_MIN_LOG_AGE, min(centres) - 6 / steepness)
        last = max(centres) + 6 / steepness
        knots += _evenly(first, last, min(math.ceil(2 * steepness * (last - first)), _MAX_KNOTS))
    first, last = min(knots), max(knots)
    before = _evenly(_MIN_LOG_AGE, first, math.ceil((first - _MIN_LOG_AGE) / 0.1))
    return [*before, *sorted(set(knots)), *_evenly(last, last + 3, 15)[1:]]


def _evenly(first: float, last: float, count: int) -> list[float]:
    return [first + (last - first) * i / count for i in range(count)]


def _hazard(log_age: float, kernels: Sequence[tuple[float, float, float]]) -> float:
    """Return the hazard of a mixture of kernels (centre, weight, steepness) and of the constant part at a log-age."""
    running = density = _PRIOR_WEIGHT
    for centre, weight, steepness in kernels:
        share = 0.5 - 0.5 * math.tanh(0.5 * steepness * (log_age - centre))  # 1 / (1 + eᶻ), which could overflow
        running += weight * share
        density += weight * steepness * share * (1 - share)
    return density / running
