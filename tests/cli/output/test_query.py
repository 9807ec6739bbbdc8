"""``--query``."""

from __future__ import annotations

import json

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, Ran, Run


@pytest.mark.parametrize(
    ("form", "query", "out"),
    [
        ("json", "created_resources.instances[0]", '"vm-1"\n'),
        ("text", "created_resources.instances[0]", "vm-1\n"),
        ("ids", "created_resources.volumes", "disk-1\ndisk-2\n"),
        ("text", "tasks[*].[state, error]", '["FINISHED", null]\n'),
        ("text", "created_resources.nothing", ""),
        ("json", "created_resources.nothing", "null\n"),
        ("text", "length(tasks)", "1\n"),
    ],
)
def test_query_selects_a_part_of_the_json(run: Run, form: str, query: str, out: str) -> None:
    """The output is JSON, or bare values for a shell."""
    assert run("wait", GOOD, "-q", "-o", form, "--query", query) == (0, out, "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--query", "a["], "--query: Invalid jmespath expression: Incomplete expression:"),
        (["--query", "nope(@)"], "--query: Unknown function: nope()"),
        (["--query", "a", "-o", "env"], "--query goes with --output text, json or ids, not env"),
    ],
)
def test_invalid_query_is_a_usage_error(run: Run, argv: list[str], message: str) -> None:
    """It is reported before the wait."""
    assert run("wait", GOOD, "-q", *argv) == Ran(2, "", f"waiter: {message}\n")


@pytest.mark.parametrize("argv", [["wait", ENDLESS], ["status", GOOD]])
def test_unknown_functions_are_reported_before_the_wait(run: Run, argv: list[str]) -> None:
    """Every function of a query is checked, however deeply nested."""
    ran = run(*argv, "--query", "tasks[?length(id) > `1` && b(@)].{x: a(state)} | keys(@)")
    assert ran == Ran(2, "", "waiter: --query: Unknown function: a(), b()\n")


@pytest.mark.parametrize("query", ["keys(`1`)", "&tasks"])
@pytest.mark.parametrize(
    ("argv", "code"),
    [(["wait", GOOD], 2), (["wait", BROKEN], 1), (["wait", ENDLESS, "--timeout", "0.1"], 124), (["status", BROKEN], 1)],
    ids=["finished", "failed", "timed out", "status"],
)
@pytest.mark.parametrize("form", ["json", "ids"])
def test_failing_query_falls_back_to_the_whole_result(run: Run, argv: list[str], code: int, query: str, form: str) -> None:
    """The end of the task decides the exit code, and the whole result is written."""
    ran = run(*argv, "-o", form, "--query", query)
    assert ran.code == code
    assert [task["id"] for task in json.loads(ran.out)["tasks"]] == [argv[1]]
    assert "waiter: --query: " in ran.err
    assert "; the whole result follows\n" in ran.err
