"""Signals as exceptions."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from command_parts import ENDLESS

from waiter.console import signals

ENDING = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_signal_ignored_from_the_start_stays_ignored(environ: dict[str, str]) -> None:
    """Under nohup and in the background of a script, SIGINT is ignored."""
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
    """SIGTERM becomes an exception, and the previous handler is restored."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(signals.Interrupted) as caught, signals.raise_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert (caught.value.name, caught.value.exit_code) == ("SIGTERM", 143)
    assert signal.getsignal(signal.SIGTERM) is before


def test_no_handlers_outside_the_main_thread() -> None:
    """Only the main thread can set handlers."""
    ran: list[int] = []

    def elsewhere() -> None:
        with signals.raise_on_signals():
            ran.append(1)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ran == [1]


def test_hangup_is_an_interruption() -> None:
    """SIGHUP arrives when a terminal is closed, and has the exit code 129."""
    with pytest.raises(signals.Interrupted) as caught, signals.raise_on_signals():
        signal.raise_signal(signal.SIGHUP)
    assert (caught.value.name, caught.value.exit_code) == ("SIGHUP", 129)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_signal_is_lost() -> None:
    """Python drops an exception that is raised in ``__del__``, so the next check raises it again."""

    class Interrupting:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with signals.raise_on_signals():
        Interrupting()
        with pytest.raises(signals.Interrupted):
            signals.raise_received()
    signals.raise_received()
