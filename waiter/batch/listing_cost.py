"""The cost of a listing, and the period at which it pays. The unit of cost is one poll of one task.

A poll costs one. A listing costs ``PAGE_COST`` for each page, because a search costs a server more than a row by its key, and
one for each poll whose transfer would take as many bytes. Waits with the intervals g make S = Σ 1/g polls a second. Their
schedule makes g = √(2λ/h), so their tasks end at the rate H = Σ h = 2λ Σ 1/g² together, and the best period of listings of
cost C is √(2λC/H) = √(C/Q) with Q = Σ 1/g² (the same holds for one task, see ``waiter.schedule``). Requests and delay together
then cost 2λ√(CQ), against 2λS for individual polls: **listings pay when C < S²/Q**, which is the number of waits if all
intervals are alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf, sqrt

PAGE_SIZE = 1000
# Measured: decoding and serving a page takes the CPU time of 6 to 11 polls.
PAGE_COST = 10.0
# A server may give shorter pages than it is asked for. One row is about a poll's work, and each page is one more round trip.
SHORT_PAGE_COST = 2.0
# Bytes of a request and its response beside the body.
REQUEST_OVERHEAD = 1000.0
MIN_PERIOD = 0.2


def listing_cost(tasks: int, task_size: float, page_size: int = PAGE_SIZE) -> float:
    """Return what a listing of so many tasks costs, in polls, if a task has so many bytes and a page so many tasks."""
    full_pages = max(1, ceil(tasks / PAGE_SIZE))
    short_pages = max(0, ceil(tasks / page_size) - full_pages)
    return PAGE_COST * full_pages + SHORT_PAGE_COST * short_pages + tasks * task_size / (REQUEST_OVERHEAD + task_size)


def listing_period(intervals: Iterable[float], cost: float) -> float:
    """Return the seconds between two listings for waits with these intervals; infinite when individual polls cost less."""
    rates = [1 / interval for interval in intervals]
    polls, squares = sum(rates), sum(rate * rate for rate in rates)
    return inf if cost * squares >= polls * polls else max(MIN_PERIOD, sqrt(cost / squares))


def ordinary_interval(intervals: Iterable[float]) -> float:
    """Return the quadratic mean of the rates as an interval in seconds; infinite when there are none."""
    squares = [interval**-2 for interval in intervals]
    return (len(squares) / sum(squares)) ** 0.5 if squares else inf
