"""The only place that configures logging; the command does, the library never."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TextIO, cast

from waiter.console.formatting import safe


class _Sink(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class Handing:
    """A file that hands each complete line to somebody else, who may be in the middle of drawing."""

    def __init__(self, take: Callable[[str], object]) -> None:
        self._take = take

    def write(self, text: str) -> None:
        """Hand on a line."""
        self._take(text)

    def flush(self) -> None:
        """Do nothing: nothing is kept."""


def silence() -> None:
    """Let nothing be logged, so that nothing has to be loaded for it."""
    logging.getLogger("waiter").setLevel(logging.CRITICAL)


def configure(form: str, level: str, sink: _Sink, *, color: bool = False) -> None:
    """Let structlog write to the sink, as ``json`` or for a ``console``, from this level up."""
    import structlog  # noqa: PLC0415 - a run that logs nothing does without

    render: Any = structlog.processors.JSONRenderer()
    if form == "console":
        plain = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=color, exception_formatter=plain, pad_event_to=20)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _harmless,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", sink)),
        cache_logger_on_first_use=True,
    )
    logging.lastResort = _Others(logging.WARNING)


def unfiltered() -> Any:  # noqa: ANN401 - structlog's type
    """Give a logger for what has to be said at any level."""
    import structlog  # noqa: PLC0415 - as above

    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))


def _harmless(_: object, __: str, event: Any) -> Any:  # noqa: ANN401 - structlog's signature
    """Keep what the API says from acting on a terminal."""
    return {name: safe(value) if isinstance(value, str) else value for name, value in event.items()}


class _Others(logging.Handler):
    """Puts what other libraries warn of into the log, in its form, where the standard library would print it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it at its own level."""
        import structlog  # noqa: PLC0415 - as above

        exc_info = record.exc_info if record.exc_info and record.exc_info[0] else None
        told = {"logger": record.name, "message": record.getMessage()} | ({"exc_info": exc_info} if exc_info else {})
        structlog.get_logger().log(record.levelno, "library.warned", **told)
