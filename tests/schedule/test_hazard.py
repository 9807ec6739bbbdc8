"""The hazard that a history suggests: tasks that are still running, and the ages at which a share has ended."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.schedule.hazard import FOR_TIME_LEFT, MAX_AGE, CumulativeHazard, estimate, interpolate
from waiter.schedule.history import History

VM = (21.0, 19.5, 24.0, 18.0, 20.5, 22.0, 35.0, 19.0, 20.0, 23.5)


def ages_when_ended(*durations: float, running: tuple[float, ...] = ()) -> list[float]:
    """Return the ages at which half and nine in ten have ended."""
    hazard = estimate(History(durations, running))
    return [hazard.age_when_ended(0, share) for share in (0.5, 0.9)]


def test_running_tasks_older_than_all_durations_raise_the_estimate() -> None:
    """Tasks that are still running beyond all durations make longer ones more likely."""
    assert ages_when_ended(*VM)[1] < ages_when_ended(*VM, running=(50.0,) * 5)[1]


def test_running_task_counts_as_one_of_those_that_took_longer() -> None:
    """The weight of a running task is divided among the durations above its age (Efron's redistribution)."""
    censored = ages_when_ended(10.0, 14.0, 20.0, 25.0, 36.0, 44.0, running=(30.0, 30.0))
    divided = ages_when_ended(10.0, 14.0, 20.0, 25.0, 35.5, 36.5, 43.5, 44.5)

    assert censored == pytest.approx(divided, rel=0.1)


def test_running_task_that_has_just_begun_changes_nothing() -> None:
    """The age 0 says nothing about the duration."""
    assert ages_when_ended(*VM) == pytest.approx(ages_when_ended(*VM, running=(0.0,)), rel=0.01)


def test_early_errors_do_not_widen_the_estimate_of_the_others() -> None:
    """Apart from their share, errors change nothing at the ages at which the others end."""
    finished, errors = [60.0, 62.0, 64.0, 66.0] * 4, [3.0, 8.0]
    apart = estimate(History([*finished, *errors], errors=errors))
    pooled = estimate(History([*finished, *errors]))

    assert max(pooled.hazards) < max(apart.hazards)
    assert apart.age_when_ended(40, 0.5) == pytest.approx(estimate(History(finished)).age_when_ended(40, 0.5), rel=0.05)


def test_history_of_errors_only_counts_as_durations() -> None:
    """When no task has FINISHED, the durations of those in ERROR are all there is."""
    assert estimate(History([30.0] * 3, errors=[30.0] * 3)).values == estimate(History([30.0] * 3)).values


def test_errors_that_are_no_durations_are_ignored() -> None:
    """Only those among the newest durations count."""
    assert estimate(History([30.0] * 3, errors=[5.0])).values == estimate(History([30.0] * 3)).values


def test_two_humps_do_not_widen_each_other() -> None:
    """Durations around two values keep kernels as narrow as those around one: few tasks end between them."""
    hazard = estimate(History([60.0, 61.0, 62.0, 63.0] * 3 + [600.0, 610.0, 620.0, 630.0] * 3))
    between = interpolate(math.log(5 + 200), hazard.log_ages, hazard.hazards)

    assert between < 0.2 * interpolate(math.log(5 + 62), hazard.log_ages, hazard.hazards)


def test_outlier_does_not_widen_the_estimate_of_the_others() -> None:
    """One duration that is far from the others leaves the peak of the hazard at least half as high."""
    usual = [60.0 + i / 4 for i in range(19)]

    assert max(estimate(History([*usual, 900.0])).hazards) > 0.5 * max(estimate(History([*usual, 62.0])).hazards)


def test_wrong_usual_range_leaves_the_durations_narrow() -> None:
    """A usual range far from the durations does not flatten the hazard around them."""
    history = History([60.0 + i / 4 for i in range(20)])
    misled = History(history.durations, usual=(300.0, 900.0))

    assert max(estimate(misled).hazards) == pytest.approx(max(estimate(history).hazards), rel=0.1)


def test_only_the_newest_durations_are_used() -> None:
    """After a type has become slower, the older durations do not count once there are enough new ones."""
    assert estimate(History([60.0] * 20 + [30.0] * 80)).values == estimate(History([60.0] * 20)).values


def test_estimate_for_the_time_left_is_calibrated() -> None:
    """Of log-normal tasks about half end within the median and nine in ten within the 90%, at the start and in mid-task."""
    generator = random.Random(20_261)
    within = {(start, share): 0 for start in (0.0, 25.0) for share in (0.5, 0.9)}
    counts = dict.fromkeys((0.0, 25.0), 0)
    for _ in range(1_500):
        *past, duration = (generator.lognormvariate(math.log(30), 0.4) for _ in range(21))
        hazard = estimate(History(past), FOR_TIME_LEFT)
        for start in counts:
            counts[start] += duration > start
            for share in (0.5, 0.9):
                within[start, share] += start < duration <= hazard.age_when_ended(start, share)

    shares = {key: number / counts[key[0]] for key, number in within.items()}
    assert all(0.46 <= shares[start, 0.5] <= 0.54 and 0.86 <= shares[start, 0.9] <= 0.94 for start in counts), shares


def test_age_when_ended_of_a_constant_hazard() -> None:
    """With a hazard of 1 per unit of log-age, half have ended when 5 s + age has doubled."""
    hazard = CumulativeHazard([math.log(5), math.log(50)], [1.0, 1.0])

    assert hazard.age_when_ended(10, 0.5) == pytest.approx(25)
    assert hazard.age_when_ended(1_000, 0.5) == pytest.approx(2_005)


@given(
    durations=st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=120),
    age=st.floats(min_value=0, max_value=MAX_AGE),
)
def test_more_tasks_have_ended_at_a_higher_age(durations: list[float], age: float) -> None:
    """The age at which a share has ended grows with the share, and is above the age now."""
    hazard = estimate(History(durations))
    ended = [hazard.age_when_ended(age, share) for share in (0.1, 0.5, 0.9, 0.99)]

    assert age < ended[0]
    assert ended == sorted(ended)


def test_interpolate_extends_the_outer_lines() -> None:
    """Beyond the points the first or the last line continues."""
    assert [interpolate(x, [0, 1, 3], [0, 2, 2.5]) for x in (-1, 0.5, 2, 5)] == [-2, 1, 2.25, 3]
