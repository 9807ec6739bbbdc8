"""Every form of the result, and that nothing of it can act where it ends up."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_parts import BROKEN, EMPTY, ENDLESS, GOOD, Ran, Run, a_task
from hypothesis import given, settings
from hypothesis import strategies as st

from waiter.cli import output
from waiter.cli import result as cli_result
from waiter.cli.output import Ending
from waiter.console.formatting import printable
from waiter.console.streams import OutputError
from waiter.errors import TaskNotFoundError, TaskTimeoutError
from waiter.task import CreatedResources

HOSTILE = "$(touch pwned)`id`'\"; rm -rf / #\n\x1b]0;x\x07,\u202e"


def test_json_of_one_task(run: Run) -> None:
    """One object, with the resources of each task and of all."""
    ran = run("wait", GOOD, "-q")
    data = json.loads(ran.out)
    times = {name: data["tasks"][0].pop(name) for name in ("created_on", "finished_on")}
    resources = {"instances": ["vm-1"], "volumes": ["disk-1", "disk-2"]}
    task = {"id": GOOD, "task_type": "create_vm", "state": "FINISHED", "error": None, "created_resources": resources}
    assert data == {"tasks": [task], "created_resources": resources}
    assert all(time.endswith("+00:00") for time in times.values())
    assert (ran.code, ran.err) == (0, "")


def test_json_on_failure(run: Run) -> None:
    """JSON is printed on failure too, with the error and with what is left behind."""
    ran = run("wait", GOOD, BROKEN, "-o", "json", "-q")
    data = json.loads(ran.out)
    assert ran.code == 1
    assert [task["error"] for task in data["tasks"]] == [None, "No valid host was found"]
    assert data["created_resources"] == {"instances": ["vm-1"], "volumes": ["disk-1", "disk-2", "disk-3"]}


def test_the_error_of_a_wait_in_json() -> None:
    """A task that was never seen, and one whose wait ended first, have the reason as their error."""
    missing = Ending("a", error=TaskNotFoundError("no such task (a)"))
    late = TaskTimeoutError("b", waited=5, last_task=None, last_error=None)
    data = output.as_data([missing, Ending("b", a_task("b"), late)])
    nothing: dict[str, Any] = {"created_on": None, "finished_on": None, "created_resources": {}}
    assert data == {
        "tasks": [
            {"id": "a", "task_type": None, "state": None, "error": "no such task (a)", **nothing},
            {
                "id": "b",
                "task_type": "create_vm",
                "state": "RUNNING",
                "error": "not ended after 5 s: never seen (b); the task goes on",
                "created_on": "2026-07-01T12:00:00+00:00",
                "finished_on": None,
                "created_resources": {},
            },
        ],
        "created_resources": {},
    }


def test_text(run: Run) -> None:
    """A block for each task."""
    ran = run("wait", GOOD, BROKEN, EMPTY, "-o", "text", "-q")
    assert ran.out == (
        f"FINISHED  create_vm  {GOOD}  19s\n  instances: vm-1\n  volumes: disk-1, disk-2\n"
        f"ERROR     create_vm  {BROKEN}  0s\n  error: No valid host was found\n  volumes: disk-3\n"
        f"FINISHED  create_vm  {EMPTY}  19s\n"
    )


def test_text_of_what_was_never_seen() -> None:
    """A task of which nothing is known is UNKNOWN."""
    assert output.as_text([Ending("a"), Ending("b", a_task("b", task_type=None))]) == "UNKNOWN   a\nRUNNING   b\n"


def test_ids(run: Run) -> None:
    """One ID a line."""
    assert run("wait", GOOD, "-o", "ids", "-q") == (0, "vm-1\ndisk-1\ndisk-2\n", "")


def test_env(run: Run) -> None:
    """One assignment for each kind, for ``eval`` and for dotenv files."""
    assert run("wait", GOOD, "-o", "env", "-q") == (0, "INSTANCES=vm-1\nVOLUMES=disk-1,disk-2\n", "")


def test_github(run: Run, tmp_path: Path) -> None:
    """The step's outputs are appended to the file, and standard output stays empty."""
    file = tmp_path / "out"
    file.write_text("before=1\n")
    ran = run("wait", GOOD, "-o", "github", "-q", env={"GITHUB_OUTPUT": str(file)})
    assert ran == (0, "", "")
    assert read_github(file.read_text().removeprefix("before=1\n")) == {"instances": "vm-1", "volumes": "disk-1,disk-2"}


