"""The log of a command, as its arguments want it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from waiter.console import structlog_setup as logs
from waiter.console.streams import is_terminal
from waiter.errors import TaskError, TaskStalledError, TaskTimeoutError, WaiterError

LEVELS: Final = ("debug", "info", "warning", "error")
# The levels of the events that say all that these say.
_TOLD: Final[dict[type[WaiterError], str]] = {TaskError: "error", TaskTimeoutError: "warning", TaskStalledError: "warning"}


def log_form(args: argparse.Namespace) -> str:
    """Give the form of the log; asking for a level alone is asking for a log."""
    return args.log_format or ("console" if args.log_level else "none")


def tells(args: argparse.Namespace, error: WaiterError) -> bool:
    """Whether an event in the log has told this end of a wait, so that nobody else needs to."""
    level = _TOLD.get(type(error))
    return log_form(args) != "none" and level is not None and LEVELS.index(level) >= LEVELS.index(args.log_level or "info")


def start_log(args: argparse.Namespace, take: Callable[[str], object]) -> None:
    """Let each line of the log be taken, if there shall be a log."""
    form = log_form(args)
    if form == "none":
        logs.silence()
        return
    # structlog colours nothing on Windows without colorama.
    can_color = is_terminal(sys.stderr) and sys.platform != "win32" and args.environ.get("TERM") != "dumb"
    logs.configure(form, args.log_level or "info", logs.Handing(take), color=can_color and not args.environ.get("NO_COLOR"))
