"""``waiter sidecar`` from its arguments to its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import waiter.sidecar
from waiter.cli import main
from waiter.console import stderr
from waiter.sidecar import main as main_module
from waiter.testing import SimulatedCloud, fails

ANY_PORTS = ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the log configuration and the hooks of the process after each test."""
    monkeypatch.setattr(stderr._Format, "mask", stderr._Format.mask)
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook"), (warnings, "showwarning")):
        monkeypatch.setattr(module, name, getattr(module, name))
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


# Makes every kind of fault while the waits are started, and one at the exit of the interpreter.
FAULTS = """
import asyncio, atexit, logging, os, sys, threading, warnings
from waiter.__main__ import main
from waiter.sidecar.service import Service

def fail():
    raise RuntimeError(f"echo\\n{key}")

class Failing:
    def __del__(self):
        fail()

async def start(service, *args):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Failing()
    asyncio.get_running_loop().call_soon(fail)
    warnings.warn(key, RuntimeWarning)
    logging.getLogger("library").warning("echo\\n%s", key)
    atexit.register(fail)
    await begin(service, *args)

key = os.environ["GCORE_API_KEY"]
begin, Service.start = Service.start, start
main()
fail()
"""


def test_every_fault_is_one_event(served: SimulatedCloud, tmp_path: Path) -> None:
    """In a log of JSON, until the process has ended; no line has the key."""
    options = [*ANY_PORTS, "--state-dir", str(tmp_path), "--log-format", "json", served.add(fails(0.0, "no host"))]
    ended = subprocess.run(
        [sys.executable, "-c", FAULTS, "sidecar", *options], capture_output=True, text=True, check=False, timeout=60
    )
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    faults = [event["error"] for event in events if event["event"] == "waiter.fault"]
    assert faults == ["RuntimeError: echo ***"] * 5
    warned = [event["message"].partition(": ") for event in events if event["event"] == "library.warned"]
    assert [text or whole for whole, _, text in warned] == ["RuntimeWarning: ***", "echo\\n***"]
    assert served.api_key not in ended.stderr


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
