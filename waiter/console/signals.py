"""Signals that end the command, as exceptions."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
_ENDING = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]


# After a signal, output that nothing reads is given up when so many seconds have passed, or when one write takes so long.
OUTPUT_GRACE, MIN_OUTPUT_TIME = 2.0, 0.1


class _Received:
    signum: int | None = None
    at = 0.0
    is_deferred = False
    is_writing = False


class Interrupted(KeyboardInterrupt):
    """SIGHUP, SIGINT or SIGTERM arrived; ``.name`` is the signal's name, ``.exit_code`` 129, 130 or 143."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.name = signal.Signals(signum).name
        self.exit_code = 128 + signum


def interruption_behind(fault: BaseException) -> Interrupted | None:
    """Return the signal that caused a fault: Python 3.11 wraps exceptions raised while it creates an enum or slots class."""
    return fault.__cause__ if isinstance(fault.__cause__, Interrupted) else None


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise Interrupted for the signals that end a command; a signal ignored from the start (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [signum for signum in _ENDING if signal.getsignal(signum) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, _raise) for signum in handled}
    try:
        yield
    finally:
        _Received.signum = None
        for signum, handler in before.items():
            signal.signal(signum, handler)


def raise_received() -> None:
    """Raise Interrupted if a signal arrived whose exception was lost: Python drops exceptions in ``__del__`` and callbacks."""
    if _Received.signum is not None:
        raise Interrupted(_Received.signum)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let signals that arrive be raised by ``raise_received`` only, not between any two steps of what is entered."""
    _Received.is_deferred = True
    try:
        yield
    finally:
        _Received.is_deferred = False


def _raise(signum: int, _: FrameType | None) -> None:
    if _Received.signum is None:
        _Received.at = time.monotonic()
    _Received.signum = signum
    if not _Received.is_deferred:
        raise Interrupted(signum)
    if _Received.is_writing:
        _start_timer()


@contextmanager
def limit_output() -> Iterator[None]:
    """Let a write raise TimeoutError if it is still blocked ``OUTPUT_GRACE`` seconds after a signal: a pipe may have no reader.

    Without a signal there is no limit, nor in another thread than the main one.
    """
    # Windows has no timers.
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    _Received.is_writing = True
    try:
        if _Received.signum is not None:
            _start_timer()
        yield
    finally:
        _Received.is_writing = False
        if _Received.signum is not None:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)


def _start_timer() -> None:
    signal.signal(signal.SIGALRM, _time_out)
    signal.setitimer(signal.ITIMER_REAL, max(MIN_OUTPUT_TIME, _Received.at + OUTPUT_GRACE - time.monotonic()))


def _time_out(_: int, __: FrameType | None) -> None:
    raise TimeoutError(errno.ETIMEDOUT, "nothing reads it")
