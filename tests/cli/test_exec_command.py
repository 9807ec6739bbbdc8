"""The command after ``--``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_parts import ENDLESS, GOOD, Run, objects

from waiter.cli import exec_command


def test_command_replaces_waiter(process: Run) -> None:
    """Its output follows the result, its exit code is returned, and variables of an outer wait are removed."""
    env = {"INSTANCES": "outer", "IMAGES": "outer", "OTHER": "kept", "PATH_": "kept"}
    show = 'echo "$INSTANCES $VOLUMES ${IMAGES-none} $OTHER $PATH_ ${GCORE_API_KEY:+key} $WAITER_TASK_IDS"; exit 7'
    ran = process("wait", GOOD, "-q", "-o", "ids", "--", "sh", "-c", show, env=env)
    assert ran == (7, f"vm-1\ndisk-1\ndisk-2\nvm-1 disk-1,disk-2 none kept kept key {GOOD}\n", "")


def test_signals_reach_the_command(start: Callable[..., subprocess.Popen[str]]) -> None:
    """SIGTERM is handled by the command, and SIGPIPE ends it."""
    script = "trap 'echo stopped; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with start("wait", GOOD, "-q", "--", "sh", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.terminate()
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (9, "stopped\n", "")
    with start("wait", GOOD, "-q", "--", "yes") as endless:
        assert endless.stdout is not None
        endless.stdout.readline()
        endless.stdout.close()
        assert endless.wait(60) == -signal.SIGPIPE


@pytest.mark.usefixtures("kept_signals")
def test_command_that_cannot_be_executed_exits_126(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """This is the code that shells use."""
    became: list[Any] = []
    monkeypatch.setattr(os, "execvpe", lambda *how: became.append(how))
    exec_command.exec_command(["deploy", "now"], {"A": "b"})
    assert became == [("deploy", ["deploy", "now"], {"A": "b"})]

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "execvpe", refuse)
    assert exec_command.exec_command(["deploy"], {}) == 126
    assert capsys.readouterr().err == "waiter: cannot run deploy: Permission denied\n"


@pytest.mark.parametrize(("path", "program"), [(os.defpath, "/bin/sh"), ("/nowhere", "sh")])
def test_command_is_supervised_by_process_1(monkeypatch: pytest.MonkeyPatch, path: str, program: str) -> None:
    """It is looked up where the command's environment says."""
    became: list[Any] = []

    def supervise(*how: object) -> int:
        became.append(how)
        return 7

    monkeypatch.setattr(exec_command, "is_init", lambda: True)
    monkeypatch.setattr(exec_command, "supervise", supervise)
    assert exec_command.exec_command(["sh", "-c", "x"], {"PATH": path}) == 7
    ((found, *rest),) = became
    assert (Path(found).name, rest) == (Path(program).name, [["sh", "-c", "x"], {"PATH": path}])
    assert Path(found).is_absolute() == Path(program).is_absolute()


def test_command_is_a_child_process_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is returned."""
    monkeypatch.setattr(exec_command, "CAN_EXEC", False)
    assert exec_command.exec_command([sys.executable, "-c", "import os; exit(int(os.environ['A']))"], {"A": "5"}) == 5


def test_missing_signals_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems have no SIGPIPE."""
    monkeypatch.delattr(signal, "SIGXFSZ")
    monkeypatch.delattr(signal, "SIGPIPE")
    exec_command._restore_signals()


def test_missing_command_exits_127_and_an_unexecutable_one_126(run: Run, tmp_path: Path) -> None:
    """These are the codes of a shell, and both are reported before the wait."""
    script = tmp_path / "deploy.sh"
    script.write_text("#!/bin/sh")
    missing = run("wait", ENDLESS, "--", "no-such-command")
    assert missing == (127, "", "waiter: the command after -- is not found: no-such-command\n")
    assert run("wait", ENDLESS, "--", str(script)) == (126, "", f"waiter: the command after -- cannot be executed: {script}\n")
    logged = run("wait", ENDLESS, "--log-format", "json", "--", "no-such-command")
    assert objects(logged.err)[0]["exit_code"] == 127
