"""Choose the progress that suits the terminal and the arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from waiter.cli.progress.base import Progress
from waiter.cli.progress.lines import LineProgress, LogProgress
from waiter.console.log_format import log_format
from waiter.console.streams import is_terminal

if TYPE_CHECKING:
    from waiter.cli.progress.model import ProgressModel


def choose_progress(args: argparse.Namespace, model: ProgressModel) -> Progress:
    """Return the progress that the arguments name or, for ``auto``, the one that fits."""
    choice, log = "none" if args.quiet else args.progress, log_format(args)
    if choice == "none":
        return Progress(model)
    # The log has the events that lines would show, and nothing can be drawn between JSON objects.
    if log == "json" or (log != "none" and choice != "live"):
        return LogProgress(model)
    if choice == "lines" or (choice == "auto" and not is_interactive(args.environ)) or not supports_escapes():
        return LineProgress(model)
    from waiter.cli.progress.live import LiveProgress  # noqa: PLC0415 - only needed on terminals

    return LiveProgress(model, args.environ)


def is_interactive(environ: Mapping[str, str]) -> bool:
    """Return whether standard error is a terminal on which lines can be redrawn, and no CI system says that it is its own."""
    return is_terminal(sys.stderr) and environ.get("TERM") != "dumb" and not environ.get("CI")


def supports_escapes() -> bool:
    """Return whether the terminal understands escape sequences; on Windows this enables them."""
    if sys.platform != "win32":
        return True
    import ctypes  # pragma: no cover # noqa: PLC0415 - only needed on Windows

    # A console needs ENABLE_VIRTUAL_TERMINAL_PROCESSING on standard error:
    # https://learn.microsoft.com/windows/console/setconsolemode
    kernel = ctypes.windll.kernel32  # pragma: no cover - Windows only, like everything below
    handle, mode = kernel.GetStdHandle(-12), ctypes.c_ulong()  # pragma: no cover
    got = kernel.GetConsoleMode(handle, ctypes.byref(mode))  # pragma: no cover
    return bool(got and kernel.SetConsoleMode(handle, mode.value | 4))  # pragma: no cover
