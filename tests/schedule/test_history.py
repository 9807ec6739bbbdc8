"""What a history keeps, and its quantiles."""

import math

import pytest

from waiter.schedule.history import History


def test_unusable_durations_are_dropped() -> None:
    """Negative, infinite and undefined durations are dropped; zeros and whole numbers are kept."""
    history = History([3, -1.0, math.nan, 0.0, math.inf, 10**400, 2.5], running=[-math.inf, 7])

    assert history.durations == (3.0, 0.0, 2.5)
    assert history.running == (7.0,)


def test_the_newest_durations_are_kept() -> None:
    """Of a thousand durations the newest hundred count."""
    history = History([float(i) for i in range(1_000)])

    assert history.count == 100
    assert tuple(float(i) for i in range(100)) == history.durations


def test_quantiles_are_interpolated() -> None:
    """A quantile between two durations lies between them."""
    history = History([40.0, 10.0, 20.0, 30.0, 50.0])

    assert pytest.approx((history.p10, history.median, history.p90)) == (14.0, 30.0, 46.0)
    assert (history.quantile(0), history.quantile(1)) == (10.0, 50.0)


def test_an_empty_history_has_no_quantiles() -> None:
    """Without durations every quantile is None."""
    history = History()

    assert (history.count, history.p10, history.median, history.p90) == (0, None, None, None)
