"""The intervals that are cheapest for a hazard and a price."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.schedule.hazard import CumulativeHazard, estimate
from waiter.schedule.history import History
from waiter.schedule.inspection import InspectionPolicy, uninformed_interval


def test_poll_comes_after_a_moment_at_which_all_tasks_end() -> None:
    """When all tasks end within the same second, no poll is spent before it."""
    log_ages = [math.log(5 + age) for age in (0, 60, 60.01, 60.99, 61, 600)]
    policy = InspectionPolicy(CumulativeHazard(log_ages, [0.0, 0.0, 500.0, 500.0, 0.0, 0.0]), 0.2)

    assert 60 < 30 + policy.interval(30) < 61.5


@given(
    durations=st.lists(st.floats(min_value=0, max_value=5_000), min_size=1, max_size=30),
    share=st.floats(min_value=0, max_value=1),
    price=st.floats(min_value=0.001, max_value=100),
)
def test_next_poll_is_later_for_an_older_task(durations: list[float], share: float, price: float) -> None:
    """Of two tasks, the older one's next poll is never at a lower age."""
    policy = InspectionPolicy(estimate(History(durations)), price)
    young, old = share * policy.max_age * 0.9, share * policy.max_age

    assert young + policy.interval(young) <= (old + policy.interval(old)) * (1 + 1e-9)


@pytest.mark.parametrize("price", [0.01, 0.2, 5.0])
def test_interval_at_the_highest_age_is_the_uninformed_one(price: float) -> None:
    """Where the history ends, the policy continues with the interval that needs none."""
    policy = InspectionPolicy(estimate(History([20.0, 25.0])), price)

    assert policy.interval(policy.max_age) == pytest.approx(uninformed_interval(policy.max_age, price))


@pytest.mark.parametrize(("age", "price"), [(0.0, 0.2), (60.0, 0.05), (1_800.0, 3.0)])
def test_uninformed_interval(age: float, price: float) -> None:
    """Without history the interval is √(2λ(5 + age)) + λ/2."""
    assert uninformed_interval(age, price) == pytest.approx(math.sqrt(2 * price * (5 + age)) + price / 2)
