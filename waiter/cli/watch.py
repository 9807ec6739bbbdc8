"""``waiter list --watch``: a listing that is repeated, and what changes between two of them.

Like the wait, the listing runs in a separate thread, and the main thread draws and handles signals.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from waiter.api.listings import MAX_PAGE
from waiter.api.requests import ACTIVE_STATES
from waiter.cli.output.result import as_json_object
from waiter.cli.output.writer import default_format
from waiter.cli.progress.choose import is_interactive, supports_escapes
from waiter.cli.progress.model import Problem, ProgressModel, TaskRow
from waiter.cli.task_list import described_filter, fetch_histories, result_of
from waiter.cli.wait_thread import MAX_BLOCKING
from waiter.config.task_filter import DEFAULT_LIMIT
from waiter.console import stderr
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import printable
from waiter.console.log_format import start_log
from waiter.console.signals import Interrupted, raise_received
from waiter.console.streams import is_terminal, write_result, write_stderr
from waiter.errors import ApiError, ConfigurationError, TaskError, TaskNotFoundError
from waiter.events import Event
from waiter.outcome import Outcome
from waiter.wait import Waiter

if TYPE_CHECKING:
    from waiter.api.requests import TaskFilter
    from waiter.cli.progress.live import LiveProgress
    from waiter.schedule.history import History
    from waiter.task import TaskSnapshot

# A task that has ended is shown for so many seconds more.
KEEP_ENDED = 60.0
# After each listing at most this many tasks that have left it are polled.
MAX_POLLED = 20


class Listing(NamedTuple):
    """One listing, the tasks that have left it since the one before, and the IDs of those that are still to be polled.

    ``gone`` has the error of each task that has left it and is not found.
    """

    listed: list[TaskSnapshot]
    left: list[TaskSnapshot]
    missing: set[str]
    gone: dict[str, TaskNotFoundError]


Inbox: TypeAlias = "SimpleQueue[Listing | Event | dict[str, History] | BaseException]"


class ListingThread:
    """Repeats a listing until it is stopped, and puts everything into the inbox.

    Of ended tasks, which grow in number, only the newest are listed: as many as one request returns.
    """

    def __init__(self, waiter: Waiter, chosen: TaskFilter, args: argparse.Namespace, inbox: Inbox) -> None:
        self._waiter = waiter
        self._chosen = chosen
        self._interval: float = args.interval
        self._learns = not args.no_learn
        self._limit = DEFAULT_LIMIT if set(chosen.states) and set(chosen.states) <= set(ACTIVE_STATES) else MAX_PAGE
        self._inbox = inbox
        self._active: dict[str, None] = {}
        self._types: set[str | None] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="listing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Make this listing the last."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until the last listing is complete."""
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                began = time.monotonic()
                self._list()
                # A slow listing is repeated less often.
                self._stopped.wait(max(self._interval, time.monotonic() - began))
        except BaseException as fault:  # noqa: BLE001 - it is raised in the main thread
            self._inbox.put(fault)

    def _list(self) -> None:
        listed = self._waiter.await_listing(self._chosen, self._limit)
        left, gone = self._poll_missing({snapshot.task.id for snapshot in listed})
        missing = self._active.keys() - {snapshot.task.id for snapshot in listed}
        self._active |= {snapshot.task.id: None for snapshot in listed if not snapshot.task.ended}
        self._inbox.put(Listing(listed, left, set(missing), gone))
        new = [snapshot for snapshot in listed if snapshot.task.task_type not in self._types]
        self._types |= {snapshot.task.task_type for snapshot in new}
        if histories := fetch_histories(self._waiter, new, ask=self._learns):
            self._inbox.put(histories)

    def _poll_missing(self, shown: set[str]) -> tuple[list[TaskSnapshot], dict[str, TaskNotFoundError]]:
        """Return tasks that have left the listing as they are now, and the errors of those that are not found.

        After another failure, a task is polled again next time.
        """
        left: list[TaskSnapshot] = []
        gone: dict[str, TaskNotFoundError] = {}
        for task_id in [task_id for task_id in self._active if task_id not in shown][:MAX_POLLED]:
            try:
                left.append(self._waiter.snapshot(task_id))
            except TaskNotFoundError as error:
                gone[task_id] = error
            except ApiError:
                continue
            del self._active[task_id]
        return left, gone


