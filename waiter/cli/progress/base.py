"""The interface of progress; this one shows nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from waiter.console.streams import write_stderr

if TYPE_CHECKING:
    from waiter.cli.progress.model import ProgressModel
    from waiter.events import Event


class Progress:
    """No progress. All other messages are written through it as well, so that a drawing can make room for them."""

    def __init__(self, model: ProgressModel, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._clock = clock

    def show_event(self, event: Event) -> None:
        """Show an event that the model has recorded."""

    def refresh(self) -> float:
        """Show what is due by now, and return the seconds until something is due again."""
        return inf

    def write(self, text: str) -> None:
        """Write a line that is not part of the progress."""
        write_stderr(text)

    def close(self, *, keep: bool) -> None:
        """Stop drawing; the final state of the tasks stays on the screen only if ``keep``."""
