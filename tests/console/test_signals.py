"""Signals as exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

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


@pytest.fixture
def _after_a_signal() -> Iterator[None]:
    with signals.raise_on_signals():
        with suppress(signals.Interrupted):
            signal.raise_signal(signal.SIGTERM)
        yield


@pytest.mark.usefixtures("_after_a_signal")
def test_write_is_limited_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of the timer and the timer are then as before."""
    monkeypatch.setattr(signals, "OUTPUT_GRACE", 0.0)
    monkeypatch.setattr(signals, "MIN_OUTPUT_TIME", 0.02)
    reader, writer = os.pipe()
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(TimeoutError, match="nothing reads it"), signals.limit_output():
        os.read(reader, 1)
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == (handler, timer)
    os.close(reader)
    os.close(writer)


def timer_of_a_write() -> tuple[float, float]:
    with signals.limit_output():
        return signal.getitimer(signal.ITIMER_REAL)


def test_write_before_a_signal_is_not_limited() -> None:
    """A slow reader is no fault."""
    assert timer_of_a_write() == (0.0, 0.0)


@pytest.mark.usefixtures("_after_a_signal")
def test_write_outside_the_main_thread_is_not_limited() -> None:
    """Only the main thread can set handlers, and no exit depends on the others."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(timer_of_a_write()))
    thread.start()
    thread.join()
    assert found == [(0.0, 0.0)]


def test_deferred_signal_is_raised_by_the_next_check() -> None:
    """What is entered is not interrupted; after it, signals are raised immediately again."""
    steps: list[str] = []

    def interrupted() -> None:
        with signals.raise_on_signals():
            with signals.defer_signals():
                signal.raise_signal(signal.SIGTERM)
                steps.append("after the signal")
            signals.raise_received()

    with pytest.raises(signals.Interrupted):
        interrupted()
    assert steps == ["after the signal"]


def test_deferred_signal_limits_a_write_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be blocked for ever, because nothing is raised."""
    monkeypatch.setattr(signals, "OUTPUT_GRACE", 0.0)
    monkeypatch.setattr(signals, "MIN_OUTPUT_TIME", 0.02)
    reader, writer = os.pipe()

    def write() -> None:
        with signals.raise_on_signals(), signals.defer_signals(), signals.limit_output():
            signal.raise_signal(signal.SIGTERM)
            os.read(reader, 1)

    with pytest.raises(TimeoutError, match="nothing reads it"):
        write()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    os.close(reader)
    os.close(writer)


def test_second_signal_replaces_the_first() -> None:
    """The exit code is that of the last one."""
    with pytest.raises(signals.Interrupted) as caught, signals.raise_on_signals():  # noqa: PT012 - both are needed
        for signum in (signal.SIGTERM, signal.SIGHUP):
            with suppress(signals.Interrupted):
                signal.raise_signal(signum)
        signals.raise_received()
    assert caught.value.exit_code == 129
