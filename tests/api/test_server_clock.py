"""The age of a task, by the server's clock alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.api.server_clock import ServerClock

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_the_age_is_the_servers_time_since_creation() -> None:
    """Date less created_on, and the time since; a time of whole seconds stands for the middle of its second."""
    clock = ServerClock()
    clock.observe(NOON, asked_at=1000, answered_at=1000)
    assert clock.age(NOON - timedelta(seconds=60), now=1000) == 60
    assert clock.age(NOON - timedelta(seconds=60), now=1007) == 67
    assert clock.age(NOON - timedelta(seconds=60, milliseconds=250), now=1000) == 60.75


@pytest.mark.parametrize("observed", [True, False])
def test_without_a_date_or_a_creation_there_is_no_age(observed: bool) -> None:
    """Nothing is guessed from our own clock."""
    clock = ServerClock()
    clock.observe(NOON if observed else None, asked_at=0, answered_at=0)
    assert clock.age(None if observed else NOON, now=5) is None


def test_a_task_from_the_future_is_new() -> None:
    """An age is never negative."""
    clock = ServerClock()
    clock.observe(NOON, asked_at=0, answered_at=0)
    assert clock.age(NOON + timedelta(hours=1), now=0) == 0


def test_a_clock_that_was_set_is_believed() -> None:
    """When answers contradict each other, the newest counts."""
    clock = ServerClock()
    clock.observe(NOON, asked_at=0, answered_at=0)
    clock.observe(NOON + timedelta(hours=1), asked_at=1, answered_at=1)
    assert clock.age(NOON, now=1) == 3600


@given(
    st.floats(-4000, 4000),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_the_age_is_right_to_within_a_second_and_gets_no_worse(skew: float, answers: list[tuple[float, float, float]]) -> None:
    """Whatever the skew and the latency, the truth lies within the bounds, which only narrow."""
    clock, now = ServerClock(), 0.0
    start = NOON.timestamp() + skew
    created = datetime.fromtimestamp(start - 100, UTC).replace(microsecond=123_456)
    for pause, there, back in answers:
        asked_at = now + pause
        date = datetime.fromtimestamp(int(start + asked_at + there), UTC)
        now = asked_at + there + back
        clock.observe(date, asked_at=asked_at, answered_at=now)
    age = clock.age(created, now=now)
    assert age is not None
    assert abs(age - (start + now - created.timestamp())) <= 0.5 + (there + back) / 2 + 1e-3 or len(answers) > 1
    assert abs(age - (start + now - created.timestamp())) <= 1.5 + 1e-3
