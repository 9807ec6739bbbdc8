"""The table of ``waiter list``, and its other output formats."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Final

from waiter.cli.output.formats import FORMATS, OutputFormat
from waiter.cli.output.result import TaskResult, task_duration
from waiter.console.formatting import display_width, fit, format_duration, printable, with_short_ids
from waiter.console.streams import is_terminal
from waiter.errors import described

_HEADER: Final = {"id": "ID", "type": "TYPE", "target": "TARGET", "state": "STATE", "age": "AGE", "left": "LEFT"}
# Columns, and how wide they may be, from wide to narrow terminals. An ID is never cut: it is to be copied.
_LAYOUTS: Final[tuple[dict[str, int], ...]] = (
    {},
    {"target": 36},
    {"target": 36, "left": 24},
    {"target": 16, "left": 24},
)
_SECOND_LINE: Final = ("state", "age", "type", "target", "left")


def table(results: Sequence[TaskResult], columns: int | None = None) -> str:
    """Return a header and a line for each task, which fit the columns; on a narrow terminal, two lines for each task."""
    rows = [_cells(result) for result in results]
    if not rows:
        return ""
    for limits in _LAYOUTS:
        lines = _lines([_HEADER, *rows], limits, tuple(_HEADER))
        if columns is None or max(map(display_width, lines)) <= columns:
            return "".join(f"{line}\n" for line in lines)
    details = _lines([dict.fromkeys(_HEADER, ""), *rows], _LAYOUTS[-1], _SECOND_LINE)[1:]
    return "".join(f"{row['id']}\n{fit(f'  {line}', columns or 0, '~')}\n" for row, line in zip(rows, details, strict=True))


def _cells(result: TaskResult) -> dict[str, str]:
    task = result.task
    took = task_duration(task) if task else None
    return {
        "id": result.task_id,
        "type": printable(task.task_type) if task and task.task_type else "",
        "target": printable(task.target) if task and task.target else "",
        "state": printable(described(task)) if task else "",
        "age": "" if result.age is None else format_duration(result.age),
        "left": f"took {format_duration(took)}" if took is not None else result.estimate.replace(" left", ""),
    }


def _lines(rows: Sequence[dict[str, str]], limits: dict[str, int], order: Sequence[str]) -> list[str]:
    """Return the rows, of which the first is a header, as lines, without columns that are empty but for their header."""
    shown = [name for name in order if any(row[name] for row in rows[1:])]
    if "target" in limits:
        rows = [{**row, "target": with_short_ids(row["target"])} for row in rows]
    if "left" in limits:
        rows = [{**row, "left": row["left"].partition(" (")[0]} for row in rows]
    cut = [{name: fit(row[name], limits.get(name, sys.maxsize), "~") for name in shown} for row in rows]
    widths = {name: max(display_width(row[name]) for row in cut) for name in shown}
    padded = [[row[name] + " " * (widths[name] - display_width(row[name])) for name in shown] for row in cut]
    return ["  ".join(cells).rstrip() for cells in padded]


def _text(results: Sequence[TaskResult]) -> str:
    return table(results, shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None)


def _ids(results: Sequence[TaskResult]) -> str:
    """Return the ID of each task, one a line."""
    return "".join(f"{result.task_id}\n" for result in results)


LIST_FORMATS: Final = {"text": OutputFormat(_text), "json": FORMATS["json"], "ids": OutputFormat(_ids)}