@pytest.mark.parametrize("form", ["ids", "env", "github"])
def test_what_programs_swallow_is_given_on_success_only(run: Run, tmp_path: Path, form: str) -> None:
    """Nothing takes the remains of a failure for a result."""
    file = tmp_path / "out"
    ran = run("wait", GOOD, BROKEN, "-o", form, "-q", env={"GITHUB_OUTPUT": str(file)})
    assert (ran.code, ran.out) == (1, "")
    assert not file.exists() or file.read_text() == ""


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "GITHUB_OUTPUT is not set, so this is no step of a GitHub workflow"),
        ({"GITHUB_OUTPUT": "/nowhere/at/all"}, "cannot write /nowhere/at/all: No such file or directory"),
    ],
)
def test_no_place_for_outputs(run: Run, env: dict[str, str], said: str) -> None:
    """That is said before anybody waits."""
    assert run("wait", ENDLESS, "-o", "github", env=env) == (2, "", f"waiter: --output github: {said}\n")


def read_github(text: str) -> dict[str, str]:
    """Read outputs as the runner does."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if line:
            name, _, mark = line.partition("<<")
            found[name] = "\n".join(iter(lambda: next(lines), mark))
    return found


def test_hostile_ids_in_a_shell(tmp_path: Path) -> None:
    """What the API says becomes the value of one variable, whatever it looks like."""
    kinds = {"instances": [HOSTILE], "path": ["/evil"], "x;touch pwned": ["z"], "LD_PRELOAD": ["z"]}
    lines = output.as_env(CreatedResources.from_mapping(kinds))
    assert len(lines.splitlines()) == 4
    script = 'eval "$(cat)"; printf "%s|%s|%s" "$INSTANCES" "$CREATED_PATH" "$PATH"'
    ran = subprocess.run(["/bin/sh", "-c", script], input=lines, capture_output=True, text=True, cwd=tmp_path, check=True)
    value, created_path, path = ran.stdout.split("|")
    assert value == r"""$(touch pwned)`id`'"; rm -rf / #\n\x1b]0;x\x07,\u202e"""
    assert (created_path, "/evil" in path, ran.stderr) == ("/evil", False, "")
    assert list(tmp_path.iterdir()) == []


def test_kinds_with_odd_names_are_not_lost() -> None:
    """What no variable and no output can be named with becomes an underscore, and kinds that share a name share its value."""
    kinds = {"x;y": ["1"], "x.y": ["2"], "": ["3"], "9a": [4], "Instances": ["5"], "new_kind": ["6"], "unknown_kinds": ["7"]}
    resources = CreatedResources.from_mapping({"instances": ["vm"], **kinds})
    rest = "CREATED_UNKNOWN_KINDS=7\n"
    assert output.as_env(resources) == (
        "INSTANCES=vm\nCREATED_X_Y=1,2\nCREATED_=3\nCREATED_9A=4\nCREATED_INSTANCES=5\nCREATED_NEW_KIND=6\n" + rest
    )
    assert read_github(output.as_github(resources)) == {
        "instances": "vm",
        "created_x_y": "1,2",
        "created_": "3",
        "created_9a": "4",
        "created_instances": "5",
        "new_kind": "6",
        "unknown_kinds": "7",
    }


@settings(max_examples=50)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_no_id_forges_a_line(ids: list[str]) -> None:
    """For any IDs there is one line each, one assignment that a shell reads back, and one output."""
    resources = CreatedResources.from_mapping({"instances": ids})
    shown = [printable(one) for one in dict.fromkeys(ids)]
    assert output.as_ids(resources).splitlines() == shown
    assert shlex.split(output.as_env(resources)) == [f"INSTANCES={','.join(shown)}"]
    assert read_github(output.as_github(resources)) == {"instances": ",".join(shown)}
    assert json.loads(output.as_json(resources.as_dict())) == {"instances": list(dict.fromkeys(ids))}


