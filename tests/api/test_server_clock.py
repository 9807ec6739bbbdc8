"""The age of a task by the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.api.server_clock import ServerClock

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_age_is_the_servers_time_since_creation() -> None:
    """Date minus created_on plus the time since; a time of whole seconds counts as the middle of its second."""
    clock = ServerClock()
    clock.observe(NOON, sent_at=1000, received_at=1000)
    assert clock.age(NOON - timedelta(seconds=60), now=1000) == 60
    assert clock.age(NOON - timedelta(seconds=60), now=1007) == 67
    assert clock.age(NOON - timedelta(seconds=60, milliseconds=250), now=1000) == 60.75


@pytest.mark.parametrize("observed", [True, False])
def test_age_is_none_without_a_date_or_a_creation(observed: bool) -> None:
    """The local clock is not used instead."""
    clock = ServerClock()
    clock.observe(NOON if observed else None, sent_at=0, received_at=0)
    assert clock.age(None if observed else NOON, now=5) is None


def test_age_is_never_negative() -> None:
    """A task that was created in the future has the age 0."""
    clock = ServerClock()
    clock.observe(NOON, sent_at=0, received_at=0)
    assert clock.age(NOON + timedelta(hours=1), now=0) == 0


def test_newest_date_counts_after_a_contradiction() -> None:
    """The server's clock may have been set."""
    clock = ServerClock()
    clock.observe(NOON, sent_at=0, received_at=0)
    clock.observe(NOON + timedelta(hours=1), sent_at=1, received_at=1)
    assert clock.age(NOON, now=1) == 3600


@given(
    st.floats(-4000, 4000),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_error_of_the_age_is_bounded(skew: float, responses: list[tuple[float, float, float]]) -> None:
    """For any skew and latency, the true age lies within the bounds, which only narrow."""
    clock, now = ServerClock(), 0.0
    start = NOON.timestamp() + skew
    created = datetime.fromtimestamp(start - 100, UTC).replace(microsecond=123_456)
    for pause, there, back in responses:
        sent_at = now + pause
        date = datetime.fromtimestamp(int(start + sent_at + there), UTC)
        now = sent_at + there + back
        clock.observe(date, sent_at=sent_at, received_at=now)
    age = clock.age(created, now=now)
    assert age is not None
    assert abs(age - (start + now - created.timestamp())) <= 0.5 + (there + back) / 2 + 1e-3 or len(responses) > 1
    assert abs(age - (start + now - created.timestamp())) <= 1.5 + 1e-3
