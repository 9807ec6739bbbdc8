"""Progress on a terminal: a line for each task, redrawn in place."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from waiter.cli.progress.base import Progress
from waiter.console.formatting import ascii_printable, format_duration
from waiter.console.streams import write_stderr

if TYPE_CHECKING:
    from waiter.cli.progress.model import ProgressModel, TaskRow
    from waiter.events import Event

FRAME: Final = 0.1
MAX_ROWS: Final = 12
BAR: Final = 12
_COLORS = {"FINISHED": "32", "ERROR": "31", "RUNNING": "36"}


class Glyphs(NamedTuple):
    """The characters with which the lines are drawn."""

    spinner: str
    done: str
    failed: str
    left: str
    full: str
    rest: str
    more: str


FANCY: Final = Glyphs("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "✓", "✗", "·", "█", "░", "…")
ASCII: Final = Glyphs("|/-\\", "+", "x", ".", "#", ".", "~")


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return the best glyphs that an encoding can represent."""
    try:
        "".join(FANCY).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return FANCY


class LiveProgress(Progress):
    """A block of lines at the bottom of the terminal; other messages scroll above it."""

    def __init__(self, model: ProgressModel, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(model, clock)
        self._glyphs = glyphs_for(sys.stderr.encoding)
        self._color = not environ.get("NO_COLOR")
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
        self._draw(self._lines())
        self._due_at = self._clock() + FRAME
        return FRAME

    def write(self, text: str) -> None:
        """Write a line above the block."""
        self._draw([])
        write_stderr(text)
        self._due_at = self._clock()

    def close(self, *, keep: bool) -> None:
        """Draw the final state of all tasks if ``keep``, otherwise erase the block."""
        self._draw(self._lines() if keep else [])

    def _lines(self) -> list[str]:
        return block(self._model, self._clock(), self._frame, _size(), self._glyphs)

    def _draw(self, lines: list[str]) -> None:
        columns = _size().columns
        # A terminal that has become narrower has wrapped the lines.
        rows = sum(max(1, -(-len(line) // columns)) for line in self._drawn)
        up = f"\x1b[{rows}A" if rows else ""
        text = "".join(f"{self._colored(line)}\x1b[K\n" for line in lines)
        self._drawn = lines
        if up or text:
            write_stderr(f"\r{up}{text}\x1b[J")

    def _colored(self, line: str) -> str:
        color = next((code for state, code in _COLORS.items() if state in line), None)
        if not self._color or color is None:
            return line
        return f"\x1b[{color}m{line[:1]}\x1b[0m{line[1:]}"


def _size() -> os.terminal_size:
    """Return the size of the terminal of standard error; shutil would use standard output, which may be a pipe."""
    with suppress(OSError, ValueError, AttributeError):
        size = os.get_terminal_size(sys.stderr.fileno())
        if size.columns and size.lines:
            return size
    return shutil.get_terminal_size()


def block(model: ProgressModel, now: float, frame: int, size: os.terminal_size, glyphs: Glyphs) -> list[str]:
    """Return the lines for all tasks or, if they are too many, for those that changed last, and a summary."""
    rows = list(model.rows.values())
    max_rows = max(1, min(MAX_ROWS, size.lines - 2))
    shown = rows
    if len(rows) > max_rows:
        newest = sorted(rows, key=lambda row: (row.outcome is not None, -row.changed_at))[:max_rows]
        shown = [row for row in rows if row in newest]
    table = Table(size.columns - 1, max(len(row.state) for row in shown), max(len(_kind(row)) for row in shown), glyphs)
    lines = [table.line(row, now, frame) for row in shown]
    if len(rows) > len(shown):
        lines.append(table.cut(_summary(rows, len(shown), glyphs)))
    return lines


def _summary(rows: list[TaskRow], shown: int, glyphs: Glyphs) -> str:
    counts = Counter(ascii_printable(row.task.state) if row.task else "not polled yet" for row in rows)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{glyphs.more} and {len(rows) - shown} more; {len(rows)} tasks: {states}"


class Table(NamedTuple):
    """The widths of the lines and their columns."""

    width: int
    state_width: int
    kind_width: int
    glyphs: Glyphs

    def line(self, row: TaskRow, now: float, frame: int) -> str:
        """Return the line of a task; on a narrow terminal it leaves out what matters least."""
        age, left = row.age(now), row.time_left(now)
        old = "" if age is None else format_duration(age)
        head = f"{_mark(row, frame, self.glyphs)} {row.state:<{self.state_width}}  {old:>6}"
        kind, task_id, short = f"{_kind(row):<{self.kind_width}}", row.task_id, row.task_id[:8]
        bar = _bar(age, left.median, self.glyphs) if left and age is not None else ""
        until = f"{format_duration(left.median)} left" if left else ""
        about, problem = (
            f"about {until}" if left else "",
            ascii_printable(row.problem.describe(now, short=True)) if row.problem and not row.outcome else "",
        )
        most = f"{about} (90%: {format_duration(left.p90)})" if left else ""
        for middle in (
            [kind, task_id, bar, most], [kind, task_id, bar, about], [kind, short, bar, most], [kind, short, bar, about],
            [kind, short, about], [short, about],
        ):  # fmt: skip
            drawn = "  ".join(filter(None, [head, *middle, problem]))
            if len(drawn) <= self.width:
                return drawn
        return self.cut(" ".join(filter(None, [*head.split(), short, until, problem])))

    def cut(self, text: str) -> str:
        """Return as much of the text as fits."""
        return text if len(text) <= self.width else text[: max(self.width - 1, 0)] + self.glyphs.more


def _kind(row: TaskRow) -> str:
    return ascii_printable(row.task.task_type) if row.task and row.task.task_type else ""


def _mark(row: TaskRow, frame: int, glyphs: Glyphs) -> str:
    if row.task and row.task.ended:
        return glyphs.failed if row.task.failed else glyphs.done
    if row.outcome:
        return glyphs.left
    return glyphs.spinner[frame % len(glyphs.spinner)]


def _bar(age: float, left: float, glyphs: Glyphs) -> str:
    full = round(BAR * age / (age + left)) if age + left else 0
    return glyphs.full * full + glyphs.rest * (BAR - full)
