"""One poll passes through few functions: the limits that the map of the code rests on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent / "benchmarks" / "call_counts.py"


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    """Return the counts of one poll for each driver, in a new process: pytest's own logging would be counted here.

    The least of three: a poll that has to connect again, or to read a new date, passes through more.
    """
    return min(
        (count_in_new_process() for _ in range(3)), key=lambda counts: sum(count["entered"] for count in counts.values())
    )


def count_in_new_process() -> dict[str, dict[str, int]]:
    """Return the counts of one poll for each driver."""
    ran = subprocess.run([sys.executable, BENCHMARK], capture_output=True, text=True, check=True, timeout=120)
    lines = [line.split() for line in ran.stdout.splitlines()]
    return {driver: dict(zip(rest[::2], map(int, rest[1::2]), strict=True)) for driver, *rest in lines}


@pytest.mark.parametrize(("driver", "entered", "changes"), [("blocking", 82, 39), ("awaited", 100, 51)])
def test_poll_enters_few_functions(counts: dict[str, dict[str, int]], driver: str, entered: int, changes: int) -> None:
    """A third fewer functions and half as many changes of module as in the flat layout: 123 and 78, awaited 150 and 102."""
    assert 10 < counts[driver]["entered"] <= entered
    assert 5 < counts[driver]["changes"] <= changes
