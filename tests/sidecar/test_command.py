"""``waiter sidecar``, from its arguments to its exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import waiter.sidecar
from waiter.cli import main
from waiter.sidecar import main as main_of_the_sidecar
from waiter.testing import SimulatedCloud, fails

ANYWHERE = ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """The log is as it was, whatever a command has made of it."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("served")
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 0, and nothing on standard output."""
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert main(["sidecar", *ANYWHERE, "--state-dir", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("waiter: control on http://127.0.0.1:")) == ("", True)


def test_its_log_has_the_events(served: SimulatedCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON for each; and the code is that of the task of the command line."""
    task_id = served.add(fails(0.0, "no host"))
    assert main(["sidecar", *ANYWHERE, "--state-dir", str(tmp_path), "--log-format", "json", task_id]) == 1
    assert '"event": "task.failed"' in capsys.readouterr().err


def forget(monkeypatch: pytest.MonkeyPatch, *rooms: str) -> None:
    for room in rooms:
        monkeypatch.delitem(sys.modules, f"waiter.sidecar.{room}", raising=False)
        monkeypatch.delattr(waiter.sidecar, room, raising=False)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has not installed the extra is told how to."""
    forget(monkeypatch, "main", "metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["sidecar"]) == 2
    said = "waiter: waiter sidecar needs prometheus_client: pip install 'gcore-waiter[sidecar]'\n"
    assert capsys.readouterr().err == said


def test_what_is_broken_is_not_called_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of waiter itself that is not there is waiter's fault, and no extra helps."""
    forget(monkeypatch, "main")
    monkeypatch.setitem(sys.modules, "waiter.sidecar.given", None)
    assert main(["sidecar"]) == 70
    assert "a fault in waiter itself: ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_who_stops_it_while_it_starts_is_obeyed(monkeypatch: pytest.MonkeyPatch, signum: int) -> None:
    """With exit code 0, as later."""

    def start(_: object) -> int:
        os.kill(os.getpid(), signum)
        return 70

    monkeypatch.setattr(main_of_the_sidecar, "run", start)
    assert main(["sidecar"]) == 0
