"""The output formats, and that no text of the API can act where it is written."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from command_parts import BROKEN, EMPTY, ENDLESS, GOOD, Run, make_task
from hypothesis import given, settings
from hypothesis import strategies as st

from waiter.cli.output import formats
from waiter.cli.output.formats import FORMATS, text_blocks
from waiter.cli.output.result import TaskResult
from waiter.console.formatting import printable
from waiter.task import CreatedResources

HOSTILE = "$(touch pwned)`id`'\"; rm -rf / #\n\x1b]0;x\x07,\u202e"


def rendered(name: str, resources: CreatedResources) -> str:
    """Return a format of the result of one task."""
    return FORMATS[name].render([TaskResult("a", make_task("a", "FINISHED", created_resources=resources))])


def test_json_has_the_resources_of_each_task_and_of_all(run: Run) -> None:
    """The object has the same shape for one task and for several."""
    ran = run("wait", GOOD, "-q")
    data = json.loads(ran.out)
    times = {name: data["tasks"][0].pop(name) for name in ("created_on", "finished_on")}
    resources = {"instances": ["vm-1"], "volumes": ["disk-1", "disk-2"]}
    task = {"id": GOOD, "task_type": "create_vm", "target": None, "state": "FINISHED", "status": "finished"}
    task |= {"message": None, "error": None}
    assert data == {"tasks": [task | {"created_resources": resources}], "created_resources": resources}
    assert all(time.endswith("Z") for time in times.values())
    assert (ran.code, ran.err) == (0, "")


def test_json_is_printed_on_failure(run: Run) -> None:
    """It has the error and what the failed task created."""
    ran = run("wait", GOOD, BROKEN, "-o", "json", "-q")
    data = json.loads(ran.out)
    assert ran.code == 1
    assert [task["error"] for task in data["tasks"]] == [None, "No valid host was found"]
    assert data["created_resources"] == {"instances": ["vm-1"], "volumes": ["disk-1", "disk-2", "disk-3"]}


def test_text_has_a_block_for_each_task(run: Run) -> None:
    """A block has the state, the duration, the error and the resources."""
    ran = run("wait", GOOD, BROKEN, EMPTY, "-o", "text", "-q")
    assert ran.out == (
        f"FINISHED  create_vm  {GOOD}  19s\n  instances: vm-1\n  volumes: disk-1, disk-2\n"
        f"ERROR     create_vm  {BROKEN}  0s\n  error: No valid host was found\n  volumes: disk-3\n"
        f"FINISHED  create_vm  {EMPTY}  19s\n"
    )


def test_text_of_a_task_never_polled_is_unknown() -> None:
    """A task without an answer is UNKNOWN."""
    assert (
        FORMATS["text"].render([TaskResult("a"), TaskResult("b", make_task("b", task_type=None))])
        == "UNKNOWN   a\nRUNNING   b\n"
    )


def test_text_names_what_a_task_acts_on() -> None:
    """With short IDs, beside which that of the task stands whole; a single poll adds the age."""
    ids = {"volume_id": "726ecfcc-7fd0-4e30-a86e-7892524aa483"}
    results = [
        TaskResult(GOOD, make_task(task_type="extend_volume", data=ids), age=63.0),
        TaskResult("b", make_task("b", data={"name": "web-1\x1b"})),
    ]
    assert FORMATS["text"].render(results) == (
        f"RUNNING   extend_volume  volume 726ecfcc  {GOOD}  1m03s old\nRUNNING   create_vm  web-1\\x1b  b\n"
    )


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (
            None,
            [f"FINISHED  create_vm  web-1  {GOOD}  19s", f"  instances: {BROKEN}", f"  volumes: {EMPTY}, {ENDLESS}"],
        ),
        (
            80,
            [
                f"FINISHED  create_vm  web-1  {GOOD}  19s",
                f"  instances: {BROKEN}",
                "  volumes:",
                f"    {EMPTY}",
                f"    {ENDLESS}",
            ],
        ),
        (
            40,
            [
                "FINISHED  create_vm  web-1  19s",
                f"  {GOOD}",
                "  instances:",
                f"    {BROKEN}",
                "  volumes:",
                f"    {EMPTY}",
                f"    {ENDLESS}",
            ],
        ),
    ],
)
def test_text_breaks_no_id_at_the_edge_of_the_terminal(columns: int | None, lines: list[str]) -> None:
    """What is wider has one ID a line; into a pipe a line is as long as it is."""
    created = {"instances": [BROKEN], "volumes": [EMPTY, ENDLESS]}
    task = make_task(GOOD, "FINISHED", took=19, created=created, data={"name": "web-1"})
    assert text_blocks([TaskResult(GOOD, task)], columns).splitlines() == lines


def test_text_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of standard output."""
    monkeypatch.setattr(formats, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "40")
    assert FORMATS["text"].render([TaskResult(GOOD, make_task(GOOD))]) == f"RUNNING   create_vm\n  {GOOD}\n"


