"""Which progress fits the place where the command runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from waiter import logs
from waiter.cli.progress import Lines, Logged, Progress
from waiter.cli.streams import is_terminal

if TYPE_CHECKING:
    from waiter.cli.board import Board


def choose(args: argparse.Namespace, board: Board) -> Progress:
    """Give the progress that was asked for, or that fits: live on a terminal, lines in CI, heartbeats in a log."""
    match "none" if args.quiet else args.progress:
        case "none":
            return Progress(board)
        case "lines":
            return Lines(board)
        case "auto" if log_form(args) != "none":
            return Logged(board)
        case "auto" if not _can_redraw(args.environ):
            return Lines(board)
    from waiter.cli.live import Live  # noqa: PLC0415 - for terminals only

    return Live(board, args.environ)


def log_form(args: argparse.Namespace) -> str:
    """Give the form of the log; asking for a level alone is asking for a log."""
    return args.log_format or ("console" if args.log_level else "none")


def start_log(args: argparse.Namespace, take: Callable[[str], object]) -> None:
    """Let each line of the log be taken, if there shall be a log."""
    form = log_form(args)
    if form == "none":
        logs.silence()
        return
    color = is_terminal(sys.stderr) and not args.environ.get("NO_COLOR")
    logs.configure(form, args.log_level or "info", logs.Handing(take), color=color)


def _can_redraw(environ: Mapping[str, str]) -> bool:
    watched = is_terminal(sys.stderr) and environ.get("TERM") != "dumb" and not environ.get("CI")
    return watched and _understands_escapes()


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
