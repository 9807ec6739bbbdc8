"""The documented durations of task types."""

import pytest

from waiter.schedule.history import History
from waiter.schedule.priors import USUAL_DURATIONS, prior


@pytest.mark.parametrize("task_type", USUAL_DURATIONS)
def test_usual_range_is_a_range(task_type: str) -> None:
    """Every range is positive, ascending, and at most tenfold."""
    low, high = USUAL_DURATIONS[task_type]

    assert 0 < low < high <= 10 * low
    assert prior(task_type) == History(usual=(low, high))


def test_undocumented_type_has_no_prior() -> None:
    """A type that the documentation does not give has no usual range."""
    assert prior("create_image") is None
