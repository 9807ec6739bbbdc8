"""The list of commands and their help."""

from __future__ import annotations

import pytest
from command_parts import Run

from waiter import __version__
from waiter.cli.registry import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_first(run: Run, name: str) -> None:
    """The help of each command starts with its summary and examples."""
    ran = run(name, "--help", env={"COLUMNS": "80"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[2] == "examples:"
    assert ran.out.splitlines()[3].strip()
    assert f"usage: waiter {name}" in ran.out


def test_top_level_help_lists_every_command(run: Run) -> None:
    """``waiter --help`` has a line for each command."""
    ran = run("--help", env={"COLUMNS": "80"})
    assert (ran.code, ran.err) == (0, "")
    assert [name for name in COMMANDS if f"\n    {name}" not in ran.out] == []


def test_version(run: Run) -> None:
    """``--version`` prints the version."""
    assert run("--version") == (0, f"waiter {__version__}\n", "")
