"""When to poll next: intervals, their bounds for any history, the time left, and use in tenacity's loop."""

import math
import random
import statistics
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tenacity import Future, RetryCallState, Retrying, retry_if_result, wait_fixed

from waiter.schedule.hazard import MAX_AGE
from waiter.schedule.history import History
from waiter.schedule.schedule import MAX_INTERVAL_FACTOR, MIN_INTERVAL_FACTOR, Schedule, TimeLeft

VM = History([21.0, 19.5, 24.0, 18.0, 20.5, 22.0, 35.0, 19.0, 20.0, 23.5])

any_floats = st.floats(allow_nan=True, allow_infinity=True)
durations = st.floats(min_value=0, max_value=5_000)
equal_durations = st.tuples(durations, st.integers(1, 1_000)).map(lambda pair: [pair[0]] * pair[1])
values: st.SearchStrategy[list[float]] = st.one_of(
    st.just([]), st.just([0.0]), equal_durations, st.lists(st.one_of(any_floats, durations), max_size=120)
)
usual_ranges = st.none() | st.tuples(durations, durations).map(sorted).map(tuple)
histories = st.builds(History, durations=values, running=values, errors=values, usual=usual_ranges)
ages = st.floats(min_value=0, max_value=2 * MAX_AGE)
prices = st.floats(min_value=0.001, max_value=100)


def retry_state(result: Any = None, *, error: Exception | None = None, seconds: float | None = 0.0) -> RetryCallState:
    """Return what tenacity knows after a poll that ended so many seconds after the start."""
    state = RetryCallState(Retrying(), None, (), {})
    state.outcome = Future.construct(1, error or result, has_exception=error is not None)
    state.outcome_timestamp = None if seconds is None else state.start_time + seconds
    return state


def poll_ages(schedule: Schedule, until: float) -> list[float]:
    """Return the ages at the polls, without jitter."""
    polls = [0.0]
    while polls[-1] < until:
        polls.append(polls[-1] + schedule.interval(polls[-1]))
    return polls


# Intervals


@pytest.mark.parametrize(("age", "interval"), [(0, 0.73), (10, 1.25), (60, 2.57), (600, 7.80), (1_800, 13.46)])
def test_interval_without_history(age: float, interval: float) -> None:
    """Without history the interval is √(2λ(5 + age)) + λ/2."""
    assert interval == pytest.approx(Schedule().interval(age), abs=0.005)


@given(age=st.floats(min_value=0, max_value=MAX_AGE), price=prices)
def test_interval_has_a_closed_form_without_history(age: float, price: float) -> None:
    """The closed form holds at any age and price."""
    expected = math.sqrt(2 * price * (5 + age)) + price / 2

    assert expected == pytest.approx(Schedule(price=price, min_interval=0).interval(age), rel=1e-6)


@given(history=histories, age=ages, price=prices)
def test_interval_is_bounded_for_any_history(history: History, age: float, price: float) -> None:
    """Every interval keeps to those without history at a thirtieth and a hundred times the price, and to the early bound."""
    shortest = Schedule(price=price / MIN_INTERVAL_FACTOR, min_interval=0).interval(age)
    longest = math.sqrt(2 * MAX_INTERVAL_FACTOR * price * (5 + min(age, MAX_AGE))) + MAX_INTERVAL_FACTOR * price / 2
    typical = statistics.median(history.durations[:20]) if history.durations else 0.0
    growth = max(1.0, 100 / max(typical, 0.001), min(age, MAX_AGE) / 19) ** 4
    early = max(9.5 * math.sqrt(max(1.0, price / 0.2)) * growth, Schedule(price=price, min_interval=0).interval(age))
    interval = Schedule(price=price, min_interval=0, history=history).interval(age)

    assert 0 < interval < math.inf
    assert shortest * (1 - 1e-6) <= interval <= min(longest, early) * (1 + 1e-6)


@given(history=histories, age=st.floats(min_value=0, max_value=20_000), price=prices)
@example(history=History([1.0] * 20 + [200.0] * 20), age=0.0, price=100.0)
def test_interval_is_continuous_in_age(history: History, age: float, price: float) -> None:
    """The interval never jumps: when a minute is halved again and again where it changes most, little change remains."""
    schedule = Schedule(price=price, history=history)
    young, old = age, age + 60
    while old - young > 1e-9:
        middle = (young + old) / 2
        if abs(schedule.interval(middle) - schedule.interval(young)) > abs(schedule.interval(old) - schedule.interval(middle)):
            old = middle
        else:
            young = middle

    assert schedule.interval(young) == pytest.approx(schedule.interval(old), abs=0.05)