def test_ids_are_one_a_line(run: Run) -> None:
    """The format ids is for loops of a shell."""
    assert run("wait", GOOD, "-o", "ids", "-q") == (0, "vm-1\ndisk-1\ndisk-2\n", "")


def test_env_has_one_assignment_for_each_kind(run: Run) -> None:
    """The format env is for ``eval`` and for dotenv files."""
    assert run("wait", GOOD, "-o", "env", "-q") == (0, "INSTANCES=vm-1\nVOLUMES=disk-1,disk-2\n", "")


def test_github_appends_to_the_output_file(run: Run, tmp_path: Path) -> None:
    """The outputs of the step are appended, and standard output stays empty."""
    file = tmp_path / "out"
    file.write_text("before=1\n")
    ran = run("wait", GOOD, "-o", "github", "-q", env={"GITHUB_OUTPUT": str(file)})
    assert ran == (0, "", "")
    assert read_github(file.read_text().removeprefix("before=1\n")) == {"instances": "vm-1", "volumes": "disk-1,disk-2"}


@pytest.mark.parametrize("form", ["ids", "env", "github"])
def test_formats_for_programs_have_only_what_finished_tasks_created(run: Run, tmp_path: Path, form: str) -> None:
    """No program takes what a failure left for a result, and one failure does not hide the IDs of the others."""
    file = tmp_path / "out"
    ran = run("wait", GOOD, BROKEN, "-o", form, "-q", env={"GITHUB_OUTPUT": str(file)})
    written = file.read_text() if form == "github" else ran.out
    assert ran.code == 1
    assert ("vm-1" in written, "disk-1" in written, "disk-3" in written) == (True, True, False)
    assert run("wait", BROKEN, "-o", form, "-q", env={"GITHUB_OUTPUT": str(tmp_path / "other")}).out == ""


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "GITHUB_OUTPUT is not set, so this is no step of a GitHub workflow"),
        ({"GITHUB_OUTPUT": "/nowhere/at/all"}, "cannot write /nowhere/at/all: No such file or directory"),
    ],
)
def test_missing_github_output_is_reported_before_the_wait(run: Run, env: dict[str, str], message: str) -> None:
    """The message names the variable or the file."""
    assert run("wait", ENDLESS, "-o", "github", env=env) == (2, "", f"waiter: --output github: {message}\n")


