"""Polls that failed in a row."""

from __future__ import annotations

from math import inf

from waiter.errors import ApiError, AuthenticationError, PermissionDeniedError, TaskNotFoundError

REFUSED_ERRORS = (AuthenticationError, PermissionDeniedError)


class Outage:
    """The polls that have failed since the last good one. Times are monotonic seconds; inf is never.

    ``since`` is when the first of them was due, ``missing_since`` when the first 404 was sent for, ``refused_since`` when the
    first 401 or 403 was.
    """

    __slots__ = ("failures", "missing_since", "refused_since", "since")

    def __init__(self) -> None:
        self.failures = 0
        self.since = self.missing_since = self.refused_since = inf

    def record(self, error: ApiError, *, due_at: float, sent_at: float) -> None:
        """Record a failed poll."""
        self.failures += 1
        self.since = min(self.since, due_at)
        if isinstance(error, TaskNotFoundError):
            self.missing_since = min(self.missing_since, sent_at)
        elif isinstance(error, REFUSED_ERRORS):
            self.refused_since = min(self.refused_since, sent_at)

    def exclude(self, seconds: float) -> None:
        """Leave out so many seconds that a poll has just spent in a queue."""
        self.since += seconds
        self.missing_since += seconds
        self.refused_since += seconds
