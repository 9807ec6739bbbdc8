"""``waiter simulate``."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Self

import httpx
import pytest
from command_parts import GOOD, Run

from waiter import testing
from waiter.cli.commands import simulate
from waiter.console.signals import Interrupted


def test_simulation_serves_until_sigterm(start: Callable[..., subprocess.Popen[str]]) -> None:
    """It prints the connection as lines for ``eval`` and the task IDs, and exits with 0."""
    with start("simulate", "--speed", "100") as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(5)]
        url = lines[0].removeprefix("export GCORE_BASE_URL=").strip()
        assert lines[1] == "export GCORE_API_KEY='simulated$key'\n"
        assert lines[2] == f"# waiter wait {GOOD}\n"
        answer = httpx.get(f"{url}/cloud/v1/tasks/{GOOD}", headers={"Authorization": "apikey simulated$key"}, timeout=60)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
    assert (answer.json()["state"], child.returncode, err) == ("NEW", 0, "waiter: simulating; Ctrl-C stops it\n")


def test_scripts_in_toml_and_json(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script may be a TOML or a JSON file."""
    monkeypatch.setattr(simulate, "_serve_until_stopped", lambda: 0)
    toml = tmp_path / "cloud.toml"
    tasks = '[[tasks]]\nid = "a"\nphases = [{state = "RUNNING"}]\n[[tasks]]\nphases = [{state = "NEW"}]\n'
    toml.write_text(f'api_key = "k"\n{tasks}')
    ran = run("simulate", str(toml), "--latency", "0.1", "--fault-rate", "0.1")
    assert ran.out.splitlines()[1:] == ["export GCORE_API_KEY=k", "# waiter wait a"]
    written = tmp_path / "cloud.json"
    written.write_text('{"tasks": []}')
    assert len(run("simulate", str(written), "--listen", "[::1]:0").out.splitlines()) == 2


class InterruptedEvent:
    """An event whose second wait is interrupted by Ctrl-C."""

    naps: ClassVar = iter([False])

    def wait(self, _: float) -> bool:
        if (nap := next(self.naps, None)) is None:
            raise Interrupted(signal.SIGINT)
        return nap


def test_ctrl_c_stops_the_simulation_with_exit_code_0(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping it is not a failure."""
    monkeypatch.setattr(simulate, "threading", SimpleNamespace(Event=InterruptedEvent))
    ran = run("simulate")
    assert (ran.code, ran.err) == (0, "waiter: simulating; Ctrl-C stops it\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.toml", None, "cannot read {}: No such file or directory"),
        ("bad.toml", "tasks = [", "cannot read {}: Invalid value (at end of document)"),
        ("bad.json", "{", "cannot read {}: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("list.json", "[]", "cannot read {}: it does not contain an object"),
    ],
)
def test_unreadable_script_is_a_usage_error(run: Run, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """The message names the file and the reason."""
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    assert run("simulate", str(file)) == (2, "", f"waiter: {message.format(file)}\n")


def test_all_errors_of_a_script_are_reported_together(run: Run, tmp_path: Path) -> None:
    """The message contains every error of an invalid script."""
    file = tmp_path / "cloud.json"
    file.write_text('{"speeed": 3, "tasks": [{"phases": []}]}')
    ran = run("simulate", str(file))
    assert ran.code == 2
    assert "speeed" in ran.err
    assert "a script needs a phase" in ran.err


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("127.0.0.1", "it must look like 127.0.0.1:8090"),
        ("127.0.0.1:99999", "it must look like 127.0.0.1:8090"),
        ("203.0.113.1:0", "Cannot assign requested address"),
    ],
)
def test_unusable_address_is_a_usage_error(run: Run, where: str, why: str) -> None:
    """The message names the address and the reason."""
    assert run("simulate", "--listen", where) == (2, "", f"waiter: cannot listen on {where}: {why}\n")


def test_command_runs_against_the_simulation(run: Run, tmp_path: Path) -> None:
    """The command has the address and the key in its environment, and its exit code is returned."""
    file = tmp_path / "seen"
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['GCORE_BASE_URL'] + os.environ['GCORE_API_KEY']); exit(5)"
    ran = run("simulate", "--", sys.executable, "-c", code, str(file))
    assert (ran.code, ran.out, ran.err) == (5, "", "")
    assert file.read_text().startswith("http://127.0.0.1:")
    assert file.read_text().endswith("simulated$key")


class Child:
    """A child process that is interrupted while it runs."""

    def __init__(self, *arrived: signal.Signals, code: int) -> None:
        self.arrived = list(arrived)
        self.code = code
        self.terminated = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self) -> int:
        if self.arrived:
            raise Interrupted(self.arrived.pop())
        return self.code

    def terminate(self) -> None:
        self.terminated += 1


@pytest.mark.parametrize(
    ("arrived", "code", "ended", "terminated"),
    [([signal.SIGTERM], -15, 143, 1), ([signal.SIGINT], 130, 130, 0), ([], 0, 0, 0)],
)
def test_sigterm_is_forwarded_to_the_command(
    monkeypatch: pytest.MonkeyPatch, arrived: list[signal.Signals], code: int, ended: int, terminated: int
) -> None:
    """Ctrl-C is not: the terminal sends it to every process."""
    child = Child(*arrived, code=code)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: child)
    assert simulate.run_against(["x"], {}) == ended
    assert child.terminated == terminated


def test_schema_of_the_file_is_printed(run: Run) -> None:
    """It is the file beside the simulation, for editors."""
    ran = run("simulate", "--schema")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (Path(testing.__file__).parent / "simulation.schema.json").read_text()
