"""Failures to write the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, Ran, Run, event_of, interrupt_after, make_task

from waiter.cli.output import writer as writer_module
from waiter.console.streams import OutputError
from waiter.events import Event


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_result_after_events_that_could_not_be_written_is_an_error(process: Run, tmp_path: Path) -> None:
    """The command after -- does not run without it."""
    mark = tmp_path / "ran"
    with Path("/dev/full").open("w") as full:
        ran = process("wait", GOOD, "-o", "events", "-q", "--", "touch", str(mark), stdout=full)
    assert (ran.code, mark.exists()) == (70, False)
    assert ran.err == "waiter: cannot write the result: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_unwritable_output_file_exits_70(run: Run) -> None:
    """The command after ``--`` is not run."""
    ran = run("wait", GOOD, "-o", "github", "-q", "--", "true", env={"GITHUB_OUTPUT": "/dev/full"})
    assert ran == Ran(70, "", "waiter: cannot write to GITHUB_OUTPUT: No space left on device\n")


@pytest.mark.parametrize(("argv", "code"), [([BROKEN], 1), ([ENDLESS, "--timeout", "0.1"], 124)])
def test_exit_code_of_the_task_outweighs_a_full_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, argv: list[str], code: int
) -> None:
    """A result that cannot be written does not hide a failure or the command that resumes."""

    def fail(_: str) -> None:
        message = "cannot write the result: No space left on device"
        raise OutputError(message)

    monkeypatch.setattr(writer_module, "write_result", fail)
    ran = run("wait", *argv, "-q")
    assert (ran.code, ran.out) == (code, "")
    assert "waiter: cannot write the result: No space left on device\n" in ran.err
    assert ("to resume" in ran.err.splitlines()[-1]) == (code == 124)


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["wait", GOOD, "--strict"], "--strict goes with --query"),
        (["status", GOOD, "--strict"], "--strict goes with --query"),
        (["list", "--strict"], "--strict goes with --query"),
        (
            ["wait", GOOD, "--query", "tasks", "--", "true"],
            "--query beside a COMMAND needs --output, because standard output belongs to the command",
        ),
    ],
)
def test_option_without_effect_is_refused(run: Run, argv: list[str], problem: str) -> None:
    """The result would not be what the user expects."""
    assert run(*argv) == (2, "", f"waiter: {problem}\n")


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (["-o", "ids"], {"WAITER_STRICT": "1"}),
        (["-o", "events"], {"WAITER_QUERY": "tasks", "WAITER_STRICT": "1"}),
        (["-o", "events", "--query", ""], {}),
    ],
)
def test_option_without_effect_in_the_environment_is_allowed(run: Run, argv: list[str], env: dict[str, str]) -> None:
    """It may be meant for another command. An empty query is none."""
    assert run("wait", GOOD, "-q", *argv, env=env).code == 0


def test_query_in_the_environment_beside_a_command_is_allowed(run: Run) -> None:
    """The command is not run, because the task does not end."""
    env = {"WAITER_QUERY": "tasks", "WAITER_STRICT": "1"}
    assert run("wait", ENDLESS, "-q", "--timeout", "0.1", "--", "true", env=env).code == 124


def test_events_after_one_that_could_not_be_written_are_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is told at the end."""
    written: list[str] = []

    def fail(text: str) -> None:
        written.append(text)
        message = "cannot write the result: No space left on device"
        raise OutputError(message)

    monkeypatch.setattr(writer_module, "write_result", fail)
    ran = run("wait", GOOD, "-q", "-o", "events")
    assert (ran.code, len(written)) == (70, 1)
    assert ran.err == "waiter: cannot write the result: No space left on device\n"


def test_interrupted_wait_has_an_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the result; it names the type of the task once that is known."""
    started = Event("wait.started", {"task_id": ENDLESS})
    interrupt_after(monkeypatch, started, event_of(make_task(ENDLESS), task_type="create_vm"))
    ran = run("wait", ENDLESS, "-q", "-o", "events")
    *_, over, result = map(json.loads, ran.out.splitlines())
    assert (ran.code, over["event"], over["outcome"], over["task_type"]) == (143, "wait.ended", "cancelled", "create_vm")
    assert result["event"] == "result"
