"""What Python would print as a traceback or a warning, as events on standard error."""

from __future__ import annotations

import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from waiter.console import stderr
from waiter.console.formatting import printable

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


def report_faults() -> None:
    """Report exceptions that nothing catches, and warnings, for the rest of the process."""
    sys.excepthook = _report_uncaught
    sys.unraisablehook = _report_unraisable
    threading.excepthook = _report_of_thread
    warnings.showwarning = _report_warning


def report_fault_of_loop(_: AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what an event loop cannot pass to a caller; an exception handler for asyncio."""
    _report(context.get("exception"), context["message"])


def _report_uncaught(_: type[BaseException], fault: BaseException, __: TracebackType | None) -> None:
    _report(fault, "Uncaught exception")


def _report_unraisable(found: sys.UnraisableHookArgs) -> None:
    if isinstance(found.exc_value, KeyboardInterrupt):
        return  # a signal, which the command reports
    context = found.err_msg or "Exception ignored in"
    if found.object is not None:  # since Python 3.14 the message names it
        context += f": {getattr(found.object, '__qualname__', type(found.object).__qualname__)}"
    _report(found.exc_value, context)


def _report_of_thread(found: threading.ExceptHookArgs) -> None:
    if not issubclass(found.exc_type, SystemExit):
        _report(found.exc_value, f"Exception in thread {found.thread and found.thread.name}")


def _report(fault: BaseException | None, context: str) -> None:
    """Write one event; ``context`` says where the exception was, which may be unknown itself."""
    if fault is None:
        stderr.error(f"a fault in waiter: {printable(context)}", "waiter.fault", error=context)
        return
    # Unlike str(), it never fails.
    error = " ".join("".join(traceback.format_exception_only(fault)).split())
    trace = "".join(traceback.format_exception(fault))
    message = f"a fault in waiter: {printable(error)} ({printable(context)})\n{trace.rstrip()}"
    stderr.error(message, "waiter.fault", error=error, context=context, exception=trace)


def _report_warning(  # noqa: PLR0913, PLR0917 - the signature of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - always None, except for a caller that wants it printed elsewhere
    line: str | None = None,  # noqa: ARG001 - the source is not printed
) -> None:
    text = f"{filename}:{lineno}: {category.__name__}: {printable(message)}"
    stderr.write_message(text, "library.warned", level="warning", logger="warnings", message=text)
