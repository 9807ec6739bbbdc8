"""Thousands of polls, of which one in five fails, leave nothing behind; the benchmark of the same name makes many more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "endurance.py"


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_polls_with_faults_leave_no_memory_descriptor_or_thread() -> None:
    """Blocking, awaited and many over real HTTP, and a month of virtual time."""
    done = subprocess.run([sys.executable, SCRIPT, "--polls", "400"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["blocking", "awaited", "many", "a month"]
