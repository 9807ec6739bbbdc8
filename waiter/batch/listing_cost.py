"""What a listing costs, and when it is worth it; the unit is one look at one task.

A look costs one. A listing costs what its bytes would buy in looks, and :data:`PAGE` for each page, because a search costs a
server more than a row by its key. Waits with the gaps g look S = Σ 1/g times a second. Their schedule makes g = √(2λ/h), so
their tasks end at the rate H = Σ h = 2λ Σ 1/g² together, and the best time between two listings of cost C is √(2λC/H) = √(C/Q)
with Q = Σ 1/g² (the same law as for one task, see ``schedule``). Requests and delay together then cost 2λ√(CQ), against 2λS for
single looks: **the listing pays when C < S²/Q**, which is the number of waits if all gaps are alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf, sqrt

FULL_PAGE = 1000
# Measured: decoding and serving a page takes the CPU of 6 to 11 looks.
PAGE = 10.0
# What a request costs beside the body of its answer, in bytes: the heads of both.
HEADS = 1000.0
LEAST_PERIOD = 0.2


def cost_of(tasks: int, size: float) -> float:
    """What a listing of so many tasks costs; ``size`` is that of a task in bytes."""
    return PAGE * max(1, ceil(tasks / FULL_PAGE)) + tasks * size / (HEADS + size)


def period_of(gaps: Iterable[float], cost: float) -> float:
    """Seconds from one listing to the next for waits with these gaps in seconds; infinite when single looks are cheaper."""
    rates = [1 / gap for gap in gaps]
    looks, squares = sum(rates), sum(rate * rate for rate in rates)
    return inf if cost * squares >= looks * looks else max(LEAST_PERIOD, sqrt(cost / squares))
