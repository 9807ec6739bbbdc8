"""Errors of a run become exit codes."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest
from command_parts import GOOD, Run

from waiter import ApiUnavailableError, Waiter
from waiter.cli import app
from waiter.console import signals, streams


def test_missing_command_shows_the_help_on_standard_error(run: Run) -> None:
    """It is a usage error."""
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("waiter tells you the moment")


@pytest.mark.parametrize("raised", [signals.Interrupted(signal.SIGINT), KeyboardInterrupt()], ids=["ours", "Python's"])
def test_interruption_is_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    """At any moment Ctrl-C ends with 130."""

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(app, "_run", fail)
    ran = run("wait", GOOD)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err in {"", "waiter: interrupted\n"}


def test_fault_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--log-level debug`` the traceback follows."""

    def fail(*_: object) -> None:
        message = "two\nlines \x1b[2J"
        raise RuntimeError(message)

    monkeypatch.setattr(app, "_run", fail)
    line = "waiter: a fault in waiter itself: RuntimeError: two lines \\x1b[2J"
    assert run("wait", GOOD) == (70, "", f"{line}; WAITER_LOG_LEVEL=debug shows where\n")
    assert run("wait", GOOD, "--log-level", "debug").err.startswith(f"{line}\nTraceback (most recent call last)")


def test_output_error_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 70."""

    def fail(*_: object) -> None:
        message = "cannot write the result: No space left on device"
        raise streams.OutputError(message)

    monkeypatch.setattr(app, "_run", fail)
    assert run("wait", GOOD) == (70, "", "waiter: cannot write the result: No space left on device\n")


def test_signal_wrapped_by_python_is_recognized(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 turns a signal during the creation of a class into a RuntimeError."""

    def fail(*_: object) -> None:
        message = "Error calling __set_name__ on ..."
        raise RuntimeError(message) from signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(app, "_run", fail)
    assert run("wait", GOOD) == (143, "", "waiter: interrupted\n")


@pytest.mark.parametrize("argv", [["list"], ["status", GOOD]], ids=" ".join)
def test_signal_dropped_by_a_callback_is_recognized(run: Run, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    """Of the parser of responses, for example: the request fails then."""

    def fail(*_: object) -> None:
        with suppress(signals.Interrupted):
            signal.raise_signal(signal.SIGTERM)
        message = "broken response"
        raise ApiUnavailableError(message)

    monkeypatch.setattr(Waiter, "list_snapshots", fail)
    monkeypatch.setattr(Waiter, "snapshot", fail)
    assert run(*argv) == (143, "", "waiter: interrupted\n")
