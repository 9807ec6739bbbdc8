"""When to look next: the mathematics, its bounds for any history, and its manners in tenacity's loop."""

import math
import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tenacity import Future, RetryCallState, Retrying, retry_if_result, wait_fixed

from waiter.schedule.hazard import MAX_AGE, History
from waiter.schedule.schedule import MAX_INTERVAL_FACTOR, MIN_INTERVAL_FACTOR, Schedule, backoff

VM = History([21.0, 19.5, 24.0, 18.0, 20.5, 22.0, 35.0, 19.0, 20.0, 23.5])

absurd = st.floats(allow_nan=True, allow_infinity=True)
plausible = st.floats(min_value=0, max_value=5_000)
one_alike = st.tuples(plausible, st.integers(1, 1_000)).map(lambda pair: [pair[0]] * pair[1])
values: st.SearchStrategy[list[float]] = st.one_of(
    st.just([]), st.just([0.0]), one_alike, st.lists(st.one_of(absurd, plausible), max_size=120)
)
history_cache = st.builds(History, durations=values, running=values)
ages = st.floats(min_value=0, max_value=2 * MAX_AGE)
prices = st.floats(min_value=0.001, max_value=100)


def looked(result: Any = None, *, error: Exception | None = None, seconds: float | None = 0.0) -> RetryCallState:
    """What tenacity knows after a look that took place so many seconds after the start."""
    state = RetryCallState(Retrying(), None, (), {})
    state.outcome = Future.construct(1, error or result, has_exception=error is not None)
    state.outcome_timestamp = None if seconds is None else state.start_time + seconds
    return state


def path(schedule: Schedule, until: float) -> list[float]:
    """The ages of the looks, without jitter."""
    looks = [0.0]
    while looks[-1] < until:
        looks.append(looks[-1] + schedule.gap(looks[-1]))
    return looks


# The gap


@pytest.mark.parametrize(("age", "gap"), [(0, 1.51), (10, 2.55), (60, 5.20), (600, 15.66), (1_800, 26.97)])
def test_gap_without_history(age: float, gap: float) -> None:
    """Without history the gap is √(2λ(5 + age)) + λ/2."""
    assert gap == pytest.approx(Schedule().gap(age), abs=0.005)


@given(age=st.floats(min_value=0, max_value=MAX_AGE), price=prices)
def test_gap_closed_form(age: float, price: float) -> None:
    """The closed form holds at any age and price."""
    expected = math.sqrt(2 * price * (5 + age)) + price / 2

    assert expected == pytest.approx(Schedule(price=price, min_interval=0).gap(age), rel=1e-6)


@given(history=history_cache, age=ages, price=prices)
def test_gap_guard(history: History, age: float, price: float) -> None:
    """Whatever the history, the gap is positive and keeps to those without history at a thirtieth and hundredfold price."""
    shortest = Schedule(price=price / MIN_INTERVAL_FACTOR, min_interval=0).gap(age)
    longest = math.sqrt(2 * MAX_INTERVAL_FACTOR * price * (5 + min(age, MAX_AGE))) + MAX_INTERVAL_FACTOR * price / 2
    gap = Schedule(price=price, min_interval=0, history=history).gap(age)

    assert 0 < gap < math.inf
    assert shortest * (1 - 1e-6) <= gap <= longest * (1 + 1e-6)


@given(history=history_cache, age=st.floats(min_value=0, max_value=20_000), price=prices)
@example(history=History([1.0] * 20 + [200.0] * 20), age=0.0, price=100.0)
def test_gap_continuous(history: History, age: float, price: float) -> None:
    """The gap never jumps, steep as it may be: of a minute, halved again and again where it changes more, little remains."""
    schedule = Schedule(price=price, history=history)
    young, old = age, age + 60
    while old - young > 1e-9:
        middle = (young + old) / 2
        if abs(schedule.gap(middle) - schedule.gap(young)) > abs(schedule.gap(old) - schedule.gap(middle)):
            old = middle
        else:
            young = middle

    assert schedule.gap(young) == pytest.approx(schedule.gap(old), abs=0.05)


@given(history=history_cache, age=ages, price=prices, factor=st.floats(min_value=1, max_value=50))
@example(history=History([0.0], running=[162.0] * 30), age=1.0, price=8.0, factor=7.0)
def test_gap_price(history: History, age: float, price: float, factor: float) -> None:
    """The dearer a request, the longer the gap."""
    cheap = Schedule(price=price, history=history).gap(age)
    dear = Schedule(price=price * factor, history=history).gap(age)

    assert cheap <= dear * (1 + 1e-9)


