"""``--query``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, Ran, Run

NAMED = "'{NAME: created_resources.instances[0]}'"


@pytest.mark.parametrize(
    ("form", "query", "out"),
    [
        ("json", "created_resources.instances[0]", '"vm-1"\n'),
        ("text", "created_resources.instances[0]", "vm-1\n"),
        ("ids", "created_resources.volumes", "disk-1\ndisk-2\n"),
        ("text", "tasks[*].[state, error]", '["FINISHED", null]\n'),
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
        (["--query", "tasks[0]", "-o", "env"], f"--query with --output env must name its values: {NAMED}"),
        (["--query", '{"a b": tasks}', "-o", "env"], f"--query with --output env must name its values: {NAMED}"),
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


def test_query_gives_variables_their_names(run: Run, tmp_path: Path) -> None:
    """In env and github a query assigns one ID, or several joined by commas, to a name of the user's choice."""
    query = "{VM: created_resources.instances[0], disks: created_resources.volumes, n: length(tasks)}"
    assert run("wait", GOOD, "-q", "-o", "env", "--query", query) == (0, "VM=vm-1\ndisks=disk-1,disk-2\nn=1\n", "")
    file = tmp_path / "outputs"
    assert run("wait", GOOD, "-q", "-o", "github", "--query", query, env={"GITHUB_OUTPUT": str(file)}).code == 0
    assert file.read_text().count("vm-1\n") == 1


@pytest.mark.parametrize(
    ("form", "query", "out"),
    [
        ("text", "created_resources.nothing", ""),
        ("json", "created_resources.nothing", "null\n"),
        ("env", "{A: created_resources.nothing[0], B: 'x'}", "A=''\nB=x\n"),
    ],
)
def test_null_result_of_a_query_warns(run: Run, form: str, query: str, out: str) -> None:
    """With ``--strict`` it is an error, so that a script does not continue with an empty value."""
    argv = ["wait", GOOD, "-q", "-o", form, "--query", query]
    assert run(*argv) == (0, out, "waiter: --query: the result is null\n")
    assert run(*argv, "--strict") == (2, out, "waiter: --query: the result is null\n")


def test_null_result_after_a_failure_keeps_the_exit_code(run: Run) -> None:
    """A failed task has no instance, which is no second error."""
    ran = run("wait", BROKEN, "-q", "--query", "created_resources.instances[0]", "--strict")
    assert (ran.code, "is null" in ran.err) == (1, False)
