"""Writing to standard output and standard error, which may be closed, gone or full."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from waiter.console.signals import limit_output


class OutputError(Exception):
    """The result could not be written to standard output, for example because the disk is full."""


def write_result(text: str) -> bool:
    """Write to standard output, and return whether it has a reader; do nothing if it is closed or its reader has exited.

    Raises OutputError for every other failure.
    """
    try:
        return _write(sys.stdout, text)
    except OSError as error:
        message = f"cannot write the result: {error.strerror}"
        raise OutputError(message) from error


def write_stderr(text: str) -> None:
    """Write to standard error and ignore failures: a message that cannot be written must not end the wait."""
    with suppress(OSError):
        _write(sys.stderr, text)


def flush_stdout() -> None:
    """Write what argparse has left in the buffer of standard output."""
    with suppress(OutputError):
        write_result("")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether the stream is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def wants_color(environ: Mapping[str, str]) -> bool:
    """Return whether standard error shows colours: https://no-color.org, and a dumb terminal has none."""
    return is_terminal(sys.stderr) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _write(stream: TextIO | None, text: str) -> bool:
    if stream is None or stream.closed:
        return False
    encoding = stream.encoding or "utf-8"
    try:
        with limit_output():
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
    except BrokenPipeError:
        _redirect_to_devnull(stream)
        return False
    except OSError:
        _redirect_to_devnull(stream)
        raise
    return True


def _redirect_to_devnull(stream: TextIO) -> None:
    # The interpreter flushes at exit what is still buffered, and would fail again.
    with suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
