"""One poll passes through few functions: the limits that the map of the code rests on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent / "benchmarks" / "call_counts.py"


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    """Return the counts of one poll for each driver, in a new process: pytest's own logging would be counted here."""
    ran = subprocess.run([sys.executable, BENCHMARK], capture_output=True, text=True, check=True, timeout=120)
    lines = [line.split() for line in ran.stdout.splitlines()]
    return {driver: dict(zip(rest[::2], map(int, rest[1::2]), strict=True)) for driver, *rest in lines}


@pytest.mark.parametrize(("driver", "entered", "changes"), [("blocking", 82, 36), ("awaited", 100, 48)])
def test_poll_enters_few_functions(counts: dict[str, dict[str, int]], driver: str, entered: int, changes: int) -> None:
    """A third fewer functions and half as many changes of module as before the code was divided by responsibility."""
    assert 10 < counts[driver]["entered"] <= entered
    assert 5 < counts[driver]["changes"] <= changes
