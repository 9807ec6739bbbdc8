"""The start and the exit of the process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from command_parts import ENDLESS, GOOD

import waiter.__main__
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
    needless |= {"importlib.metadata", "opentelemetry", "waiter.integrations"}
    argv = [sys.executable, "-c", code.replace("NEEDLESS", repr(needless)), "wait", GOOD, "-o", "ids"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "vm-1\ndisk-1\ndisk-2\n[]\n"


def test_python_m_waiter_is_the_command() -> None:
    """``python -m waiter`` runs the same function."""
    assert vars(waiter.__main__)["main"] is waiter.cli.main


# It tells when it has come to the first line of the command.
ENDING = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
BEGUN = """
import os, sys, waiter.cli as cli
install = cli._exit_on_signals
cli._exit_on_signals = lambda: (install(), os.write(1, b'.'))
sys.exit(cli.main())
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
        _, err = child.communicate(timeout=10)
    assert child.returncode == ENDING[signum]
    assert [line for line in err.splitlines() if not line.startswith("waiter: ")] == []


def test_nothing_is_imported_before_signals_are_handled(environ: dict[str, str]) -> None:
    """Only the package itself is."""
    code = "import sys; before = set(sys.modules); import waiter.cli; print(sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "['__future__', 'gc', 'waiter', 'waiter._lazy', 'waiter._version', 'waiter.cli']\n"


@pytest.mark.parametrize(
    ("name", "codes"), [("wait", [129, 130, 143]), ("sidecar", [0] * 3), ("simulate", [0] * 3), ("", [129, 130, 143])]
)
def test_early_signal_exits_without_output(monkeypatch: pytest.MonkeyPatch, name: str, codes: list[int]) -> None:
    """Servers exit with 0."""
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(sys, "argv", ["waiter", name][: 1 + bool(name)])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    waiter.cli._exit_on_signals()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    waiter.cli._exit_on_signals()
    for signum in ENDING:
        signal.raise_signal(signum)
    assert left == codes
