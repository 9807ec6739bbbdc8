"""Signals: heeded from the first line on, within 200 ms, and never with a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Run, Terminal

import waiter.cli
from waiter.cli import app, follow
from waiter.cli.board import Board
from waiter.cli.progress import Progress
from waiter.console import signals

ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143}
# It tells when it has come to the first line of the command.
BEGUN = """
import os, sys, waiter.cli as cli
heed = cli._leave_when_told
cli._leave_when_told = lambda: (heed(), os.write(1, b'.'))
sys.exit(cli.main())
"""


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("step", range(12))
def test_from_the_first_line_on(environ: dict[str, str], step: int) -> None:
    """While it imports, while it connects and while it waits: the code, at most what goes on, and no traceback."""
    signum = list(ENDING)[step % 2]
    argv = [sys.executable, "-c", BEGUN, "wait", ENDLESS]
    pipe = subprocess.PIPE
    # Whoever interrupts an import leaves the file of the module for the interpreter to close.
    environ = environ | {"PYTHONWARNINGS": "error,ignore::ResourceWarning"}
    with subprocess.Popen(argv, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == "."
        time.sleep(0.012 * step)
        child.send_signal(signum)
        _, err = child.communicate(timeout=10)
    assert child.returncode == ENDING[signum]
    assert [line for line in err.splitlines() if not line.startswith("waiter: ")] == []


def test_nothing_slow_is_loaded_before_signals_are_heeded(environ: dict[str, str]) -> None:
    """Before the first line of the command nothing is imported but the package itself."""
    code = "import sys; before = set(sys.modules); import waiter.cli; print(sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "['__future__', 'gc', 'waiter', 'waiter._lazy', 'waiter._version', 'waiter.cli']\n"


@pytest.mark.parametrize(("name", "codes"), [("wait", [130, 143]), ("sidecar", [0, 0]), ("simulate", [0, 0]), ("", [130, 143])])
def test_before_there_is_anything_to_tell(monkeypatch: pytest.MonkeyPatch, name: str, codes: list[int]) -> None:
    """It ends without a word; what serves until it is stopped ends well."""
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(sys, "argv", ["waiter", name][: 1 + bool(name)])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    waiter.cli._leave_when_told()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    waiter.cli._leave_when_told()
    for signum in ENDING:
        signal.raise_signal(signum)
    assert left == codes


def test_what_python_makes_of_a_signal_is_still_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that arrives while a class of members is made comes out as a RuntimeError, and is no fault of waiter's."""

    def fail(*_: object) -> None:
        message = "Error calling __set_name__ on ..."
        raise RuntimeError(message) from signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(app, "_run", fail)
    assert run("wait", GOOD) == (143, "", "waiter: interrupted\n")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("others", [[], [BROKEN, UNKNOWN]], ids=["one", "several"])
def test_a_signal_ends_it_at_once(
    start: Callable[..., subprocess.Popen[str]], signum: signal.Signals, code: int, others: list[str]
) -> None:
    """Within 200 ms it has said what goes on and how to take up the wait, and has ended."""
    with start("wait", ENDLESS, *others, "--timeout", "1h", "-o", "ids") as child:
        assert child.stderr is not None
        while f"{ENDLESS} is RUNNING" not in child.stderr.readline():
            pass
        sent_at = time.monotonic()
        child.send_signal(signum)
        out, err = child.communicate(timeout=10)
    assert time.monotonic() - sent_at < 0.2
    assert (child.returncode, out) == (code, "")
    assert f"interrupted by {signum.name}; th" in err
    assert f"create_vm {ENDLESS} (RUNNING/NETWORK)" in err
    assert f"to go on waiting: waiter wait --timeout 1h -o ids {ENDLESS}" in err


SLOW_RESOLVER = (
    "import ctypes, os, socket, sys;"
    "socket.getaddrinfo = lambda *a, **k: (os.write(1, b'.'), ctypes.CDLL(None).usleep(10_000_000));"
    "from waiter.cli import main; sys.exit(main())"
)


@pytest.mark.parametrize("others", [[], [BROKEN]], ids=["one", "several"])
def test_a_hanging_resolver_does_not_hold_up_the_end(environ: dict[str, str], others: list[str]) -> None:
    """SIGTERM is heeded while the resolver hangs where Python has nothing to say."""
    argv = [sys.executable, "-c", SLOW_RESOLVER, "wait", ENDLESS, *others]
    # asyncio resolves no address that is one already.
    env = environ | {"GCORE_BASE_URL": environ["GCORE_BASE_URL"].replace("127.0.0.1", "localhost")}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == "."
        sent_at = time.monotonic()
        child.terminate()
        child.communicate(timeout=10)
    assert time.monotonic() - sent_at < 0.2
    assert child.returncode == 143


def test_ctrl_c_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    """Ctrl-C leaves a calm screen: what goes on, and the command that takes up the wait."""
    at = terminal("wait", ENDLESS, columns=120)
    at.until("RUNNING")
    at.type(b"\x03")
    code, screen = at.finish()
    assert code == 130
    assert screen == [
        *(["^C"] if screen[0] == "^C" else []),
        f"RUNNING   create_vm  {ENDLESS}",
        f"waiter: interrupted by SIGINT; this task goes on: create_vm {ENDLESS} (RUNNING/NETWORK)",
        f"waiter: to go on waiting: waiter wait {ENDLESS}",
    ]


def test_ignored_from_the_start_is_ignored(environ: dict[str, str]) -> None:
    """Under nohup and in the background of a script, SIGINT is not ours to heed."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    code = ignore + "import sys; from waiter.cli import main; sys.exit(main())"
    argv = [sys.executable, "-c", code, "wait", ENDLESS, "--timeout", "0.3"]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        child.stderr.readline()
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=10)
    assert child.returncode == 124


def test_signals_are_raised() -> None:
    """SIGTERM becomes an exception with its name and its exit code, and its handler of before comes back."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(signals.Interrupted) as caught, signals.raise_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert (caught.value.name, caught.value.exit_code) == ("SIGTERM", 143)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_outside_the_main_thread() -> None:
    """Where no handler can be set, none is."""
    ran: list[int] = []

    def elsewhere() -> None:
        with signals.raise_on_signals():
            ran.append(1)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ran == [1]


def test_no_nap_is_long() -> None:
    """A signal that comes just before the main thread goes to sleep does not wake it, so it wakes by itself in time."""
    naps: list[float | None] = []

    class Inbox:
        def get(self, timeout: float | None = None) -> None:
            naps.append(timeout)

    board = Board([], 0.0)
    follow.follow(Inbox(), board, Progress(board))  # type: ignore[arg-type]
    assert naps == [0.1]