@given(history=history_cache, age=ages, min_interval=st.floats(min_value=0, max_value=100))
def test_gap_min_interval(history: History, age: float, min_interval: float) -> None:
    """No gap, jittered or not, is shorter than the user allows."""
    schedule = Schedule(min_interval=min_interval, history=history)

    assert min_interval <= schedule.gap(age)
    assert min_interval <= schedule(looked(SimpleNamespace(age=age)))


@pytest.mark.parametrize(("absurd_age", "age"), [(-5.0, 0.0), (math.nan, 0.0), (-math.inf, 0.0), (math.inf, MAX_AGE)])
def test_gap_absurd_age(absurd_age: float, age: float) -> None:
    """An impossible age counts as the nearest possible one."""
    schedule = Schedule(history=VM)

    assert schedule.gap(age) == schedule.gap(absurd_age)
    assert schedule.time_left(age) == schedule.time_left(absurd_age)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_price_refused(price: float) -> None:
    """A price has to be a positive number."""
    with pytest.raises(ValueError, match=r"^price: not above 0 and within a day, in seconds \("):
        Schedule(price=price)


@pytest.mark.parametrize("min_interval", [-1.0, math.nan, math.inf])
def test_min_interval_refused(min_interval: float) -> None:
    """A least interval has to be a number, and not negative."""
    with pytest.raises(ValueError, match=r"^min_interval: not within a day, in seconds \("):
        Schedule(min_interval=min_interval)


# What history is for


def test_history_looks_where_tasks_end() -> None:
    """With history there are fewer looks while nothing ends, and closer ones where tasks do."""
    known, unknown = path(Schedule(history=VM), 60), path(Schedule(), 60)

    assert sum(look < 15 for look in known) < sum(look < 15 for look in unknown)
    assert max(b - a for a, b in pairwise(known) if 18 < a < 22) < min(b - a for a, b in pairwise(unknown) if a > 10)


def test_history_of_two_kinds() -> None:
    """Of tasks that are either quick or slow, the ends of both are expected, and little between."""
    both = History([18.0, 78.0, 19.0, 82.0, 20.0, 21.0, 80.0, 22.0, 19.5, 79.0, 20.5, 81.0])
    quick, between, slow = (Schedule(history=both).gap(age) / Schedule().gap(age) for age in (20, 50, 80))

    assert quick < 0.7
    assert between > 1.5
    assert slow < 0.5


def test_history_fades() -> None:
    """A task far older than any before it is looked at as if nothing were known."""
    assert Schedule().gap(600) == pytest.approx(Schedule(history=VM).gap(600), rel=0.01)


def test_learned_is_a_copy() -> None:
    """What is learned goes into a copy with the same price and least interval."""
    before = Schedule(price=0.5, min_interval=1.0)
    after = before.learned(VM)

    assert (after.price, after.min_interval, after.history) == (0.5, 1.0, VM)
    assert History() == before.history


def test_running_tasks_outlive() -> None:
    """Tasks that still run beyond all durations make the time left longer."""
    running = History(VM.durations, running=[50.0] * 5)
    known, doubted = Schedule(history=VM).time_left(10), Schedule(history=running).time_left(10)

    assert known is not None
    assert doubted is not None
    assert known.p90 < doubted.p90


def test_running_tasks_count_as_longer() -> None:
    """A task that runs lends its weight to the durations above its age, as Efron's redistribution has it."""
    censored = History([10.0, 14.0, 20.0, 25.0, 36.0, 44.0], running=[30.0, 30.0])
    shared_out = History([10.0, 14.0, 20.0, 25.0, 35.5, 36.5, 43.5, 44.5])
    here, there = Schedule(history=censored).time_left(0), Schedule(history=shared_out).time_left(0)

    assert here is not None
    assert there is not None
    assert there.median == pytest.approx(here.median, rel=0.1)
    assert there.p90 == pytest.approx(here.p90, rel=0.1)


def test_running_young_tasks_say_nothing() -> None:
    """Tasks that have only just begun change nothing."""
    assert Schedule(history=VM).gap(10) == pytest.approx(Schedule(history=History(VM.durations, [0.0])).gap(10), rel=0.01)


# Time left


def test_time_left_without_history() -> None:
    """Without history there is no honest answer."""
    assert Schedule().time_left(10) is None
    assert Schedule(history=History(running=[5.0])).time_left(10) is None


