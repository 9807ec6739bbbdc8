"""The other commands: status, history, simulate, demo, completion, and the manual."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Self

import httpx
import pytest
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Run

from waiter.cli import manual, simulate
from waiter.cli.commands import COMMANDS
from waiter.console.signals import Interrupted

ROOT = Path(__file__).parents[2]


def test_status_of_a_task_that_goes_on(run: Run) -> None:
    """A look that succeeds is a success, whatever the state."""
    assert run("status", ENDLESS, "-o", "text") == (0, f"RUNNING   create_vm  {ENDLESS}\n", "")
    assert run("status", ENDLESS, "-o", "text", "--query", "tasks[0].state") == (0, "RUNNING\n", "")


def test_status_of_a_failed_and_of_an_unknown_task(run: Run) -> None:
    """The worst counts, and every task is shown."""
    ran = run("status", BROKEN, UNKNOWN, GOOD)
    assert [task["state"] for task in json.loads(ran.out)["tasks"]] == ["ERROR", None, "FINISHED"]
    assert ran.code == 1
    assert ran.err == f"waiter: no such task for this account (404): NotFound Task {UNKNOWN} was not found ({UNKNOWN})\n"


def test_status_logs_when_asked(run: Run) -> None:
    """A log can be asked for here too, and has nothing to tell of a look."""
    assert run("status", GOOD, "-o", "ids", "--log-format", "json") == (0, "vm-1\ndisk-1\ndisk-2\n", "")


def test_simulate_serves_until_it_is_stopped(start: Callable[..., subprocess.Popen[str]]) -> None:
    """It says in lines for ``eval`` where it is and what can be awaited, and ends well."""
    with start("simulate", "--speed", "100") as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(5)]
        url = lines[0].removeprefix("export GCORE_BASE_URL=").strip()
        assert lines[1] == "export GCORE_API_KEY='simulated$key'\n"
        assert lines[2] == f"# waiter wait {GOOD}\n"
        answer = httpx.get(f"{url}/cloud/v1/tasks/{GOOD}", headers={"Authorization": "apikey simulated$key"})
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=10)
    assert (answer.json()["state"], child.returncode, err) == ("NEW", 0, "waiter: simulating; Ctrl-C ends it\n")


def test_simulate_from_a_script(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TOML and JSON files say what happens."""
    monkeypatch.setattr(simulate, "_until_stopped", lambda: 0)
    toml = tmp_path / "cloud.toml"
    tasks = '[[tasks]]\nid = "a"\nphases = [{state = "RUNNING"}]\n[[tasks]]\nphases = [{state = "NEW"}]\n'
    toml.write_text(f'api_key = "k"\n{tasks}')
    ran = run("simulate", str(toml), "--latency", "0.1", "--fault-rate", "0.1")
    assert ran.out.splitlines()[1:] == ["export GCORE_API_KEY=k", "# waiter wait a"]
    written = tmp_path / "cloud.json"
    written.write_text('{"tasks": []}')
    assert len(run("simulate", str(written), "--listen", "[::1]:0").out.splitlines()) == 2


class Passing:
    """An event for which somebody waits a while, and then presses Ctrl-C."""

    naps: ClassVar = iter([False])

    def wait(self, _: float) -> bool:
        if (nap := next(self.naps, None)) is None:
            raise Interrupted(signal.SIGINT)
        return nap


def test_ctrl_c_is_how_a_simulation_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no failure."""
    monkeypatch.setattr(simulate, "threading", SimpleNamespace(Event=Passing))
    ran = run("simulate")
    assert (ran.code, ran.err) == (0, "waiter: simulating; Ctrl-C ends it\n")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.toml", None, "cannot read {}: No such file or directory"),
        ("bad.toml", "tasks = [", "cannot read {}: Invalid value (at end of document)"),
        ("bad.json", "{", "cannot read {}: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("list.json", "[]", "cannot read {}: it is no table of tasks"),
    ],
)
def test_a_script_that_cannot_be_read(run: Run, tmp_path: Path, name: str, text: str | None, said: str) -> None:
    """It says which file and why."""
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    assert run("simulate", str(file)) == (2, "", f"waiter: {said.format(file)}\n")


def test_a_script_that_makes_no_sense(run: Run, tmp_path: Path) -> None:
    """All that is wrong with it is named."""
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
def test_an_address_that_cannot_be(run: Run, where: str, why: str) -> None:
    """It says which address and why."""
    assert run("simulate", "--listen", where) == (2, "", f"waiter: cannot listen on {where}: {why}\n")


def test_a_command_beside_the_simulation(run: Run, tmp_path: Path) -> None:
    """A pipeline can be tested against it: the command gets the address and the key, and its code is handed on."""
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
def test_signals_of_a_command_beside_the_simulation(
    monkeypatch: pytest.MonkeyPatch, arrived: list[signal.Signals], code: int, ended: int, terminated: int
) -> None:
    """SIGTERM is handed on; Ctrl-C has reached everything on the terminal already."""
    child = Child(*arrived, code=code)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: child)
    assert simulate.run_beside(["x"], {}) == ended
    assert child.terminated == terminated


@pytest.mark.parametrize(("codes", "code"), [([0, 1, 124], 0), ([0, 1, 1], 70)])
def test_a_demo_that_goes_wrong_says_so(run: Run, monkeypatch: pytest.MonkeyPatch, codes: list[int], code: int) -> None:
    """Its own exit code tells whether everything happened as it should."""
    left = iter(codes)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], next(left)))
    ran = run("demo")
    assert ran.code == code
    assert ("This is not what should have happened: exit codes [0, 1, 1]." in ran.out) == (code == 70)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion(run: Run, tmp_path: Path, shell: str) -> None:
    """Each script names every command, and where the shell is there it can read it."""
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert [name for name in COMMANDS if name not in ran.out] == []
    assert "max-outage" in ran.out
    script = tmp_path / "waiter"
    script.write_text(ran.out)
    if shell in {"bash", "zsh", "fish"} and shutil.which(shell):
        subprocess.run([shell, "-n", str(script)], check=True)


def test_bash_completes(run: Run, tmp_path: Path) -> None:
    """In a real shell, half an option becomes a whole one."""
    script = tmp_path / "waiter"
    script.write_text(run("completion", "bash").out)
    keys = f"source {script}; COMP_WORDS=(waiter wait --max-o); COMP_CWORD=2; _shtab_waiter; echo ${{COMPREPLY[@]}}"
    ran = subprocess.run(["bash", "-c", keys], capture_output=True, text=True, check=True)
    assert ran.stdout == "--max-outage\n"


def test_the_manual_is_up_to_date() -> None:
    """The page that ships is made from the parser: ``python -m waiter.cli.manual > waiter/cli/waiter.1`` makes it anew."""
    assert (ROOT / "waiter/cli/waiter.1").read_text() == manual.page()


def test_the_manual_prints_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """It names every command and every option."""
    manual.main()
    page = capsys.readouterr().out
    flags = {action.option_strings[-1] for make in COMMANDS.values() for action in make().options()}
    assert [flag for flag in flags if flag.replace("-", r"\-") not in page] == []


def test_what_a_manual_must_escape() -> None:
    """A line that begins with a dot is no request, and a minus sign no hyphen."""
    assert [manual._escaped(text) for text in (".x", "'x", "a-b\\c")] == ["\\&.x", "\\(aqx", "a\\-b\\ec"]
