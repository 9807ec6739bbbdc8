"""``waiter demo``, which runs beside the other tests."""

from __future__ import annotations

import subprocess

import pytest
from command_parts import Ran, Run

from waiter.cli.commands import demo


@pytest.mark.parametrize(("codes", "code"), [([0, 1, 124], 0), ([0, 1, 1], 70)])
def test_demo_checks_its_exit_codes(run: Run, monkeypatch: pytest.MonkeyPatch, codes: list[int], code: int) -> None:
    """The demo exits with 70 if a task does not end as expected."""
    left = iter(codes)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], next(left)))
    ran = run("demo")
    assert ran.code == code
    assert ("These exit codes are wrong: [0, 1, 1]" in ran.out) == (code == 70)


def finished(child: subprocess.Popen[str]) -> Ran:
    out, err = child.communicate(timeout=120)
    return Ran(child.returncode, out, err)


def test_demo_shows_three_ends(demonstration: subprocess.Popen[str]) -> None:
    """It shows a success, a failure and a time-out with their exit codes."""
    ran = finished(demonstration)
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if line.startswith("[exit")] == [
        "[exit code 0]",
        "[exit code 1]",
        "[exit code 124]",
    ]
    assert "the API answers again after" in ran.err
    assert "it created volumes" in ran.err


def test_demo_is_scripted_to_take_less_than_15_seconds() -> None:
    """The phases of the tasks add up, and the third wait is given 2 s."""
    phases = [phase.seconds for script in (demo.FINISHES, demo.FAILS) for phase in script.phases[:-1]]
    assert sum(phases) - demo.FINISHES.age + demo.TIMEOUT < 15
