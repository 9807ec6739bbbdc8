"""The start and the exit of the process."""

from __future__ import annotations

import gc
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_parts import ENDLESS, GOOD

import waiter.cli
from waiter.cli import app


@pytest.mark.parametrize(("code", "left"), [(0, []), (130, [130]), (143, [143])])
def test_process_does_not_wait_for_threads_after_a_signal(monkeypatch: pytest.MonkeyPatch, code: int, left: list[int]) -> None:
    """A thread in a resolver cannot be interrupted."""
    gone: list[int] = []
    frozen: list[bool] = []
    monkeypatch.setattr(os, "_exit", gone.append)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    monkeypatch.setattr(app, "run", lambda _: code)
    monkeypatch.setattr(sys, "argv", ["waiter", "wait"])
    assert waiter.cli.main() == code
    assert (gone, frozen) == (left, [True])


def test_unneeded_modules_are_not_imported(environ: dict[str, str]) -> None:
    """A wait for one finished task needs no event loop, no log, no query, no drawing and no telemetry."""
    code = "import sys; from waiter.cli import main; main(sys.argv[1:]); print(sorted(NEEDLESS & set(sys.modules)))"
    needless = {"asyncio", "structlog", "jmespath", "shtab", "difflib", "secrets", "waiter.cli.progress.live", "waiter.testing"}
    needless |= {"waiter.cli.active_tasks", "waiter.cli.task_list", "waiter.cli.watch", "waiter.cli.output.table"}
    needless |= {"importlib.metadata", "opentelemetry", "waiter.integrations"}
    argv = [sys.executable, "-c", code.replace("NEEDLESS", repr(needless)), "wait", GOOD, "-o", "ids"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "vm-1\ndisk-1\ndisk-2\n[]\n"


@pytest.mark.parametrize("way", [["-m", "waiter"], ["-c", "from waiter.__main__ import main; import sys; sys.exit(main())"]])
def test_the_module_and_the_script_are_the_command(way: list[str]) -> None:
    """``python -m waiter`` and the script ``waiter`` print the version."""
    ran = subprocess.run([sys.executable, *way, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"waiter {waiter.__version__}\n"


def test_the_script_returns_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls the command without arguments, which takes those of the process."""
    monkeypatch.setattr(waiter.cli, "main", lambda: 7)
    assert importlib.import_module("waiter.__main__").main() == 7


# It tells when it has come to the first line of the command.
ENDING = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
BEGUN = """
import os, sys
from waiter.__main__ import main
os.write(1, b'.')
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("step", range(12))
def test_signals_are_handled_from_the_start(environ: dict[str, str], step: int) -> None:
    """While it imports, connects and waits there is no traceback."""
    signum = list(ENDING)[step % 3]
    argv = [sys.executable, "-c", BEGUN, "wait", ENDLESS]
    pipe = subprocess.PIPE
    # An interrupted import leaves the file of the module open.
    environ = environ | {"PYTHONWARNINGS": "error,ignore::ResourceWarning"}
    with subprocess.Popen(argv, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == "."
        time.sleep(0.012 * step)
        child.send_signal(signum)
        _, err = child.communicate(timeout=60)
    assert child.returncode == ENDING[signum]
    assert [line for line in err.splitlines() if not line.startswith("waiter: ")] == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
def test_signal_at_any_moment_of_the_start_ends_the_process_without_a_traceback_of_waiter(
    environ: dict[str, str], signum: signal.Signals
) -> None:
    """Each process gets the signal a little later than the one before, until one has come to its poll.

    Until the handlers are installed, Python handles it: SIGTERM ends the process without output, SIGINT with a traceback of
    Python's own modules, or drops the exception and says so. The few microseconds in which Python runs the module level of
    the package itself, which only installs the handlers, are a part of that time.
    """
    package = str(Path(waiter.__file__).parent)
    starting = {f'{package}/__init__.py", line N, in <module>', f'{package}/__main__.py", line N, in <module>'}
    argv = [sys.executable, "-m", "waiter", "wait", ENDLESS, "--timeout", "10"]
    by_python = {-signum, 1} if signum == signal.SIGINT else {-signum}
    for step in range(40):
        with subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True) as child:
            time.sleep(0.002 * step)
            child.send_signal(signum)
            _, err = child.communicate(timeout=60)
        is_dropped = "KeyboardInterrupt" in err and child.returncode == 124
        assert is_dropped or child.returncode in {ENDING[signum], *by_python}, err
        frames = re.findall(rf'File "({re.escape(package)}/.*)', re.sub(r"line \d+", "line N", err))
        assert not set(frames) - starting
        assert "Traceback" not in err or is_dropped or child.returncode in by_python


def test_nothing_is_imported_before_signals_are_handled(environ: dict[str, str]) -> None:
    """Only the package itself is."""
    code = "import sys; before = set(sys.modules); import waiter.__main__; print(sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "['waiter', 'waiter.__main__']\n"


@pytest.mark.parametrize(
    ("name", "codes"), [("wait", [129, 130, 143]), ("sidecar", [0] * 3), ("simulate", [0] * 3), ("", [129, 130, 143])]
)
def test_early_signal_exits_without_output(monkeypatch: pytest.MonkeyPatch, name: str, codes: list[int]) -> None:
    """Servers exit with 0."""
    left: list[int] = []
    exit_on_signals = importlib.import_module("waiter.__main__").exit_on_signals
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(sys, "argv", ["waiter", name][: 1 + bool(name)])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    exit_on_signals()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    exit_on_signals()
    for signum in ENDING:
        signal.raise_signal(signum)
    assert left == codes


INTERRUPTED = """
import _signal, signal, sys
sys.argv[1:] = ["wait"]
install = _signal.signal
def interrupted(*arguments):
    _signal.signal = install
    signal.raise_signal(signal.SIGINT)
_signal.signal = interrupted
import waiter.__main__
"""


def test_interruption_while_the_handlers_are_installed_ends_the_process_without_a_traceback() -> None:
    """Python's own handler raises an exception."""
    command = [sys.executable, "-c", INTERRUPTED]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
