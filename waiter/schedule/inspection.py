"""When to poll, given a hazard and a price: polling as an inspection problem.

A poll costs a request, and every second between the end of a task and the next poll is lost. The **price** λ is the delay in
seconds that one request is worth. For a hazard of h per second the cheapest rate of polls is close to √(h / 2λ) (J. B. Keller
1974, "Optimum checking schedules for systems subject to random failure", Management Science 21). That values everything after
the next poll, so that the next poll can be placed where the sum is least.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from waiter.schedule.hazard import OFFSET, CumulativeHazard, interpolate

_FOLLOWING_REQUESTS: Final = 0.7
_MIN_SLOPE: Final = 0.002
"""Expected ends until a poll is due, per unit of log-age, at least: without it, intervals would jump."""


def uninformed_interval(age: float, price: float) -> float:
    """Return the seconds from a poll at this age to the next when nothing is known of such tasks."""
    return math.sqrt(2 * price * (OFFSET + age)) + price / 2


class InspectionPolicy:
    """The intervals between polls that are cheapest for a hazard and a price.

    Let S(b) be the share of tasks that are still running at age b, and W(b) the cost of all that follows a poll at b: by
    Keller's density, the integral of √(2λh)·S from b on, plus c·λ·S(b) with c = ``_FOLLOWING_REQUESTS``. The best poll
    after one at a is where W(b) + S(a)·b, less the integral of S up to b, is least: to postpone it beyond b costs S(a) per
    second, and gains q(b) = S(b)·(1 + √(2λh) + c·λh). Let q̄ be q with every rise levelled to the mean over the seconds
    around it, as a convex hull would. It never rises, and the poll is due where q̄(b) = S(a).

    A higher price raises q at every b, and so q̄, and so every interval.
    """

    def __init__(self, hazard: CumulativeHazard, price: float) -> None:
        self.max_age: Final = math.exp(hazard.log_ages[-1]) - OFFSET
        self._hazard: Final = hazard
        ages = [math.exp(log_age) for log_age in hazard.log_ages]
        rates = [math.sqrt(2 * price * value / age) for value, age in zip(hazard.hazards, ages, strict=True)]
        gains = [
            math.exp(-ends) * (1 + rate + _FOLLOWING_REQUESTS * rate**2 / 2)
            for ends, rate in zip(hazard.values, rates, strict=True)
        ]
        widths = [after - before for before, after in zip([ages[0], *ages[:-1]], [*ages[1:], ages[-1]], strict=True)]
        self._ends: Final = [-math.log(gain) for gain in _levelled(gains, widths)]
        self._ends.append(hazard.values[-1])
        self._due: Final = [*hazard.log_ages, math.log(ages[-1] + uninformed_interval(ages[-1] - OFFSET, price))]
        for i, (before, after) in enumerate(pairwise(self._due), 1):
            self._ends[i] = max(self._ends[i], self._ends[i - 1] + _MIN_SLOPE * (after - before))

    def interval(self, age: float) -> float:
        """Return the seconds from a poll at this age, up to ``max_age``, to the next."""
        ends = interpolate(math.log(OFFSET + age), self._hazard.log_ages, self._hazard.values)
        return math.exp(interpolate(ends, self._ends, self._due)) - OFFSET - age


def _levelled(heights: Sequence[float], widths: Sequence[float]) -> Iterator[float]:
    """Yield the heights of columns, averaged where they would rise (M. Ayer et al. 1955: pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for height, width in zip(heights, widths, strict=True):
        area, total_width, count = height * width, width, 1
        while pools and pools[-1][0] * total_width <= area * pools[-1][1]:
            previous = pools.pop()
            area, total_width, count = area + previous[0], total_width + previous[1], count + previous[2]
        pools.append((area, total_width, count))
    for area, total_width, count in pools:
        yield from [area / total_width] * count
