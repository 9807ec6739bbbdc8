"""The thread of the wait and its inbox."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import pytest
from command_parts import GOOD, event_of, make_task

from waiter.cli import wait_thread
from waiter.cli.progress.base import Progress
from waiter.cli.progress.model import ProgressModel
from waiter.cli.wait_thread import Inbox, InboxReader
from waiter.errors import TaskNotFoundError
from waiter.events import Event
from waiter.outcome import Outcome


@pytest.mark.parametrize(
    ("return_when", "enough"),
    [("all", [False, False]), ("any", [True, True]), ("first-error", [False, True])],
)
def test_sufficient_outcomes(return_when: str, enough: list[bool]) -> None:
    """``all`` waits for all, ``any`` for one, ``first-error`` for a failure."""
    outcomes = [Outcome("a", task=make_task()), Outcome("b", error=TaskNotFoundError("no"))]
    assert [wait_thread.is_sufficient(outcome, return_when) for outcome in outcomes] == enough


def test_exception_of_the_thread_is_raised() -> None:
    """A fault in the thread reaches the main thread."""

    class Broken:
        def as_completed(self, _: object) -> Any:
            raise ZeroDivisionError

    inbox: Inbox = SimpleQueue()
    wait_thread.start_wait_thread(Broken(), ["a"], "all", inbox).join()  # type: ignore[arg-type]
    model = ProgressModel(["a"], 0.0)
    with pytest.raises(ZeroDivisionError):
        InboxReader(inbox, model, Progress(model)).read_until_done()


def test_progress_is_refreshed_between_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty inbox does not stop the drawing."""
    pauses = iter([0.001, 0.001])
    inbox: Inbox = SimpleQueue()

    class Impatient(Progress):
        def refresh(self) -> float:
            pause = next(pauses, None)
            if pause is None:
                inbox.put("a line\n")
                inbox.put(event_of(make_task()))
                inbox.put(None)
            return pause or float("inf")

    message: list[str] = []
    model = ProgressModel([GOOD], 0.0)
    impatient = Impatient(model)
    monkeypatch.setattr(impatient, "write", message.append)
    InboxReader(inbox, model, impatient).read_until_done()
    assert message == ["a line\n"]
    assert model.rows[GOOD].state == "RUNNING"


def test_blocking_is_limited() -> None:
    """A signal that arrives just before the main thread blocks does not wake it."""
    naps: list[float | None] = []

    class Inbox:
        def get(self, timeout: float | None = None) -> None:
            naps.append(timeout)

    model = ProgressModel([], 0.0)
    InboxReader(Inbox(), model, Progress(model)).read_until_done()  # type: ignore[arg-type]
    assert naps == [0.1]


def test_what_had_arrived_before_a_signal_is_read() -> None:
    """The end of the wait and a fault of the thread, which came too late, are left out."""
    inbox: Inbox = SimpleQueue()
    model = ProgressModel([GOOD], 0.0)
    written: list[Event] = []
    event = event_of(make_task())
    for message in (event, Outcome(GOOD, task=make_task(GOOD, "FINISHED")), None, ZeroDivisionError()):
        inbox.put(message)
    InboxReader(inbox, model, Progress(model), write_event=written.append).read_rest()
    assert (written, model.pending, inbox.empty()) == ([event], [], True)
