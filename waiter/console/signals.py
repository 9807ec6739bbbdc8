"""Signals that end the command, as exceptions."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
_ENDING = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]


class _Received:
    signum: int | None = None


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


def _raise(signum: int, _: FrameType | None) -> None:
    _Received.signum = signum
    raise Interrupted(signum)
