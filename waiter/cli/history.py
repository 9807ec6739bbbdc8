"""``waiter history``: how long the last tasks of a type took."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from waiter.cli.live import glyphs_for
from waiter.cli.output import as_json
from waiter.history import read_history
from waiter.process.arguments import waiter_options
from waiter.process.exits import Exit
from waiter.process.log import start_log
from waiter.process.streams import is_terminal, say, write
from waiter.text import duration, safe
from waiter.wait import Waiter

if TYPE_CHECKING:
    from waiter.task import Sighting

BINS = 8
WIDTH = 40


def run(args: argparse.Namespace) -> int:
    """Ask once and print what is known."""
    start_log(args, say)
    with Waiter(**waiter_options(args)) as waiter:
        known = summarize(args.task_type, waiter.past(args.task_type))
    form = args.output or ("text" if is_terminal(sys.stdout) else "json")
    write(as_json(known) if form == "json" else as_text(known, glyphs_for(sys.stdout.encoding).full))
    return Exit.FINISHED


def summarize(task_type: str, past: Sequence[Sighting]) -> dict[str, Any]:
    """Give what the listing tells of a type; times in seconds, durations newest first."""
    history = read_history(past)
    return {
        "task_type": task_type,
        "count": history.count,
        "running": len(history.running),
        "errors": sum(sighting.task.failed for sighting in past),
        "p10": history.p10,
        "median": history.median,
        "p90": history.p90,
        "durations": list(history.durations),
    }


def as_text(known: dict[str, Any], full: str) -> str:
    """Write it for people, with a plot."""
    running = f"; {known['running']} still running" if known["running"] else ""
    if not known["count"]:
        return f"{safe(known['task_type'])}: the API remembers none that ended{running}\n"
    share = f"{known['errors'] / known['count']:.0%}"
    p10, median, p90 = (duration(known[name]) for name in ("p10", "median", "p90"))
    return (
        f"{safe(known['task_type'])}: the last {known['count']} that ended{running}\n"
        f"  median {median}; 10% to 90%: {p10} to {p90}; {share} ended in ERROR\n\n{plot(known['durations'], full)}"
    )


def plot(durations: Sequence[float], full: str) -> str:
    """Draw how many took how long, in classes that grow with the duration."""
    edges = _edges(min(durations), max(durations))
    counts = [0] * BINS
    for x in durations:
        counts[min(sum(x >= edge for edge in edges[1:]), BINS - 1)] += 1
    return "".join(
        f"  {duration(low):>6} to {duration(high):<6}  {full * round(WIDTH * count / max(counts)):<{WIDTH}}  {count}\n"
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    )


def _edges(shortest: float, longest: float) -> list[float]:
    low, high = math.log(shortest + 1), math.log(longest + 2)
    return [math.exp(low + (high - low) * step / BINS) - 1 for step in range(BINS + 1)]
