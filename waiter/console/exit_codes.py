"""What the exit codes mean; scripts of others rely on them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from waiter import errors


class Exit(IntEnum):
    """The exit codes of every command."""

    FINISHED = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    STALLED = 6
    FAULT = 70
    TIMED_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


_CODES: tuple[tuple[type[errors.WaiterError], Exit], ...] = (
    (errors.TaskError, Exit.FAILED),
    (errors.TaskTimeoutError, Exit.TIMED_OUT),
    (errors.TaskStalledError, Exit.STALLED),
    (errors.AuthenticationError, Exit.REFUSED),
    (errors.PermissionDeniedError, Exit.REFUSED),
    (errors.TaskNotFoundError, Exit.NOT_FOUND),
    (errors.ApiError, Exit.UNAVAILABLE),
)


def exit_code(error: errors.WaiterError | None) -> int:
    """Give the exit code of a wait that ended with this error, or well."""
    if error is None:
        return Exit.FINISHED
    if isinstance(error, errors.TasksError):
        return worst(error.failed.values())
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.USAGE)


def worst(found: Iterable[errors.WaiterError | None]) -> int:
    """Give the exit code of several waits together: the lowest of those that are not 0.

    So a task that failed outweighs everything, and a wait that can simply be taken up again (124) nothing but success.
    """
    return min(filter(None, map(exit_code, found)), default=Exit.FINISHED)


def goes_on(error: errors.WaiterError | None) -> bool:
    """Whether the task goes on although the wait for it ended with this error."""
    return isinstance(error, errors.TaskTimeoutError | errors.TaskStalledError | errors.ApiUnavailableError)
