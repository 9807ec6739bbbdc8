"""The wait in a thread of its own, and the main thread that tells of it.

A resolver that hangs in C lets no signal through to the thread that called it. So the main thread does nothing but listen: it
draws, it writes, and it can leave at any moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from waiter.console import stderr
from waiter.events import Event
from waiter.outcome import Outcome

if TYPE_CHECKING:
    from waiter.cli.board import Board
    from waiter.cli.progress import Progress
    from waiter.wait import Waiter

# A signal that comes an instant before the wait for a lock begins does not end it, and on Windows none does.
LONGEST_NAP = 0.1

Inbox: TypeAlias = "SimpleQueue[Event | Outcome | str | BaseException | None]"


def start(waiter: Waiter, task_ids: Sequence[str], return_when: str, inbox: Inbox) -> threading.Thread:
    """Wait for the tasks in another thread, which puts every outcome into the inbox, and None at the end."""

    def work() -> None:
        try:
            for outcome in waiter.as_completed(task_ids):
                inbox.put(outcome)
                if is_enough(outcome, return_when):
                    break
            inbox.put(None)
        except BaseException as fault:  # noqa: BLE001 - it is raised in the main thread
            inbox.put(fault)

    thread = threading.Thread(target=work, name="waiter", daemon=True)
    thread.start()
    return thread


def is_enough(outcome: Outcome, return_when: str) -> bool:
    """Whether this outcome ends the wait for all tasks."""
    return return_when == "any" or (return_when == "first-error" and outcome.error is not None)


def follow(
    inbox: Inbox,
    board: Board,
    progress: Progress,
    *,
    tells: Callable[[Outcome], bool] = lambda _: True,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Tell all that comes in, until the wait has ended; raises what the wait raised.

    ``tells`` answers whether the error of an outcome is told here.
    """
    while True:
        try:
            said = inbox.get(timeout=min(progress.pause(), LONGEST_NAP))
        except Empty:
            continue
        match said:
            case None:
                return
            case str():
                progress.say(said)
            case Event():
                board.rows[said.task_id].note(said, clock())
                progress.changed(said)
            case Outcome():
                board.rows[said.task_id].end(said, clock())
                if said.error and tells(said):
                    text = f"waiter: {stderr.describe(said.error)}"
                    progress.say(
                        stderr.format_message("wait.failed", text, task_id=said.task_id, **stderr.error_fields(said.error))
                    )
            case _:
                raise said
