"""Process 1: in real PID namespaces where that is possible, otherwise over replaced system calls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from waiter.console import init_process
from waiter.console.init_process import is_init, reaping_orphans, supervise

IN_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def can_make_namespaces() -> bool:
    """Return whether this process may make PID namespaces, and has what the tests run in them."""
    if not all(map(shutil.which, ("unshare", "ps", "bash"))):
        return False
    return subprocess.run([*IN_NAMESPACE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


# The image test runs the same in containers.
needs_namespaces = pytest.mark.skipif(
    os.environ.get("REQUIRE_NAMESPACES") != "1" and not can_make_namespaces(),
    reason="PID namespaces need root, unshare, ps and bash; REQUIRE_NAMESPACES=1 makes the tests fail instead",
)
ROOT = Path(__file__).parents[2]
# Starts a child that starts an orphan, which ends later.
MAKE_ORPHAN = "sh -c '(sleep 0.1; exit 3) &'"
# Prints the states of all processes of the namespace but those of ps itself; Z is a zombie.
SHOW = "ps -eo ppid,stat,comm | grep -c ' Z' || true"


@contextmanager
def in_namespace(program: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program as process 1 of a PID namespace of its own, which ends with the block."""
    command = [*IN_NAMESPACE, sys.executable, "-c", program, *args]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        try:
            yield child
        finally:
            child.kill()


SUPERVISE = (
    "import os, shutil, sys; from waiter.console.init_process import is_init, supervise; assert is_init();"
    "os._exit(supervise(shutil.which(sys.argv[1]), sys.argv[1:], os.environ))"
)


@needs_namespaces
def test_supervised_command_determines_the_exit_code() -> None:
    """A signal that ends it is 128 and its number."""
    codes = []
    for script in ("exit 7", "kill -TERM $$", "exit 0"):
        with in_namespace(SUPERVISE, "sh", "-c", script) as child:
            codes.append(child.wait(10))
    assert codes == [7, 128 + signal.SIGTERM, 0]


@needs_namespaces
def test_orphans_are_reaped() -> None:
    """None is left a moment after it has ended."""
    with in_namespace(SUPERVISE, "sh", "-c", f"{MAKE_ORPHAN}; {MAKE_ORPHAN}; sleep 0.5; {SHOW}") as child:
        out, _ = child.communicate(timeout=10)
    assert (child.returncode, out) == (0, "0\n")


@needs_namespaces
@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT"])
def test_signals_are_passed_on(name: str) -> None:
    """Also those that the kernel discards for a process 1 without a handler."""
    script = f"trap 'echo {name}; exit 9' {name.removeprefix('SIG')}; echo ready; while :; do sleep 0.02; done"
    with in_namespace(SUPERVISE, "bash", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        (first,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(first), getattr(signal, name))
        out, _ = child.communicate(timeout=10)
    assert (child.returncode, out) == (9, f"{name}\n")


@needs_namespaces
def test_command_inherits_neither_blocked_nor_ignored_signals() -> None:
    """A program that writes to a closed pipe ends."""
    with in_namespace(SUPERVISE, "sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status") as child:
        out, _ = child.communicate(timeout=10)
    # glibc ignores its internal signals, 32 and 33, in a process that posix_spawn starts.
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in out.splitlines()] == [0, 0]


@needs_namespaces
def test_children_are_reaped_while_process_1_does_something_else() -> None:
    """As the sidecar does."""
    program = (
        "import os, time, subprocess; from waiter.console.init_process import reaping_orphans\n"
        f"os.system({MAKE_ORPHAN!r})\n"
        "with reaping_orphans():\n"
        f"    os.posix_spawnp('sh', ['sh', '-c', {MAKE_ORPHAN!r}], os.environ)\n"
        "    time.sleep(0.5); end = time.monotonic() + 0.5\n"
        "    while time.monotonic() < end: time.sleep(0.01)\n"
        f"os.system({SHOW!r})\n"
    )
    with in_namespace(program) as child:
        out, _ = child.communicate(timeout=10)
    assert (child.returncode, out) == (0, "0\n")


def test_other_processes_do_not_reap() -> None:
    """Their children belong to whatever started them."""
    before = signal.getsignal(signal.SIGCHLD)
    with reaping_orphans():
        assert signal.getsignal(signal.SIGCHLD) == before
    assert not is_init()


class System:
    """The system calls of process 1: ``received`` are signals with their codes, ``ended`` the children at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, received: list[Any], ended: list[Any]) -> None:
        self.received = received
        self.ended = ended
        self.calls: list[Any] = []
        monkeypatch.setattr(os, "getpid", lambda: 1)
        monkeypatch.setattr(os, "posix_spawn", self.spawn)
        monkeypatch.setattr(os, "waitpid", self.wait)
        monkeypatch.setattr(os, "kill", lambda *call: self.calls.append(call))
        monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: {signal.SIGURG})
        monkeypatch.setattr(signal, "sigtimedwait", lambda *_: self.received.pop(0))

    def spawn(self, *call: object, **options: object) -> int:
        self.calls.append((*call, options))
        return 42

    def wait(self, pid: int, options: int) -> tuple[int, int]:
        assert (pid, options) == (-1, os.WNOHANG)
        if not self.ended:
            raise ChildProcessError
        return self.ended.pop(0)  # type: ignore[no-any-return]


def sent(signum: signal.Signals, code: int = 0) -> SimpleNamespace:
    return SimpleNamespace(si_signo=signum, si_code=code)


RUNNING = (0, 0)


def test_signals_from_a_terminal_are_not_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel sends them to the command too, which is in the same group."""
    received = [sent(signal.SIGINT, init_process._SI_KERNEL), None, sent(signal.SIGTERM), sent(signal.SIGCHLD), None]
    system = System(monkeypatch, received, [RUNNING, RUNNING, RUNNING, (7, 0), RUNNING, (42, 5 << 8)])
    assert supervise("/bin/deploy", ("deploy",), {"A": "b"}) == 5
    options = {"setsigmask": {signal.SIGURG}, "setsigdef": [signal.SIGPIPE, signal.SIGXFSZ]}
    assert system.calls == [("/bin/deploy", ["deploy"], {"A": "b"}, options), (42, signal.SIGTERM)]


def test_children_that_ended_before_are_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler reaps those to come, and the one before is restored."""
    before = signal.getsignal(signal.SIGCHLD)
    system = System(monkeypatch, [], [(7, 0), RUNNING])
    with reaping_orphans():
        assert system.ended == []
        system.ended = [(8, 0), (9, 15)]
        handler: Any = signal.getsignal(signal.SIGCHLD)
        handler(signal.SIGCHLD, None)
        assert system.ended == []
    assert signal.getsignal(signal.SIGCHLD) == before