class Lines:
    """What changes, as lines on standard output: text, JSON objects or IDs; problems are lines on standard error."""

    def __init__(self, model: ProgressModel, form: str) -> None:
        self._model = model
        self._form = form

    def show(self, changed: list[TaskRow], new: set[str]) -> bool:
        """Write a line for each task that has changed, and return whether they have a reader."""
        now = time.monotonic()
        rows = [row for row in changed if row.task_id in new] if self._form == "ids" else changed
        return not rows or write_result("".join(self._line(row, now) for row in rows))

    def _line(self, row: TaskRow, now: float) -> str:
        if self._form == "ids":
            return f"{row.task_id}\n"
        if self._form == "json":
            return f"{json.dumps(as_json_object([result_of(row, now)])['tasks'][0])}\n"
        times = row.times(now)
        reason = printable((result_of(row, now).reason or "").removesuffix(f" ({row.task_id})"))
        return f"{row.name} is {row.state}{f' ({times})' if times else ''}{f': {reason}' if reason else ''}\n"

    def show_problem(self, problem: Problem | None) -> None:
        """Write the first problem of an outage, and None as its end."""
        if problem is None:
            stderr.info("the API answers again")
        elif self._model.problem is None:
            stderr.info(printable(problem.describe(time.monotonic())))


def watch(args: argparse.Namespace, chosen: TaskFilter) -> int:
    """Show what changes until a signal arrives or standard output has no reader, and return the exit code.

    Raises ConfigurationError, and the ApiError that ends the listing.
    """
    if args.query:
        message = "--query does not go with --watch: -o json gives one object a line"
        raise ConfigurationError(message)
    form = args.output or default_format(to_terminal=is_terminal(sys.stdout))
    model = ProgressModel([], time.monotonic())
    model.empty_text = f"no task{described_filter(chosen)}"
    start_log(args, write_stderr)
    live = _live_table(args, model, form)
    inbox: Inbox = SimpleQueue()
    # Each listing has the whole of --max-outage.
    with Waiter(**waiter_options(args), timeout=None, on_event=inbox.put) as waiter:
        thread = ListingThread(waiter, chosen, args, inbox)
        thread.start()
        try:
            show_until_stopped(inbox, model, live, Lines(model, form))
        except Interrupted as interruption:
            return interruption.exit_code
        finally:
            thread.stop()
            if live:
                live.close(keep=True)
    return ExitCode.FINISHED


def _live_table(args: argparse.Namespace, model: ProgressModel, form: str) -> LiveProgress | None:
    """Return a table that is redrawn in place, if both streams are one terminal that can show it."""
    if form != "text" or not is_terminal(sys.stdout) or not is_interactive(args.environ) or not supports_escapes():
        return None
    from waiter.cli.progress.live import LiveProgress  # noqa: PLC0415 - only needed on terminals

    return LiveProgress(model, args.environ)


def show_until_stopped(inbox: Inbox, model: ProgressModel, live: LiveProgress | None, lines: Lines) -> None:
    """Show what arrives in the inbox until standard output has no reader; raises what the thread raised."""
    while True:
        raise_received()
        try:
            message = inbox.get(timeout=min(live.refresh(), MAX_BLOCKING) if live else MAX_BLOCKING)
        except Empty:
            continue
        match message:
            case Listing():
                if model.problem and not live:
                    lines.show_problem(None)
                model.problem = None
                new = {snapshot.task.id for snapshot in message.listed} - model.rows.keys()
                changed = update(model, message, time.monotonic())
                if not live and not lines.show(changed, new):
                    return
            case Event() if message.name == "poll.failed":
                problem = Problem.of(message, time.monotonic())
                if not live:
                    lines.show_problem(problem)
                model.problem = problem
            case Event():
                pass  # the listing that follows shows that the API answers again
            case dict():
                model.record_histories(message)
            case _:
                raise message


def update(model: ProgressModel, listing: Listing, now: float) -> list[TaskRow]:
    """Record a listing, oldest task first, and return the rows that are new or whose state has changed."""
    changed = []
    for snapshot in [*reversed(listing.listed), *listing.left]:
        row = model.rows.get(snapshot.task.id) or model.add(snapshot.task.id, now)
        before = row.state
        row.record_snapshot(snapshot, now)
        task = snapshot.task
        if not task.ended:
            # A task that was not found may be listed again.
            row.outcome = None
        if row.state != before:
            changed.append(row)
        if task.ended and row.outcome is None:
            outcome = Outcome(task.id, error=TaskError(task)) if task.failed else Outcome(task.id, task=task)
            row.record_outcome(outcome, now)
    for task_id in listing.gone.keys() & model.rows.keys():
        row = model.rows[task_id]
        row.record_outcome(Outcome(task_id, error=listing.gone[task_id]), now)
        changed.append(row)
    shown = {snapshot.task.id for snapshot in listing.listed} | listing.missing
    for row in [row for row in model.rows.values() if row.task_id not in shown]:
        if row.outcome is None or now - row.changed_at > KEEP_ENDED:
            del model.rows[row.task_id]
    return changed