def test_the_delimiter_differs_each_time() -> None:
    """Nobody can guess the delimiter of an output."""
    resources = CreatedResources(instances=("a",))
    assert output.as_github(resources) != output.as_github(resources)


def test_hostile_text_on_a_terminal() -> None:
    """Control characters of an error, a type or an ID are shown, not obeyed."""
    ending = Ending("a", a_task("a", "ERROR", task_type=HOSTILE, error=HOSTILE, made={"instances": [HOSTILE]}))
    assert all(line.isprintable() for line in output.as_text([ending]).split("\n"))
    assert output.as_json(output.as_data([ending])).isascii()


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
def test_query(run: Run, form: str, query: str, out: str) -> None:
    """A part of the JSON, as JSON, or bare for a shell."""
    assert run("wait", GOOD, "-q", "-o", form, "--query", query) == (0, out, "")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--query", "a["], "--query: Invalid jmespath expression: Incomplete expression:"),
        (["--query", "nope(@)"], "--query: Unknown function: nope()"),
        (["--query", "a", "-o", "env"], "--query goes with --output text, json or ids, not env"),
    ],
)
def test_a_bad_query(run: Run, argv: list[str], said: str) -> None:
    """It is usage, and said before the wait."""
    assert run("wait", GOOD, "-q", *argv) == Ran(2, "", f"waiter: {said}\n")


@pytest.mark.parametrize("argv", [["wait", ENDLESS], ["status", GOOD]])
def test_unknown_functions_are_refused_before_the_wait(run: Run, argv: list[str]) -> None:
    """Every function of a query is looked up first, however deep it stands."""
    ran = run(*argv, "--query", "tasks[?length(id) > `1` && b(@)].{x: a(state)} | keys(@)")
    assert ran == Ran(2, "", "waiter: --query: Unknown function: a(), b()\n")


@pytest.mark.parametrize("query", ["keys(`1`)", "&tasks"])
@pytest.mark.parametrize(
    ("argv", "code"),
    [(["wait", GOOD], 2), (["wait", BROKEN], 1), (["wait", ENDLESS, "--timeout", "0.1"], 124), (["status", BROKEN], 1)],
    ids=["finished", "failed", "timed out", "status"],
)
@pytest.mark.parametrize("form", ["json", "ids"])
def test_a_query_that_fails_hides_nothing(run: Run, argv: list[str], code: int, query: str, form: str) -> None:
    """How the task ended gives the code, and the whole result is there although the query has no answer."""
    ran = run(*argv, "-o", form, "--query", query)
    assert ran.code == code
    assert [task["id"] for task in json.loads(ran.out)["tasks"]] == [argv[1]]
    assert "waiter: --query: " in ran.err
    assert "; so here is the whole result\n" in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_outputs_that_cannot_be_written(run: Run) -> None:
    """It is one line and 70, not a success."""
    ran = run("wait", GOOD, "-o", "github", "-q", "--", "true", env={"GITHUB_OUTPUT": "/dev/full"})
    assert ran == Ran(70, "", "waiter: cannot write to GITHUB_OUTPUT: No space left on device\n")


@pytest.mark.parametrize(("argv", "code"), [([BROKEN], 1), ([ENDLESS, "--timeout", "0.1"], 124)])
def test_how_the_task_ended_outweighs_a_full_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, argv: list[str], code: int
) -> None:
    """A result that nobody can store does not hide a failure, nor how to go on."""

    def fail(_: str) -> None:
        message = "cannot write the result: No space left on device"
        raise OutputError(message)

    monkeypatch.setattr(cli_result, "write_result", fail)
    ran = run("wait", *argv, "-q")
    assert (ran.code, ran.out) == (code, "")
    assert "waiter: cannot write the result: No space left on device\n" in ran.err
    assert ("to go on waiting" in ran.err.splitlines()[-1]) == (code == 124)
