"""What a listing costs, and how often it pays."""

from __future__ import annotations

from math import inf

import pytest

from waiter.batch.listing_cost import MIN_PERIOD, SHORT_PAGE_COST, listing_cost, listing_period, ordinary_interval


@pytest.mark.parametrize(("tasks", "cost"), [(0, 10), (10, 15), (1000, 510), (1001, 520.5)])
def test_cost_is_ten_polls_a_page_and_the_bytes_of_its_tasks(tasks: int, cost: float) -> None:
    """A task of 1,000 bytes costs half a poll, because the heads of a poll are as long."""
    assert listing_cost(tasks, 1000) == cost


@pytest.mark.parametrize(("interval", "period"), [(40, 20), (0.01, MIN_PERIOD)])
def test_period_follows_the_intervals_down_to_a_minimum(interval: float, period: float) -> None:
    """A hundred waits and a listing that costs 25 polls: half an interval."""
    assert listing_period([interval] * 100, 25) == pytest.approx(period)


@pytest.mark.parametrize(("waits", "period"), [(26, 40 * (25 / 26) ** 0.5), (25, inf), (0, inf)])
def test_no_period_when_individual_polls_cost_less(waits: int, period: float) -> None:
    """With equal intervals a listing pays when it costs less than one poll for each wait."""
    assert listing_period([40] * waits, 25) == pytest.approx(period)


def test_short_pages_cost_a_round_trip_each() -> None:
    """A server that gives ten rows where a thousand are asked for makes nine more round trips for a hundred tasks."""
    assert listing_cost(100, 1000, page_size=10) == listing_cost(100, 1000) + 9 * SHORT_PAGE_COST


@pytest.mark.parametrize(("intervals", "ordinary"), [([], inf), ([4.0] * 9, 4.0), ([1.0, 1e9], 2**0.5)])
def test_ordinary_interval_is_that_of_the_frequent_polls(intervals: list[float], ordinary: float) -> None:
    """A wait that hardly polls does not count."""
    assert ordinary_interval(intervals) == pytest.approx(ordinary)
