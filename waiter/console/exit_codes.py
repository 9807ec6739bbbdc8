"""The exit codes of the command, with their meanings; scripts of users rely on them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Self

from waiter import errors
from waiter.outcome import STATUSES


class ExitCode(IntEnum):
    """An exit code; ``.meaning`` is its text in the help, the manual page and the README."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Create the member with this code."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    FINISHED = 0, "every task FINISHED"
    FAILED = 1, "a task ended in ERROR, or a resource failed (--ready, until)"
    USAGE = 2, "wrong usage or configuration"
    REFUSED = 3, "refused: key or permission (401, 403)"
    NOT_FOUND = 4, "no such task or resource (404)"
    UNAVAILABLE = 5, "the API gave no usable answer for --max-outage"
    STALLED = 6, "stalled (--stall-timeout)"
    FAULT = 70, "a fault in waiter itself"
    TIMED_OUT = 124, "timed out; a task that has not ended is still running"
    NOT_EXECUTABLE = 126, "the COMMAND after -- cannot be executed"
    COMMAND_NOT_FOUND = 127, "the COMMAND after -- is not found"
    HUNG_UP = 129, "SIGHUP; the tasks are still running"
    INTERRUPTED = 130, "SIGINT; the tasks are still running"
    TERMINATED = 143, "SIGTERM; the tasks are still running"


def exit_code(error: errors.WaiterError | None) -> ExitCode:
    """Return the exit code of a wait that ended with this error, or with none."""
    if error is None:
        return ExitCode.FINISHED
    if isinstance(error, errors.TasksError):
        return combined_exit_code(error.failed.values())
    if type(error) is errors.WaiterError:  # one of several waits ended with an exception that is not waiter's
        return ExitCode.FAULT
    return next((ExitCode[status.name] for kind, status in STATUSES if isinstance(error, kind)), ExitCode.USAGE)


def combined_exit_code(found: Iterable[errors.WaiterError | None]) -> ExitCode:
    """Return the exit code of several waits: the lowest one other than 0.

    A failed task outweighs everything else, and a time-out, after which the wait can be resumed, only success.
    """
    return min(filter(None, map(exit_code, found)), default=ExitCode.FINISHED)


def is_still_running(error: errors.WaiterError | None) -> bool:
    """Return whether the task may still be running although the wait for it ended with this error."""
    return isinstance(error, errors.TaskTimeoutError | errors.TaskStalledError | errors.ApiUnavailableError)


def exit_code_table() -> str:
    """Return the lines of the help that list all exit codes."""
    rows = "".join(f"  {code.value:<4} {code.meaning}\n" for code in ExitCode)
    return f"exit codes:\n{rows}"
