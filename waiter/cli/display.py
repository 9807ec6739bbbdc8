"""Which progress fits the place where the command runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from waiter.cli.progress import Lines, Logged, Progress
from waiter.console.log_format import log_format
from waiter.console.streams import is_terminal

if TYPE_CHECKING:
    from waiter.cli.board import Board


def choose(args: argparse.Namespace, board: Board) -> Progress:
    """Give the progress that was asked for, or that fits: live on a terminal, lines in CI, heartbeats in a log."""
    how, form = "none" if args.quiet else args.progress, log_format(args)
    if how == "none":
        return Progress(board)
    # A log has what lines would say, and nothing can be drawn between objects.
    if form == "json" or (form != "none" and how != "live"):
        return Logged(board)
    if how == "lines" or (how == "auto" and not _is_watched(args.environ)) or not _understands_escapes():
        return Lines(board)
    from waiter.cli.live import Live  # noqa: PLC0415 - for terminals only

    return Live(board, args.environ)


def _is_watched(environ: Mapping[str, str]) -> bool:
    return is_terminal(sys.stderr) and environ.get("TERM") != "dumb" and not environ.get("CI")


def _understands_escapes() -> bool:
    if sys.platform != "win32":
        return True
    import ctypes  # pragma: no cover # noqa: PLC0415 - for Windows only

    # A console has to be told: ENABLE_VIRTUAL_TERMINAL_PROCESSING on standard error,
    # https://learn.microsoft.com/windows/console/setconsolemode
    kernel = ctypes.windll.kernel32  # pragma: no cover - Windows only, as all that follows
    handle, mode = kernel.GetStdHandle(-12), ctypes.c_ulong()  # pragma: no cover
    got = kernel.GetConsoleMode(handle, ctypes.byref(mode))  # pragma: no cover
    return bool(got and kernel.SetConsoleMode(handle, mode.value | 4))  # pragma: no cover