@given(history=histories, age=ages, price=prices, factor=st.floats(min_value=1, max_value=50))
@example(history=History([0.0], running=[162.0] * 30), age=1.0, price=8.0, factor=7.0)
def test_interval_grows_with_the_price(history: History, age: float, price: float, factor: float) -> None:
    """A higher price never shortens an interval."""
    cheap = Schedule(price=price, history=history).interval(age)
    dear = Schedule(price=price * factor, history=history).interval(age)

    assert cheap <= dear * (1 + 1e-9)


@given(history=histories, age=ages, min_interval=st.floats(min_value=0, max_value=100))
def test_interval_is_at_least_min_interval(history: History, age: float, min_interval: float) -> None:
    """No interval, jittered or not, is shorter than the user allows."""
    schedule = Schedule(min_interval=min_interval, history=history)

    assert min_interval <= schedule.interval(age)
    assert min_interval <= schedule(retry_state(SimpleNamespace(age=age)))


@pytest.mark.parametrize(("impossible", "age"), [(-5.0, 0.0), (math.nan, 0.0), (-math.inf, 0.0), (math.inf, MAX_AGE)])
def test_impossible_age_counts_as_the_nearest(impossible: float, age: float) -> None:
    """An impossible age counts as the nearest possible one."""
    schedule = Schedule(history=VM)

    assert schedule.interval(age) == schedule.interval(impossible)
    assert schedule.time_left(age) == schedule.time_left(impossible)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_price_that_is_not_positive_is_refused(price: float) -> None:
    """A price has to be a positive number."""
    with pytest.raises(ValueError, match=r"^price: not above 0 and within a day, in seconds \("):
        Schedule(price=price)


@pytest.mark.parametrize("min_interval", [-1.0, math.nan, math.inf])
def test_min_interval_that_is_negative_is_refused(min_interval: float) -> None:
    """A least interval has to be a number, and not negative."""
    with pytest.raises(ValueError, match=r"^min_interval: not within a day, in seconds \("):
        Schedule(min_interval=min_interval)


# With history


def test_polls_are_dense_where_tasks_end() -> None:
    """With history there are fewer polls while no task ends, and shorter intervals where tasks do."""
    known, unknown = poll_ages(Schedule(history=VM), 60), poll_ages(Schedule(), 60)

    assert sum(age < 15 for age in known) < sum(age < 15 for age in unknown)
    assert max(b - a for a, b in pairwise(known) if 18 < a < 22) < min(b - a for a, b in pairwise(unknown) if a > 10)


def test_polls_are_sparse_between_two_kinds() -> None:
    """Of tasks that are either quick or slow, polls are denser where either ends than without history, and sparser between."""
    both = History([18.0, 78.0, 19.0, 82.0, 20.0, 21.0, 80.0, 22.0, 19.5, 79.0, 20.5, 81.0])
    quick, between, slow = (Schedule(history=both).interval(age) / Schedule().interval(age) for age in (20, 50, 80))

    assert quick < 0.9
    assert between > 1
    assert slow < 0.7


def test_history_does_not_affect_much_older_tasks() -> None:
    """A task far older than all of its history is polled as if there were none."""
    assert Schedule().interval(600) == pytest.approx(Schedule(history=VM).interval(600), rel=0.02)


@pytest.mark.parametrize("price", [0.05, 0.2])
@pytest.mark.parametrize("duration", [105.0, 300.0, 1_800.0, 14_400.0])
def test_early_failure_of_a_long_kind_is_noticed_early(price: float, duration: float) -> None:
    """A task that fails in its first 20 s although its kind takes long is noticed within 5 s on average, 13 at most."""
    random.seed(1)
    schedule, lateness = Schedule(price=price, history=History([duration - 5, duration, duration + 5] * 7)), []
    for tenth in range(1, 200):
        age = 0.0
        while age < tenth / 10:
            age += schedule.jittered_interval(age)
        lateness.append(age - tenth / 10)

    assert sum(lateness) / len(lateness) < 5.3
    assert max(lateness) < 13


@pytest.mark.parametrize("unlucky", [100.0, 300.0, 3_000.0])
def test_one_unlucky_duration_delays_a_short_task_little(unlucky: float) -> None:
    """One past duration that was far longer does not delay the end of a 30 s task by more than 10 s."""
    schedule = Schedule(price=0.05, history=History([unlucky]))

    assert next(age for age in poll_ages(schedule, 60) if age >= 30) < 40


def test_early_bound_costs_short_kinds_nothing() -> None:
    """A task of a short kind is polled where such tasks end, not before, at a price that asks for few requests."""
    assert Schedule(price=0.2, history=History([45.0, 46.0, 47.0] * 7)).interval(0) > 13
    assert Schedule(price=0.2, history=History(usual=(45.0, 50.0))).interval(0) > 13
    assert Schedule(price=0.2, history=History(usual=(300.0, 900.0))).interval(0) == 9.5


