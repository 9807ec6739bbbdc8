"""Exceptions that nothing catches, and warnings, are one event each."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from command_parts import objects

from waiter.console import fault_hooks, stderr

Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the hooks, and restore those of pytest after the test."""
    for module, name in (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
        (warnings, "showwarning"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    fault_hooks.report_faults()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Read:
    """Return a function that returns the events on standard error, whose lines are JSON and without the key."""
    monkeypatch.setattr(stderr._Format, "json", True)
    monkeypatch.setattr(stderr._Format, "mask", lambda text: text.replace("a key", "***"))
    return lambda: objects(capsys.readouterr().err)


class Failing:
    """An object whose deletion raises an exception."""

    def __init__(self, fault: BaseException) -> None:
        self._fault = fault

    def __del__(self) -> None:
        raise self._fault


def fail(fault: BaseException) -> None:
    raise fault


def check(event: dict[str, Any], context: str) -> None:
    """Compare an event of a RuntimeError with a text of two lines, the key in it."""
    trace = event.pop("exception")
    assert trace.startswith("Traceback")
    assert trace.endswith("RuntimeError: echo\n***\n")
    assert event == {"event": "waiter.fault", "level": "error", "error": "RuntimeError: echo ***", "context": context}


def test_uncaught_exception_is_one_event(read: Read) -> None:
    """The traceback is a part of it, and the key is hidden."""
    with pytest.raises(RuntimeError) as caught:
        fail(RuntimeError("echo\na key"))
    sys.excepthook(caught.type, caught.value, caught.tb)
    (event,) = read()
    check(event, "Uncaught exception")


def test_exception_of_a_thread_is_one_event(read: Read) -> None:
    """It names the thread; a thread may exit."""
    for fault in (RuntimeError("echo\na key"), SystemExit(3)):
        thread = threading.Thread(target=fail, args=[fault], name="store")
        thread.start()
        thread.join()
    (event,) = read()
    check(event, "Exception in thread store")


def test_exception_of_a_finalizer_is_one_event(read: Read) -> None:
    """It names the method; a signal is reported elsewhere."""
    Failing(RuntimeError("echo\na key"))
    Failing(KeyboardInterrupt())
    (event,) = read()
    assert "Failing.__del__" in event["context"]
    check(event, event["context"])


def test_exception_without_an_object_is_one_event(read: Read) -> None:
    """Python may not know whose exception it is."""
    with pytest.raises(RuntimeError) as caught:
        fail(RuntimeError("echo\na key"))
    found = SimpleNamespace(exc_value=caught.value, err_msg="Exception ignored while clearing", object=None)
    sys.unraisablehook(cast("Any", found))
    (event,) = read()
    check(event, "Exception ignored while clearing")


def test_exception_of_a_callback_is_one_event(read: Read) -> None:
    """The message of asyncio is its context."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(fault_hooks.report_fault_of_loop)
        loop.call_soon(fail, RuntimeError("echo\na key"))
        await asyncio.sleep(0)
        loop.call_exception_handler({"message": "no exception"})

    asyncio.run(main())
    event, without = read()
    context = event["context"]
    assert context.startswith("Exception in callback fail(")
    check(event, context)
    assert without == {"event": "waiter.fault", "level": "error", "error": "no exception"}


def test_warning_is_one_event(read: Read) -> None:
    """It names the place and the category."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit("echo\na key", RuntimeWarning, "module.py", 7)
    (event,) = read()
    text = "module.py:7: RuntimeWarning: echo\\n***"
    assert event == {"event": "library.warned", "level": "warning", "logger": "warnings", "message": text}


def test_traceback_follows_the_message_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line says what happened."""
    Failing(RuntimeError("echo"))
    first, *trace = capsys.readouterr().err.splitlines()
    assert first.startswith("waiter: a fault in waiter: RuntimeError: echo (Exception ignored ")
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "RuntimeError: echo")
