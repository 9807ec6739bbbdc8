"""Every row of the table of exit codes, with the real command through pipes and on a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Terminal

from waiter import errors
from waiter.console.exit_codes import combined_exit_code, exit_code, is_still_running

ROWS: dict[str, tuple[int, list[str], dict[str, str], str]] = {
    "a task ended in ERROR": (1, ["wait", BROKEN], {}, f"create_vm failed: No valid host was found ({BROKEN})"),
    "wrong usage": (2, ["wait", GOOD, "--tiemout", "5"], {}, "did you mean --timeout?"),
    "wrong configuration": (2, ["wait", GOOD], {"GCORE_API_KEY": ""}, "waiter: the API key is empty"),
    "refused": (3, ["wait", GOOD], {"GCORE_API_KEY": "wrong"}, "the API key was rejected (401)"),
    "no such task": (4, ["status", UNKNOWN], {}, "no such task for this account (404)"),
    "the API away": (5, ["wait", GOOD, "--max-outage", "0.2"], {"GCORE_BASE_URL": "http://127.0.0.1:9"}, "no usable answer"),
    "stalled": (6, ["wait", ENDLESS, "--stall-timeout", "0.2"], {}, "no change for"),
    "timed out": (124, ["wait", ENDLESS, "--timeout", "0.2"], {}, f"to resume: waiter wait --timeout 0.2 {ENDLESS}"),
}


# How each format looks; without --output a terminal gets text and a pipe gets JSON.
FORMS = {
    "text": ["  instances: vm-1", "  volumes: disk-1, disk-2"],
    "json": ['  "created_resources": {', '      "vm-1"'],
    "ids": ["vm-1", "disk-1", "disk-2"],
    "env": ["INSTANCES=vm-1", "VOLUMES=disk-1,disk-2"],
    "github": ["vm-1", "disk-1,disk-2"],
}


Rows = dict[str, Terminal]


@pytest.fixture(scope="module")
def rows(environ: dict[str, str]) -> Iterator[Rows]:
    """Start a process for every row; the result goes into a pipe."""
    begun = {
        name: Terminal(argv, environ | env, columns=200, stdout=subprocess.PIPE) for name, (_, argv, env, _) in ROWS.items()
    }
    yield begun
    end(begun.values())


def end(terminals: Iterable[Terminal]) -> None:
    for one in terminals:
        if one.process.poll() is None:
            one.kill()
        if one.process.stdout:
            one.process.stdout.close()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table(rows: Rows, row: str) -> None:
    """The exit code, the message on the screen, and the JSON in the pipe if there was a task."""
    code, argv, _, message = ROWS[row]
    ended, screen = rows[row].finish()
    out = cast("BinaryIO", rows[row].process.stdout).read()
    assert ended == code
    assert message in "\n".join(screen)
    assert "Traceback" not in "\n".join(screen)
    assert [task["id"] for task in json.loads(out)["tasks"]] == [argv[1]] if code != 2 else out == b""


@pytest.fixture(scope="module")
def forms(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Terminal, Path]]]:
    """Start a process for every format, through pipes and on a terminal."""
    begun: dict[str, tuple[Any, Terminal, Path]] = {}
    for form in FORMS:
        argv, outputs = ["wait", GOOD, "-o", form], tmp_path_factory.mktemp("outputs") / "outputs"
        env = environ | {"GITHUB_OUTPUT": str(outputs)}
        command = [sys.executable, "-m", "waiter", *argv]
        pipes = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        begun[form] = pipes, Terminal(argv, env, columns=100), outputs
    yield begun
    for pipes, _, _ in begun.values():
        pipes.communicate(timeout=60)
    end(screen for _, screen, _ in begun.values())


@pytest.mark.parametrize("form", FORMS)
def test_every_output_format(forms: dict[str, tuple[Any, Terminal, Path]], form: str) -> None:
    """On standard output, on the screen, or in the file of the workflow."""
    pipes, terminal, outputs = forms[form]
    out, err = pipes.communicate(timeout=60)
    ended, screen = terminal.finish()
    assert (pipes.returncode, ended) == (0, 0)
    assert err == f"waiter: create_vm {GOOD} is FINISHED (took 19s)\n"
    written = outputs.read_text() if form == "github" else ""
    for shown in (written or out, written or "\n".join(screen)):
        assert [line for line in FORMS[form] if line not in shown.splitlines()] == []
    assert (out == "") == (form == "github")


FAULT = (
    "import sys, waiter.cli.commands.wait as w; w.ProgressModel = None;"
    "from waiter.cli import main; sys.exit(main(sys.argv[1:]))"
)


def test_fault_in_waiter_exits_70(environ: dict[str, str]) -> None:
    """The message is one line; with ``--log-level debug`` the traceback follows."""
    argv = [sys.executable, "-c", FAULT, "wait", GOOD, "--log-level=debug"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (70, "")
    message, *where = ran.stderr.splitlines()
    assert message == "waiter: a fault in waiter itself: TypeError: 'NoneType' object is not callable"
    assert where[0] == "Traceback (most recent call last):"


def test_lowest_code_of_several_counts() -> None:
    """A failure outweighs everything, and a time-out only success."""
    refused, missing = errors.PermissionDeniedError("no"), errors.TaskNotFoundError("no")
    away = errors.ApiUnavailableError("no")
    late = errors.TaskTimeoutError("x", waited=1, last_task=None, last_error=None)
    assert combined_exit_code([]) == 0
    assert combined_exit_code([None, None]) == 0
    assert combined_exit_code([None, late]) == 124
    assert combined_exit_code([late, away]) == 5
    assert combined_exit_code([missing, away]) == 4
    assert combined_exit_code([missing, refused, late]) == 3


def test_other_errors_have_exit_codes() -> None:
    """An unusable response counts as none; other errors are configuration."""
    assert exit_code(errors.ApiError("418")) == 5
    assert exit_code(errors.InvalidResponseError("html")) == 5
    assert exit_code(errors.ConfigurationError("no key")) == 2
    assert exit_code(errors.WaiterError("the wait ended with LookupError")) == 70
    missing = errors.TaskNotFoundError("no")
    assert exit_code(errors.TasksError.of(succeeded={}, failed={"a": missing, "b": errors.ApiUnavailableError("no")})) == 4


def test_task_may_be_running_after_a_time_out_or_an_outage() -> None:
    """After a refusal it is unknown."""
    assert is_still_running(errors.ApiUnavailableError("no"))
    assert not is_still_running(errors.TaskNotFoundError("no"))
    assert not is_still_running(None)
