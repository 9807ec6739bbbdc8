"""The log of a command. Only this module configures logging; the library never does."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from typing import Any, Final, TextIO, cast

from waiter.console.formatting import printable
from waiter.console.streams import is_terminal
from waiter.errors import ResourceError, TaskError, TaskStalledError, TaskTimeoutError, WaiterError

FORMATS: Final = ("none", "console", "json")
LEVELS: Final = ("debug", "info", "warning", "error")
# The levels of the events that carry everything these errors say.
_EVENT_LEVELS: Final[dict[type[WaiterError], str]] = {
    TaskError: "error",
    ResourceError: "error",
    TaskTimeoutError: "warning",
    TaskStalledError: "warning",
}


class LineWriter:
    """A file for structlog that passes each complete line to a function."""

    def __init__(self, write_line: Callable[[str], object]) -> None:
        self._write_line = write_line

    def write(self, text: str) -> None:
        """Pass on a line."""
        self._write_line(text)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


def log_format(args: argparse.Namespace) -> str:
    """Return the format of the log: ``none``, ``console`` or ``json``; a level alone implies ``console``."""
    return args.log_format or ("console" if args.log_level else "none")


def is_logged(args: argparse.Namespace, error: WaiterError) -> bool:
    """Return whether an event in the log reports this end of a wait, so that no other message has to."""
    level = _EVENT_LEVELS.get(type(error))
    return log_format(args) != "none" and level is not None and LEVELS.index(level) >= LEVELS.index(args.log_level or "info")


def start_log(args: argparse.Namespace, write_line: Callable[[str], object]) -> None:
    """Configure logging as the arguments say; each line of the log is passed to ``write_line``."""
    if log_format(args) == "none":
        # Without handlers and level the library would not even import structlog, which takes long.
        logging.getLogger("waiter").setLevel(logging.CRITICAL)
        return
    # structlog has no colours on Windows without colorama.
    can_color = is_terminal(sys.stderr) and sys.platform != "win32" and args.environ.get("TERM") != "dumb"
    configure(
        log_format(args), args.log_level or "info", LineWriter(write_line), color=can_color and not args.environ.get("NO_COLOR")
    )


def configure(form: str, level: str, writer: LineWriter, *, color: bool = False) -> None:
    """Configure structlog to write events of this level and above, as ``json`` or for a ``console``."""
    import structlog  # noqa: PLC0415 - slow to import, only needed with a log

    render: Any = structlog.processors.JSONRenderer()
    if form == "console":
        plain_traceback = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=color, exception_formatter=plain_traceback, pad_event_to=20)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape_values,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", writer)),
        cache_logger_on_first_use=True,
    )
    logging.lastResort = _LibraryWarnings(logging.WARNING)


def unfiltered_logger() -> Any:  # noqa: ANN401 - structlog's type
    """Return a logger whose events are written at every configured level."""
    import structlog  # noqa: PLC0415 - as above

    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))


def _escape_values(_: object, __: str, event: Any) -> Any:  # noqa: ANN401 - structlog's signature
    """Escape control characters, so that text from the API cannot act on a terminal."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


class _LibraryWarnings(logging.Handler):
    """Writes the warnings of other libraries to the log, where the standard library would print them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at its own level."""
        import structlog  # noqa: PLC0415 - as above

        exc_info = record.exc_info if record.exc_info and record.exc_info[0] else None
        fields = {"logger": record.name, "message": record.getMessage()} | ({"exc_info": exc_info} if exc_info else {})
        structlog.get_logger().log(record.levelno, "library.warned", **fields)
