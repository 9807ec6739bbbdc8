"""The lines of the live progress: one for each task, with columns that line up, and a summary."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from waiter.console.formatting import display_width, fit, format_duration, printable

if TYPE_CHECKING:
    from waiter.cli.progress.model import ProgressModel, TaskRow

BAR_WIDTH: Final = 12
TARGET_WIDTH: Final = 36
SHORT_TARGET_WIDTH: Final = 16


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


# What a line shows after the state and the age, from wide to narrow terminals.
_LAYOUTS: Final = (
    ("kind", "target", "id", "bar", "estimate"),
    ("kind", "target", "id", "bar", "left"),
    ("kind", "target", "short_id", "bar", "estimate"),
    ("kind", "target", "short_id", "bar", "left"),
    ("kind", "target", "short_id", "left"),
    ("kind", "short_target", "short_id", "left"),
    ("kind", "short_target", "short_id", "brief"),
    ("short_target", "short_id", "left"),
    ("short_target", "short_id", "brief"),
    ("short_id", "left"),
    ("short_id", "brief"),
)
_REMAINDER: Final = {"bar", "estimate", "left", "brief"}
# Layouts in which a line may have its whole problem: in narrower ones a line has the cause, and the footer the rest.
_LAYOUTS_WITH_PROBLEM: Final = tuple(layout for layout in _LAYOUTS if "kind" in layout)


class _Line(NamedTuple):
    mark: str
    cells: dict[str, str]
    problem: str

    def in_layout(self, layout: Sequence[str], widths: dict[str, int], gap: str) -> str:
        """Return the line; a problem takes the place of the bar and the time left."""
        columns = [name for name in layout if widths[name] and not (self.problem and name in _REMAINDER)]
        texts = [_padded(self.cells[name], widths[name], right=name == "age") for name in ("state", "age", *columns)]
        return f"{self.mark} {gap.join([*texts, self.problem])}".rstrip()


def block(model: ProgressModel, now: float, frame: int | None, size: os.terminal_size, glyphs: Glyphs) -> list[str]:
    """Return the lines for all tasks, failures last; of too many, the most recent failures and changes, and a summary.

    ``frame`` is the number of the frame, which turns the spinner; None is the final one, without a spinner.
    """
    in_rows = _drawn(model, now, frame, size, glyphs, outage="")
    return in_rows or _drawn(model, now, frame, size, glyphs, outage=_outage(list(model.rows.values()), now))


def _drawn(  # noqa: PLR0913 - what block() has, and the outage
    model: ProgressModel, now: float, frame: int | None, size: os.terminal_size, glyphs: Glyphs, *, outage: str
) -> list[str]:
    """Return the lines, with the problems in the rows or, if there is an ``outage``, below them; empty if they do not fit."""
    rows, width = list(model.rows.values()), size.columns - 1
    footer = [text for text in (outage, model.problem and printable(model.problem.describe(now))) if text]
    shown = _choose_rows(rows, max(1, size.lines - 2 - len(footer)))
    if len(rows) > len(shown):
        footer.insert(0, _summary(rows, len(shown), glyphs))
    if not rows:
        footer.insert(0, f"{_spinner(frame, glyphs)} {model.empty_text}")
    lines = [_line(row, now, frame, glyphs, short=bool(outage)) for row in shown]
    restricted = not outage and any(line.problem for line in lines)
    arranged = _arrange(lines, width, glyphs, _LAYOUTS_WITH_PROBLEM if restricted else _LAYOUTS)
    if restricted and not arranged:
        return []
    return [*arranged, *(fit(text, width, glyphs.more) for text in footer)]


def _outage(rows: list[TaskRow], now: float) -> str:
    """Return the problem of the task that gives up first; empty without one."""
    problems = [row.problem for row in rows if row.problem and row.outcome is None]
    first = min(problems, key=lambda problem: inf if problem.gives_up_at is None else problem.gives_up_at, default=None)
    return printable(first.describe(now, short=True)) if first else ""


def _choose_rows(rows: list[TaskRow], count: int) -> list[TaskRow]:
    """Return the rows to show: failures last, up to half of the lines if other tasks are pending, then what changed last."""
    failed = [row for row in rows if row.has_failed]
    pending = [row for row in rows if row.outcome is None and not row.has_failed]
    ended = [row for row in rows if row.outcome is not None and not row.has_failed]
    some_failed = _latest(failed, max(count // 2, count - len(pending)))
    some_pending = _latest(pending, count - len(some_failed))
    chosen = {row.task_id for row in [*some_pending, *_latest(ended, count - len(some_failed) - len(some_pending))]}
    return [*(row for row in rows if row.task_id in chosen), *some_failed]


def _latest(rows: list[TaskRow], count: int) -> list[TaskRow]:
    """Return the rows that changed last, in their order."""
    kept = {row.task_id for row in sorted(rows, key=lambda row: -row.changed_at)[: max(count, 0)]}
    return [row for row in rows if row.task_id in kept]


def _line(row: TaskRow, now: float, frame: int | None, glyphs: Glyphs, *, short: bool) -> _Line:
    age, left, estimate = row.age(now), row.time_left(now), row.estimate(now)
    cells = {
        "state": row.state,
        "age": "" if age is None else format_duration(age),
        "kind": printable(row.task.task_type) if row.task and row.task.task_type else "",
        "target": fit(row.target, TARGET_WIDTH, glyphs.more),
        "short_target": fit(row.target, SHORT_TARGET_WIDTH, glyphs.more),
        "id": row.task_id,
        "short_id": row.short_id,
        "bar": _bar(age, left.median, glyphs) if left and age is not None else "",
        "left": f"about {format_duration(left.median)} left" if left else estimate,
        "brief": f"{format_duration(left.median)} left" if left else "",
        "estimate": estimate,
    }
    problem = ""
    if row.problem and row.outcome is None:
        problem = printable(row.problem.cause if short else row.problem.describe(now, short=True))
    return _Line(_mark(row, frame, glyphs), cells, problem)


def _arrange(lines: list[_Line], width: int, glyphs: Glyphs, layouts: Sequence[tuple[str, ...]]) -> list[str]:
    """Return all lines in the widest layout in which they fit, so that the columns line up; empty if only others would do."""
    if not lines:
        return []
    widths = {name: max(display_width(line.cells[name]) for line in lines) for name in lines[0].cells}
    # The age grows while it is shown; this width keeps the columns in place.
    roomy = widths | {"age": max(widths["age"], 6)}
    for layout in layouts:
        drawn = [line.in_layout(layout, roomy, "  ") for line in lines]
        if all(display_width(text) <= width for text in drawn):
            return drawn
    if _LAYOUTS[-1] not in layouts:
        return []
    return [fit(line.in_layout(_LAYOUTS[-1], widths, " "), width, glyphs.more) for line in lines]


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - display_width(text))
    return space + text if right else text + space


def _summary(rows: list[TaskRow], shown: int, glyphs: Glyphs) -> str:
    counts = Counter(printable(row.task.state) if row.task else "not polled yet" for row in rows)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{glyphs.more} and {len(rows) - shown} more; {len(rows)} tasks: {states}"


def _mark(row: TaskRow, frame: int | None, glyphs: Glyphs) -> str:
    if row.has_failed:
        return glyphs.failed
    if row.has_finished:
        return glyphs.done
    return glyphs.left if row.outcome else _spinner(frame, glyphs)


def _spinner(frame: int | None, glyphs: Glyphs) -> str:
    return glyphs.left if frame is None else glyphs.spinner[frame % len(glyphs.spinner)]


def _bar(age: float, left: float, glyphs: Glyphs) -> str:
    full = round(BAR_WIDTH * age / (age + left)) if age + left else 0
    return glyphs.full * full + glyphs.rest * (BAR_WIDTH - full)
