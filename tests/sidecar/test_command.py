"""``waiter sidecar`` from its arguments to its exit code."""

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
from waiter.sidecar import main as main_module
from waiter.testing import SimulatedCloud, fails

ANY_PORTS = ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """Restore the log configuration after each test."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("served")
def test_sidecar_serves_until_sigterm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0, and nothing is written to standard output."""
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert main(["sidecar", *ANY_PORTS, "--state-dir", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err.startswith("waiter: control on http://127.0.0.1:")) == ("", True)


def test_log_contains_the_events(served: SimulatedCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is one line of JSON; the exit code is that of the task on the command line."""
    task_id = served.add(fails(0.0, "no host"))
    assert main(["sidecar", *ANY_PORTS, "--state-dir", str(tmp_path), "--log-format", "json", task_id]) == 1
    assert '"event": "task.failed"' in capsys.readouterr().err


def forget(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.delitem(sys.modules, f"waiter.sidecar.{module}", raising=False)
        monkeypatch.delattr(waiter.sidecar, module, raising=False)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra, the error says how to install it."""
    forget(monkeypatch, "main", "metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["sidecar"]) == 2
    expected = "waiter: waiter sidecar needs prometheus_client: pip install 'gcore-waiter[sidecar]'\n"
    assert capsys.readouterr().err == expected


def test_missing_module_of_waiter_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing module of waiter itself is not reported as a missing extra."""
    forget(monkeypatch, "main")
    monkeypatch.setitem(sys.modules, "waiter.sidecar.startup_tasks", None)
    assert main(["sidecar"]) == 70
    assert "a fault in waiter itself: ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_startup_ends_the_sidecar(monkeypatch: pytest.MonkeyPatch, signum: int) -> None:
    """The exit code is 0, as it is later."""

    def start(_: object) -> int:
        os.kill(os.getpid(), signum)
        return 70

    monkeypatch.setattr(main_module, "run", start)
    assert main(["sidecar"]) == 0