def test_usual_range_decides_without_durations() -> None:
    """Polls are dense within the usual range of a type, and sparse before it, as with a few durations."""
    usual, unknown = Schedule(history=History(usual=(60.0, 90.0))), Schedule()

    assert usual.interval(20) > 1.3 * unknown.interval(20)
    assert usual.interval(70) < 0.9 * unknown.interval(70)
    assert usual.time_left(20) is None


def test_durations_outweigh_a_wrong_usual_range() -> None:
    """With twenty durations the intervals are nearly those without the usual range."""
    known = History([60.0, 65.0, 70.0, 75.0] * 5)
    misled = History(known.durations, usual=(300.0, 900.0))

    for age in (20.0, 60.0, 70.0):
        assert Schedule(history=misled).interval(age) == pytest.approx(Schedule(history=known).interval(age), rel=0.35)


def test_learned_returns_a_copy() -> None:
    """A learned history goes into a copy with the same price and least interval."""
    before = Schedule(price=0.5, min_interval=1.0)
    after = before.learned(VM)

    assert (after.price, after.min_interval, after.history) == (0.5, 1.0, VM)
    assert History() == before.history


# Time left


def test_time_left_is_unknown_without_history() -> None:
    """Without durations there is no estimate."""
    assert Schedule().time_left(10) is None
    assert Schedule(history=History(running=[5.0])).time_left(10) is None


def test_time_left_is_near_past_durations() -> None:
    """The time left of a young task is near what such tasks took."""
    left = Schedule(history=History([60.0 + i for i in range(-10, 11)])).time_left(0)

    assert left is not None
    assert (left.median, left.p90) == pytest.approx((60, 72), abs=5)


@given(history=histories, age=ages)
def test_time_left_is_ordered(history: History, age: float) -> None:
    """Half of the tasks have ended before nine in ten have, and both after now."""
    left = Schedule(history=history).time_left(age)

    assert (left is None) == (history.count == 0)
    if left is not None:
        assert (left.p90 is None) == (history.count < 5)
        assert 0 < left.median < (left.p90 or math.inf)


# In tenacity's loop


def is_jittered(delay: float, interval: float) -> bool:
    return 0.9 * interval <= delay <= 1.1 * interval


@pytest.mark.parametrize("result", [SimpleNamespace(age=60.0), SimpleNamespace(age=60)])
def test_delay_follows_the_age_of_the_task(result: SimpleNamespace) -> None:
    """The delay is the interval at the task's age, whenever the wait began."""
    assert is_jittered(Schedule()(retry_state(result, seconds=600.0)), Schedule().interval(60))


@pytest.mark.parametrize("state", [retry_state(None, seconds=60), retry_state(SimpleNamespace(age=None), seconds=60)])
def test_delay_without_an_age_counts_from_the_start_of_the_wait(state: RetryCallState) -> None:
    """A result without an age counts from the start of the wait."""
    assert is_jittered(Schedule()(state), Schedule().interval(60))


def test_delay_after_a_failure_counts_from_the_start_of_the_wait() -> None:
    """A poll that failed has no age either."""
    assert is_jittered(Schedule()(retry_state(error=OSError(), seconds=60)), Schedule().interval(60))


def test_delay_before_any_outcome_is_that_of_a_new_task() -> None:
    """Before the first outcome the age is zero."""
    assert is_jittered(Schedule()(RetryCallState(Retrying(), None, (), {})), Schedule().interval(0))


def test_delays_are_jittered() -> None:
    """Waits for tasks of the same age drift apart by up to a tenth."""
    state = retry_state(SimpleNamespace(age=60.0))
    delays = {Schedule()(state) for _ in range(200)}

    assert len(delays) == 200
    assert all(is_jittered(delay, Schedule().interval(60)) for delay in delays)


def test_schedule_serves_any_retrying() -> None:
    """A schedule can be added to another strategy in any ``Retrying``."""
    delays: list[float] = []
    results = iter([SimpleNamespace(age=0.0), SimpleNamespace(age=60.0), None])
    loop = Retrying(wait=Schedule() + wait_fixed(100), sleep=delays.append, retry=retry_if_result(bool))

    assert loop(lambda: next(results)) is None
    assert all(is_jittered(delay - 100, Schedule().interval(age)) for delay, age in zip(delays, (0, 60), strict=True))


def test_time_left_is_a_value() -> None:
    """Equal ones have one hash, so none can be changed."""
    assert hash(TimeLeft(1.0, None)) == hash(TimeLeft(1.0, None))
