"""``waiter history``: how long the last tasks of a type took."""

from __future__ import annotations

import argparse
import math
import sys
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from waiter.cli.live import glyphs_for
from waiter.cli.output import as_json
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import format_duration, printable
from waiter.console.log_format import start_log
from waiter.console.streams import is_terminal, write_result, write_stderr
from waiter.polling.history_cache import read_history
from waiter.wait import Waiter

if TYPE_CHECKING:
    from waiter.task import TaskSnapshot

BINS = 8
WIDTH = 40


def run(args: argparse.Namespace) -> int:
    """Ask once and print what is known."""
    start_log(args, write_stderr)
    with Waiter(**waiter_options(args)) as waiter:
        known = summarize(args.task_type, waiter.past(args.task_type))
    form = args.output or ("text" if is_terminal(sys.stdout) else "json")
    write_result(
        as_json(known) if form == "json" else as_text(known, glyphs_for(sys.stdout.encoding).full, get_terminal_size().columns)
    )
    return ExitCode.FINISHED


def summarize(task_type: str, past: Sequence[TaskSnapshot]) -> dict[str, Any]:
    """Give what the listing tells of a type; times in seconds, durations newest first."""
    history = read_history(past)
    ended = sum(snapshot.task.ended for snapshot in past)
    return {
        "task_type": task_type,
        "count": history.count,
        "ended": ended,
        "running": len(past) - ended,
        "errors": sum(snapshot.task.failed for snapshot in past),
        "p10": history.p10,
        "median": history.median,
        "p90": history.p90,
        "durations": list(history.durations),
    }


def as_text(known: dict[str, Any], full: str, columns: int) -> str:
    """Write it for people, with a plot as wide as there are columns for it."""
    running = f"; {known['running']} still running" if known["running"] else ""
    if not known["ended"]:
        return f"{printable(known['task_type'])}: the API remembers none that ended{running}\n"
    untimed = known["ended"] - known["count"]
    unknown = f"; {untimed} without the time it took" if untimed else ""
    head = f"{printable(known['task_type'])}: the last {known['ended']} that ended{unknown}{running}\n"
    share = f"{known['errors'] / known['ended']:.0%} ended in ERROR\n"
    if not known["count"]:
        return f"{head}  {share}"
    p10, median, p90 = (format_duration(known[name]) for name in ("p10", "median", "p90"))
    return f"{head}  median {median}; 10% to 90%: {p10} to {p90}; {share}\n{plot(known['durations'], full, columns)}"


def plot(durations: Sequence[float], full: str, columns: int) -> str:
    """Draw how many took how long, in classes that grow with the duration, and no two of which have the same name."""
    edges = _edges(min(durations), max(durations))
    counts = Counter(bisect(edges, x, 1, len(edges) - 1) - 1 for x in durations)
    names = [format_duration(edge) for edge in edges]
    widest, most = max(map(len, names)), max(counts.values())
    classes = [low if low == high else f"{low:>{widest}} to {high:<{widest}}" for low, high in pairwise(names)]
    bar = max(1, min(WIDTH, columns - len(classes[0]) - len(str(most)) - 7))
    return "".join(
        f"  {name}  {full * round(bar * counts[place] / most):<{bar}}  {counts[place]}\n" for place, name in enumerate(classes)
    )


def _edges(shortest: float, longest: float) -> list[float]:
    low, high = math.log(shortest + 1), math.log(longest + 2)
    for bins in range(BINS, 1, -1):
        edges = [math.exp(low + (high - low) * step / bins) - 1 for step in range(bins + 1)]
        if all(format_duration(one) != format_duration(other) for one, other in pairwise(edges)):
            return edges
    return [shortest, longest]
