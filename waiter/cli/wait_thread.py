"""The wait runs in a separate thread; the main thread receives what happens and reports it.

A resolver that hangs in C code keeps the thread that called it from handling signals. So the main thread only receives,
draws and writes, and can exit at any moment.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from waiter.cli.progress.choose import choose_progress
from waiter.console import stderr
from waiter.console.signals import Interrupted, defer_signals, raise_received
from waiter.errors import ResourceError, TaskError, WaiterError
from waiter.events import Event
from waiter.outcome import Outcome

if TYPE_CHECKING:
    from waiter.cli.output.writer import ResultWriter
    from waiter.cli.progress.base import Progress
    from waiter.cli.progress.model import ProgressModel
    from waiter.wait import Waiter

# A signal that arrives just before the thread blocks on a lock does not wake it, and on Windows no signal does.
MAX_BLOCKING = 0.1
# Requests under way together, beside those of the wait.
MAX_REQUESTS = 8

Inbox: TypeAlias = "SimpleQueue[Event | Outcome | str | BaseException | None]"


def start_wait_thread(
    waiter: Waiter, task_ids: Sequence[str], return_when: str, inbox: Inbox, acknowledges: bool = False
) -> threading.Thread:
    """Wait for the tasks in another thread, which puts every outcome into the inbox, and None at the end.

    If it ``acknowledges``, it does so for each task that has ended, while it waits for the others.
    """

    def work() -> None:
        with _acknowledging(waiter, inbox) if acknowledges else nullcontext(_ignore) as acknowledge:
            for outcome in waiter.as_completed(task_ids):
                inbox.put(outcome)
                acknowledge(outcome)
                if is_sufficient(outcome, return_when):
                    break

    return start_thread(work, inbox)


def start_thread(work: Callable[[], object], inbox: Inbox) -> threading.Thread:
    """Run the work in another thread, and put None, or what it raised, into the inbox at its end."""

    def run() -> None:
        try:
            work()
            inbox.put(None)
        except BaseException as fault:  # noqa: BLE001 - it is raised in the main thread
            inbox.put(fault)

    thread = threading.Thread(target=run, name="waiter", daemon=True)
    thread.start()
    return thread


def _ignore(_: Outcome) -> None:
    pass


@contextmanager
def _acknowledging(waiter: Waiter, inbox: Inbox) -> Iterator[Callable[[Outcome], object]]:
    """Yield a function that acknowledges a task in another thread; all such requests are complete at the end."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only needed with --ack

    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        yield lambda outcome: pool.submit(_acknowledge, waiter, outcome, inbox)


def _acknowledge(waiter: Waiter, outcome: Outcome, inbox: Inbox) -> None:
    """Acknowledge the task if it has ended; a failure is a warning and changes nothing else."""
    if outcome.task is None and not isinstance(outcome.error, TaskError | ResourceError):
        return
    try:
        waiter.acknowledge(outcome.task_id)
    except WaiterError as error:
        text = f"waiter: not acknowledged: {stderr.describe(error)}"
        inbox.put(stderr.format_message("ack.failed", text, level="warning", task_id=outcome.task_id))


def is_sufficient(outcome: Outcome, return_when: str) -> bool:
    """Return whether this outcome ends the wait for all tasks."""
    return return_when == "any" or (return_when == "first-error" and outcome.error is not None)


class InboxReader:
    """Records and shows everything that arrives in the inbox.

    ``reports_error`` decides whether the error of an outcome is written to standard error; ``write_event`` is called with every
    event.
    """

    def __init__(
        self,
        inbox: Inbox,
        model: ProgressModel,
        progress: Progress,
        *,
        reports_error: Callable[[Outcome], bool] = lambda _: True,
        write_event: Callable[[Event], object] = lambda _: None,
    ) -> None:
        self._inbox = inbox
        self._model = model
        self._progress = progress
        self._reports_error = reports_error
        self._write_event = write_event

    def read_until_done(self) -> None:
        """Read until the wait has ended; raises what the wait raised. A signal loses no message."""
        with defer_signals():
            while (message := self._next_message()) is not None:
                if isinstance(message, BaseException):
                    raise message
                self._report(message)
        raise_received()

    def _next_message(self) -> Event | Outcome | str | BaseException | None:
        while True:
            raise_received()
            try:
                return self._inbox.get(timeout=min(self._progress.refresh(), MAX_BLOCKING))
            except Empty:
                continue

    def read_rest(self) -> None:
        """Read what had arrived before a signal."""
        for _ in range(self._inbox.qsize()):
            message = self._inbox.get()
            if message is not None and not isinstance(message, BaseException):
                self._report(message)

    def _report(self, message: Event | Outcome | str) -> None:
        rows = self._model.rows
        match message:
            case str():
                self._progress.write(message)
            case Event():
                rows[message.task_id].record_event(message, time.monotonic())
                self._write_event(message)
                self._progress.show_event(message)
            case _:
                rows[message.task_id].record_outcome(message, time.monotonic())
                if message.error and self._reports_error(message):
                    text = f"waiter: {stderr.describe(message.error)}"
                    fields = {rows[message.task_id].id_field: message.task_id, **stderr.error_fields(message.error)}
                    self._progress.write(stderr.format_message("wait.failed", text, **fields))


def run_with_progress(
    work: Callable[[], object], args: argparse.Namespace, model: ProgressModel, inbox: Inbox, writer: ResultWriter
) -> None:
    """Do what comes before the wait for tasks, with the progress and the events of a wait; raises what the work raises."""
    progress = choose_progress(args, model)
    reader = InboxReader(inbox, model, progress, write_event=writer.write_event)
    try:
        thread = start_thread(work, inbox)
        reader.read_until_done()
        thread.join()
    except Interrupted:
        reader.read_rest()
        writer.write_interrupted_waits()
        raise
    finally:
        progress.close(keep=False)
