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
    "refused": (3, ["wait", GOOD], {"GCORE_API_KEY": "wrong"}, "the API key is not accepted (401)"),
    "no such task": (4, ["status", UNKNOWN], {}, "no such task for this account (404)"),
    "the API away": (5, ["wait", GOOD, "--max-outage", "0.2"], {"GCORE_BASE_URL": "http://127.0.0.1:9"}, "no usable answer"),
    "stalled": (6, ["wait", ENDLESS, "--stall-timeout", "0.2"], {}, "no change for 0 s"),
    "timed out": (124, ["wait", ENDLESS, "--timeout", "0.2"], {}, f"to go on waiting: waiter wait --timeout 0.2 {ENDLESS}"),
}
# What each form of the result looks like; text is what a terminal gets and json what a pipe gets unless told otherwise.
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
    """All rows, begun together: each is little but a process that starts. The result goes into a pipe."""
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
    """The code is that of the table, the screen says why, and so does the JSON in the pipe, if anything was awaited."""
    code, argv, _, said = ROWS[row]
    ended, screen = rows[row].finish()
    out = cast("BinaryIO", rows[row].process.stdout).read()
    assert ended == code
    assert said in "\n".join(screen)
    assert "Traceback" not in "\n".join(screen)
    assert [task["id"] for task in json.loads(out)["tasks"]] == [argv[1]] if code != 2 else out == b""


@pytest.fixture(scope="module")
def forms(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Terminal, Path]]]:
    """All forms, through pipes and on a terminal, begun together."""
    begun: dict[str, tuple[Any, Terminal, Path]] = {}
    for form in FORMS:
        argv, outputs = ["wait", GOOD, "-o", form], tmp_path_factory.mktemp("outputs") / "outputs"
        env = environ | {"GITHUB_OUTPUT": str(outputs)}
        command = [sys.executable, "-m", "waiter", *argv]
        pipes = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        begun[form] = pipes, Terminal(argv, env, columns=100), outputs
    yield begun
    for pipes, _, _ in begun.values():
        pipes.communicate(timeout=30)
    end(screen for _, screen, _ in begun.values())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_result(forms: dict[str, tuple[Any, Terminal, Path]], form: str) -> None:
    """With code 0, on standard output and on the screen, or in the file that the runner of the workflow names."""
    pipes, terminal, outputs = forms[form]
    out, err = pipes.communicate(timeout=30)
    ended, screen = terminal.finish()
    assert (pipes.returncode, ended) == (0, 0)
    assert err == f"waiter: create_vm {GOOD} is FINISHED (took 19s)\n"
    written = outputs.read_text() if form == "github" else ""
    for shown in (written or out, written or "\n".join(screen)):
        assert [line for line in FORMS[form] if line not in shown.splitlines()] == []
    assert (out == "") == (form == "github")


FAULT = "import sys, waiter.cli.wait as w; w.Board = None; from waiter.cli import main; sys.exit(main(sys.argv[1:]))"


def test_a_fault_in_waiter_is_70(environ: dict[str, str]) -> None:
    """A fault of its own is owned up to in one line, and who asks for it is shown where it happened."""
    argv = [sys.executable, "-c", FAULT, "wait", GOOD, "--log-level=debug"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (70, "")
    said, *where = ran.stderr.splitlines()
    assert said == "waiter: a fault in waiter itself: TypeError: 'NoneType' object is not callable"
    assert where[0] == "Traceback (most recent call last):"


def test_the_worst_of_several() -> None:
    """The lowest code other than 0 counts: a failure outweighs all, a wait that can be taken up again nothing but success."""
    refused, missing = errors.PermissionDeniedError("no"), errors.TaskNotFoundError("no")
    away = errors.ApiUnavailableError("no")
    late = errors.TaskTimeoutError("x", waited=1, last_task=None, last_error=None)
    assert combined_exit_code([]) == 0
    assert combined_exit_code([None, None]) == 0
    assert combined_exit_code([None, late]) == 124
    assert combined_exit_code([late, away]) == 5
    assert combined_exit_code([missing, away]) == 4
    assert combined_exit_code([missing, refused, late]) == 3


def test_errors_beyond_the_table() -> None:
    """An answer that nobody can use counts as none; what is none of the API's is configuration."""
    assert exit_code(errors.ApiError("418")) == 5
    assert exit_code(errors.InvalidResponseError("html")) == 5
    assert exit_code(errors.ConfigurationError("no key")) == 2
    missing = errors.TaskNotFoundError("no")
    assert exit_code(errors.TasksError.of(succeeded={}, failed={"a": missing, "b": errors.ApiUnavailableError("no")})) == 4


def test_what_goes_on() -> None:
    """A task goes on after a time-out and an outage, not after a refusal."""
    assert is_still_running(errors.ApiUnavailableError("no"))
    assert not is_still_running(errors.TaskNotFoundError("no"))
    assert not is_still_running(None)