def test_time_left() -> None:
    """The time left of a young task is near what such tasks took."""
    left = Schedule(history=History([60.0 + i for i in range(-10, 11)])).time_left(0)

    assert left is not None
    assert pytest.approx((left.median, left.p90), abs=5) == (60, 72)


@given(history=history_cache, age=ages)
def test_time_left_orders(history: History, age: float) -> None:
    """Half of the tasks have ended before nine in ten have, and both after now."""
    left = Schedule(history=history).time_left(age)

    assert (left is None) == (history.count == 0)
    assert left is None or 0 < left.median < left.p90 < math.inf


# History


def test_history_drops_nonsense() -> None:
    """Negative, infinite and undefined durations are dropped, zeros and whole numbers are kept as they are."""
    history = History([3, -1.0, math.nan, 0.0, math.inf, 10**400, 2.5], running=[-math.inf, 7])

    assert history.durations == (3.0, 0.0, 2.5)
    assert history.running == (7.0,)


def test_history_keeps_the_newest() -> None:
    """Of a thousand durations the newest hundred count."""
    history = History([float(i) for i in range(1_000)])

    assert history.count == 100
    assert tuple(float(i) for i in range(100)) == history.durations


def test_history_quantiles() -> None:
    """Quantiles are interpolated."""
    history = History([40.0, 10.0, 20.0, 30.0, 50.0])

    assert pytest.approx((history.p10, history.median, history.p90)) == (14.0, 30.0, 46.0)
    assert (history.quantile(0), history.quantile(1)) == (10.0, 50.0)


def test_history_empty() -> None:
    """An empty history has no quantiles."""
    history = History()

    assert (history.count, history.p10, history.median, history.p90) == (0, None, None, None)


# In tenacity's loop


def gap_of(pause: float, gap: float) -> bool:
    return 0.9 * gap <= pause <= 1.1 * gap


@pytest.mark.parametrize("result", [SimpleNamespace(age=60.0), SimpleNamespace(age=60)])
def test_call_goes_by_the_age(result: SimpleNamespace) -> None:
    """The pause is the gap at the task's age, whenever the wait began."""
    assert gap_of(Schedule()(looked(result, seconds=600.0)), Schedule().gap(60))


@pytest.mark.parametrize("state", [looked(None, seconds=60), looked(SimpleNamespace(age=None), seconds=60)])
def test_call_without_age(state: RetryCallState) -> None:
    """A result without an age counts from the start of the wait."""
    assert gap_of(Schedule()(state), Schedule().gap(60))


def test_call_after_failure() -> None:
    """So does a look that failed."""
    assert gap_of(Schedule()(looked(error=OSError(), seconds=60)), Schedule().gap(60))


def test_call_before_any_outcome() -> None:
    """Before the first outcome the age is zero."""
    assert gap_of(Schedule()(RetryCallState(Retrying(), None, (), {})), Schedule().gap(0))


def test_call_jitter() -> None:
    """Waits in the same place drift apart, and not far."""
    state = looked(SimpleNamespace(age=60.0))
    pauses = {Schedule()(state) for _ in range(200)}

    assert len(pauses) == 200
    assert all(gap_of(pause, Schedule().gap(60)) for pause in pauses)


def test_schedule_in_retrying() -> None:
    """It serves any Retrying, also added to another strategy."""
    pauses: list[float] = []
    sights = iter([SimpleNamespace(age=0.0), SimpleNamespace(age=60.0), None])
    loop = Retrying(wait=Schedule() + wait_fixed(100), sleep=pauses.append, retry=retry_if_result(bool))

    assert loop(lambda: next(sights)) is None
    assert [gap_of(pause - 100, Schedule().gap(age)) for pause, age in zip(pauses, (0, 60), strict=True)] == [True, True]


# After failures


@pytest.mark.parametrize(("failures", "pause"), [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (5, 8), (6, 15), (10**9, 15)])
def test_backoff(failures: int, pause: float) -> None:
    """Failed looks in a row are followed by pauses that double up to 15 s, each jittered by up to a quarter."""
    pauses = [backoff(failures) for _ in range(200)]

    assert 0.75 * pause <= min(pauses) < max(pauses) <= 1.25 * pause


def test_backoff_jitter_at_the_cap() -> None:
    """At the cap the waits still drift apart."""
    random.seed(4)

    assert len({backoff(20) for _ in range(100)}) == 100
