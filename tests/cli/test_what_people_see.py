"""What is shown at once to somebody who watches, and the demo, which has been running beside the other tests."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from command_parts import BROKEN, ENDLESS, Ran, Terminal, a_task

from waiter.cli import wait as cli_wait
from waiter.cli.board import Board
from waiter.errors import ApiUnavailableError, TaskNotFoundError
from waiter.outcome import Outcome


def finished(child: subprocess.Popen[str]) -> Ran:
    out, err = child.communicate(timeout=30)
    return Ran(child.returncode, out, err)


def test_demo(demonstration: subprocess.Popen[str]) -> None:
    """It shows three fates with their exit codes, in under 15 s, and ends well."""
    ran = finished(demonstration)
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if line.startswith("[exit")] == [
        "[exit code 0]",
        "[exit code 1]",
        "[exit code 124]",
    ]
    assert "the API answers again after" in ran.err
    assert "it leaves volumes" in ran.err
    assert int(ran.out.split("That took ")[1].split()[0]) < 15


def test_a_failure_on_a_terminal_is_told_while_others_go_on(terminal: Callable[..., Terminal]) -> None:
    """Nobody has to wait for the last task to learn why the first has failed."""
    at = terminal("wait", ENDLESS, BROKEN, columns=120)
    at.until("create_vm failed")
    screen = at.until("RUNNING/NETWORK")
    assert screen[0] == f"waiter: create_vm failed: No valid host was found ({BROKEN}); it leaves volumes disk-3"
    assert "RUNNING/NETWORK" in "".join(screen[1:])


@pytest.mark.parametrize(
    ("error", "others", "return_when", "urgent"),
    [
        (TaskNotFoundError("no"), ["b"], "all", True),
        (TaskNotFoundError("no"), [], "all", False),
        (TaskNotFoundError("no"), ["b"], "first-error", False),
        (ApiUnavailableError("away"), ["b"], "all", False),
        (None, ["b"], "all", False),
    ],
)
def test_what_is_told_before_the_result(error: Any, others: list[str], return_when: str, urgent: bool) -> None:
    """Failures are, unless the result follows at once."""
    board = Board(["a", *others], 0.0)
    outcome = Outcome("a", task=None if error else a_task("a"), error=error)
    board.rows["a"].end(outcome, 0.0)
    assert cli_wait._is_urgent(argparse.Namespace(return_when=return_when), board, outcome) == urgent
