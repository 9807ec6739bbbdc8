"""The duties of process 1 in a container: it gets every orphan of its PID namespace, and the signals that end the container.

A process that ended stays in the process table until its parent reads its exit status. The parent of an orphan is process 1, so
that a process 1 that never reads any fills the table, for example with the children of health checks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

# A fault of the process itself. The other signals without a place here, SIGKILL and SIGSTOP, cannot be received.
_FAULTS = {
    getattr(signal, name)
    for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
    if hasattr(signal, name)
}
# siginfo.h: the kernel has sent the signal, as a terminal does, to all processes in its foreground.
_SI_KERNEL = 0x80

CHECK_INTERVAL = 1.0


def is_init() -> bool:
    """Return whether this is process 1 of a PID namespace."""
    return os.getpid() == 1


@contextmanager
def reaping_orphans() -> Iterator[None]:
    """Read the exit status of every child as it ends, if this is process 1; nothing else may wait for children meanwhile."""
    if not is_init():
        yield
        return
    before = signal.signal(signal.SIGCHLD, _reap)
    _reap(signal.SIGCHLD, None)  # those that ended before
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def supervise(program: str, command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command as the only child of process 1, and return its exit code, 128 and the number for a signal.

    Signals are passed on to it, and orphans are reaped. When process 1 ends, the kernel ends what is left. Raises OSError when
    the program cannot be executed.
    """
    blocked = signal.valid_signals() - _FAULTS
    # While they are blocked, signals are queued, also those that the kernel discards for a process 1 without a handler.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        # Python ignores these two, and a program inherits what is ignored: "yes | head" would never end.
        defaults = [signal.SIGPIPE, signal.SIGXFSZ]
        child = os.posix_spawn(program, list(command), environ, setsigmask=before, setsigdef=defaults)
        while True:
            # A signal between two of these calls may go to another thread, and be lost; an end must not be.
            received = signal.sigtimedwait(blocked, CHECK_INTERVAL)
            if (code := _exit_code(child)) is not None:
                return code
            if received is not None and received.si_signo != signal.SIGCHLD and received.si_code != _SI_KERNEL:
                os.kill(child, received.si_signo)  # it has not ended, or not been reaped, so that its ID is its own
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_code(child: int) -> int | None:
    """Reap all processes that have ended, and return the exit code of the child if it is one of them."""
    status = _ended_children().get(child)
    if status is None:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _reap(_: int, __: FrameType | None) -> None:
    _ended_children()


def _ended_children() -> dict[int, int]:
    """Return the status of each child that has ended, by its ID."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):  # there is none
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    return ended
