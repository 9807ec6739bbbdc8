"""Progress on a terminal: a line for each task, redrawn in place.

rich was measured: importing rich.live takes 0.07 s and about 7 MB, which this module does without.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from waiter.cli.progress.base import Progress
from waiter.cli.progress.block import block, glyphs_for
from waiter.console.formatting import display_width
from waiter.console.streams import wants_color, write_stderr

if TYPE_CHECKING:
    from waiter.cli.progress.model import ProgressModel
    from waiter.events import Event

FRAME: Final = 0.1
_GREEN, _RED, _CYAN = "32", "31", "36"


class LiveProgress(Progress):
    """A block of lines at the bottom of the terminal; other messages scroll above it."""

    def __init__(self, model: ProgressModel, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(model, clock)
        self._glyphs = glyphs_for(sys.stderr.encoding)
        self._color = wants_color(environ)
        self._drawn: list[str] = []
        self._frame = 0
        self._due_at = clock()

    def show_event(self, event: Event) -> None:
        """Do nothing: the next frame shows all changes since the last one."""

    def refresh(self) -> float:
        """Draw the next frame if it is due, and return the seconds until the one after."""
        left = self._due_at - self._clock()
        if left > 0:
            return left
        self._frame += 1
        self._draw(self._lines(self._frame))
        self._due_at = self._clock() + FRAME
        return FRAME

    def write(self, text: str) -> None:
        """Write a line above the block."""
        self._draw([])
        write_stderr(text)
        self._due_at = self._clock()

    def close(self, *, keep: bool) -> None:
        """Draw the final state of all tasks if ``keep``, otherwise erase the block."""
        self._draw(self._lines(None) if keep else [])

    def _lines(self, frame: int | None) -> list[str]:
        return block(self._model, self._clock(), frame, _size(), self._glyphs)

    def _draw(self, lines: list[str]) -> None:
        columns = _size().columns
        # A terminal that has become narrower has wrapped the lines.
        rows = sum(max(1, -(-display_width(line) // columns)) for line in self._drawn)
        up = f"\x1b[{rows}A" if rows else ""
        text = "".join(f"{self._colored(line)}\x1b[K\n" for line in lines)
        self._drawn = lines
        if lines:
            write_stderr(f"\r{up}{text}\x1b[J")
        elif rows:
            # Line by line: tmux moves a screen that is erased from its top into the scrollback.
            erased = "\x1b[K\n" * rows
            write_stderr(f"\r{up}{erased}{up}")

    def _colored(self, line: str) -> str:
        mark, space, state = line[:1], line[1:2], line[2:]
        marks = {self._glyphs.done: _GREEN, self._glyphs.failed: _RED}
        color = marks.get(mark, _CYAN if state.startswith("RUNNING") else None)
        if not self._color or space != " " or color is None:
            return line
        return f"\x1b[{color}m{mark}\x1b[0m{line[1:]}"


def _size() -> os.terminal_size:
    """Return the size of the terminal of standard error; shutil would use standard output, which may be a pipe."""
    with suppress(OSError, ValueError, AttributeError):
        size = os.get_terminal_size(sys.stderr.fileno())
        if size.columns and size.lines:
            return size
    return shutil.get_terminal_size()
