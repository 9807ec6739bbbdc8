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

from waiter.cli import options
from waiter.cli.output.formats import json_text
from waiter.cli.output.writer import default_format
from waiter.cli.parser import Parser, typed
from waiter.cli.progress.block import glyphs_for
from waiter.cli.registry import COMMANDS
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import format_duration, parse_name, printable
from waiter.console.log_format import start_log
from waiter.console.streams import is_terminal, write_result, write_stderr
from waiter.polling.history_cache import history_of
from waiter.wait import Waiter

if TYPE_CHECKING:
    from waiter.task import TaskSnapshot

MAX_BINS = 8
BAR_WIDTH = 40


def make_parser() -> Parser:
    """Return the parser of ``waiter history``."""
    parser = Parser("history", "[OPTIONS] TASK_TYPE", summary=COMMANDS["history"], examples="waiter history create_vm")
    parser.add_argument("task_type", type=typed(parse_name), metavar="TASK_TYPE", help="such as create_vm")
    options.add_result(parser, ("text", "json"), query=False)
    options.add_log(parser)
    options.add_connection(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Fetch the history with one request and print it."""
    start_log(args, write_stderr)
    with Waiter(**waiter_options(args)) as waiter:
        known = summarize(args.task_type, waiter.past(args.task_type))
    format_name = args.output or default_format(to_terminal=is_terminal(sys.stdout))
    if format_name == "json":
        write_result(json_text(known))
    else:
        write_result(as_text(known, glyphs_for(sys.stdout.encoding).full, get_terminal_size().columns))
    return ExitCode.FINISHED


def summarize(task_type: str, past: Sequence[TaskSnapshot]) -> dict[str, Any]:
    """Return what the listing contains of a type; times in seconds, durations newest first."""
    history = history_of(past)
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
    """Return the summary as text, with a plot that fits the columns."""
    running = f"; {known['running']} still running" if known["running"] else ""
    if not known["ended"]:
        return f"{printable(known['task_type'])}: the API has none that ended{running}\n"
    untimed = known["ended"] - known["count"]
    unknown = f"; {untimed} without a duration" if untimed else ""
    head = f"{printable(known['task_type'])}: the last {known['ended']} that ended{unknown}{running}\n"
    share = f"{known['errors'] / known['ended']:.0%} ended in ERROR\n"
    if not known["count"]:
        return f"{head}  {share}"
    p10, median, p90 = (format_duration(known[name]) for name in ("p10", "median", "p90"))
    return f"{head}  median {median}; 10% to 90%: {p10} to {p90}; {share}\n{plot(known['durations'], full, columns)}"


def plot(durations: Sequence[float], full: str, columns: int) -> str:
    """Return a histogram of the durations; its bins grow with the duration, and no two have the same label."""
    edges = _edges(min(durations), max(durations))
    counts = Counter(bisect(edges, x, 1, len(edges) - 1) - 1 for x in durations)
    labels = [format_duration(edge) for edge in edges]
    widest, highest = max(map(len, labels)), max(counts.values())
    bins = [low if low == high else f"{low:>{widest}} to {high:<{widest}}" for low, high in pairwise(labels)]
    bar = max(1, min(BAR_WIDTH, columns - len(bins[0]) - len(str(highest)) - 7))
    return "".join(
        f"  {label}  {full * round(bar * counts[place] / highest):<{bar}}  {counts[place]}\n"
        for place, label in enumerate(bins)
    )


def _edges(shortest: float, longest: float) -> list[float]:
    low, high = math.log(shortest + 1), math.log(longest + 2)
    for count in range(MAX_BINS, 1, -1):
        edges = [math.exp(low + (high - low) * step / count) - 1 for step in range(count + 1)]
        if all(format_duration(one) != format_duration(other) for one, other in pairwise(edges)):
            return edges
    return [shortest, longest]
