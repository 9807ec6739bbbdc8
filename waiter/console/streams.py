"""Writing to standard output and standard error, whatever became of them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


class OutputError(Exception):
    """Standard output does not take the result, for a reason such as a full disk."""


def write(text: str) -> None:
    """Write a result to standard output; one that is closed, or whose reader has gone, takes nothing and is no fault.

    Raises OutputError when something else is wrong with it.
    """
    try:
        _write(sys.stdout, text)
    except OSError as error:
        message = f"cannot write the result: {error.strerror}"
        raise OutputError(message) from error


def say(text: str) -> None:
    """Write to standard error what is for people; nothing that happens to it harms the wait."""
    with suppress(OSError):
        _write(sys.stderr, text)


def flush() -> None:
    """Write what argparse has left in the buffer of standard output."""
    with suppress(OutputError):
        write("")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether people watch this stream."""
    return stream is not None and not stream.closed and stream.isatty()


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None or stream.closed:
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        _give_up(stream)
    except OSError:
        _give_up(stream)
        raise


def _give_up(stream: TextIO) -> None:
    # What could not be written is still buffered, and the interpreter would fail once more when it flushes at its end.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