def read_github(text: str) -> dict[str, str]:
    """Return outputs as the runner reads them."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if line:
            name, _, mark = line.partition("<<")
            found[name] = "\n".join(iter(lambda: next(lines), mark))
    return found


def test_hostile_ids_cannot_act_in_a_shell(tmp_path: Path) -> None:
    """Any text of the API becomes the value of one variable."""
    kinds = {"instances": [HOSTILE], "path": ["/evil"], "x;touch pwned": ["z"], "LD_PRELOAD": ["z"]}
    lines = rendered("env", CreatedResources.from_mapping(kinds))
    assert len(lines.splitlines()) == 4
    script = 'eval "$(cat)"; printf "%s|%s|%s" "$INSTANCES" "$CREATED_PATH" "$PATH"'
    ran = subprocess.run(["/bin/sh", "-c", script], input=lines, capture_output=True, text=True, cwd=tmp_path, check=True)
    value, created_path, path = ran.stdout.split("|")
    assert value == r"""$(touch pwned)`id`'"; rm -rf / #\n\x1b]0;x\x07,\u202e"""
    assert (created_path, "/evil" in path, ran.stderr) == ("/evil", False, "")
    assert list(tmp_path.iterdir()) == []


def test_unusual_kinds_get_valid_names() -> None:
    """Characters that a name cannot have become an underscore, and kinds that so share a name share its value."""
    kinds = {"x;y": ["1"], "x.y": ["2"], "": ["3"], "9a": [4], "Instances": ["5"], "new_kind": ["6"], "unknown_kinds": ["7"]}
    resources = CreatedResources.from_mapping({"instances": ["vm"], **kinds})
    rest = "CREATED_UNKNOWN_KINDS=7\n"
    assert rendered("env", resources) == (
        "INSTANCES=vm\nCREATED_X_Y=1,2\nCREATED_=3\nCREATED_9A=4\nCREATED_INSTANCES=5\nCREATED_NEW_KIND=6\n" + rest
    )
    assert read_github(rendered("github", resources)) == {
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
def test_no_id_can_forge_a_line(ids: list[str]) -> None:
    """For any IDs there is one line each, one assignment that a shell reads back, and one output."""
    resources = CreatedResources.from_mapping({"instances": ids})
    shown = [printable(one) for one in dict.fromkeys(ids)]
    assert rendered("ids", resources).splitlines() == shown
    assert shlex.split(rendered("env", resources)) == [f"INSTANCES={','.join(shown)}"]
    assert read_github(rendered("github", resources)) == {"instances": ",".join(shown)}
    assert json.loads(rendered("json", resources))["created_resources"] == {"instances": list(dict.fromkeys(ids))}


def test_github_delimiter_is_random() -> None:
    """No value can contain a delimiter that it cannot predict."""
    resources = CreatedResources(instances=("a",))
    assert rendered("github", resources) != rendered("github", resources)


def test_control_characters_are_escaped() -> None:
    """Control characters of an error, a type or an ID do not reach the terminal."""
    ending = TaskResult("a", make_task("a", "ERROR", task_type=HOSTILE, error=HOSTILE, created={"instances": [HOSTILE]}))
    assert all(line.isprintable() for line in FORMATS["text"].render([ending]).split("\n"))
    assert FORMATS["json"].render([ending]).isascii()


def test_events_are_lines_of_json_and_the_result_is_the_last(run: Run) -> None:
    """Standard output has everything that happens, one object a line."""
    ran = run("wait", GOOD, "-q", "-o", "events")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert [line["event"] for line in lines] == [
        "wait.started", "task.state_changed", "task.finished", "wait.ended", "result",
    ]  # fmt: skip
    assert lines[1] | {"timestamp": None, "elapsed": None} == {
        "event": "task.state_changed",
        "timestamp": None,
        "task_id": GOOD,
        "task_type": "create_vm",
        "old": None,
        "new": "FINISHED",
        "detailed_state": None,
        "elapsed": None,
    }
    assert lines[-1]["created_resources"] == {"instances": ["vm-1"], "volumes": ["disk-1", "disk-2"]}
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_query_does_not_go_with_events(run: Run) -> None:
    """It would have to be applied to every line; jq does that."""
    ran = run("wait", ENDLESS, "-o", "events", "--query", "tasks")
    assert ran == (2, "", "waiter: --query does not go with --output events, which has everything\n")
