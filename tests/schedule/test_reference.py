"""The published figures of the schedule were measured with the intervals and estimates in ``reference.json``.

After a change of a constant or a formula, measure the figures again (``examples/schedule/README.md``), and write the file with
``python tests/schedule/test_reference.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from waiter.schedule.history import History
from waiter.schedule.priors import USUAL_DURATIONS, prior
from waiter.schedule.schedule import Schedule

FILE = Path(__file__).with_name("reference.json")
AGES = (0.0, 3.0, 20.0, 45.0, 62.0, 90.0, 250.0, 4000.0)
PRICES = (0.05, 1.0)
VARIED = tuple(60.0 * (1 + 0.04 * (place * 7 % 11) - 0.02 * (place % 3)) for place in range(25))
HISTORIES = {
    "none": History(),
    "one": History([60.0]),
    "two": History([60.0, 66.0]),
    "three": History([58.0, 60.0, 75.0]),
    "equal": History([60.0] * 8),
    "varied": History(VARIED),
    "two humps": History([20.0, 21.0, 19.0, 200.0, 210.0, 190.0, 22.0, 205.0]),
    "outlier": History([60.0, 61.0, 59.0, 62.0, 58.0, 900.0]),
    "running": History(VARIED[:10], running=[10.0, 70.0, 75.0, 300.0]),
    "errors": History([3.0, 60.0, 5.0, 66.0, 58.0, 61.0], errors=[3.0, 5.0]),
    "only errors": History([3.0, 5.0, 4.0], errors=[3.0, 5.0, 4.0]),
    "usual and one": History([60.0], usual=(15.0, 30.0)),
    "usual and many": History(VARIED, usual=(15.0, 300.0)),
    "long": History([3000.0, 3600.0, 3300.0, 3900.0, 3500.0]),
    **{task_type: prior(task_type) or History() for task_type in USUAL_DURATIONS},
}


def reference_of(history: History) -> list[list[float]]:
    """Return the intervals of each age and price, and the estimates of the time left at each age."""
    intervals = [[Schedule(price=price, min_interval=0.01, history=history).interval(age) for age in AGES] for price in PRICES]
    left = [Schedule(history=history).time_left(age) for age in AGES]
    medians = [one.median for one in left if one is not None]
    p90s = [one.p90 for one in left if one is not None and one.p90 is not None]
    return [[float(f"{value:.9g}") for value in values] for values in (*intervals, medians, p90s)]


@pytest.mark.parametrize("name", HISTORIES)
def test_schedule_is_the_one_that_was_measured(name: str) -> None:
    """For histories of all kinds, and for each documented type."""
    expected = json.loads(FILE.read_text())[name]
    assert [pytest.approx(values, rel=1e-6) for values in expected] == reference_of(HISTORIES[name])


if __name__ == "__main__":
    rows = [f"{json.dumps(name)}: {json.dumps(reference_of(history))}" for name, history in HISTORIES.items()]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
