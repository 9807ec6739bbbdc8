"""Polls that failed in a row."""

from __future__ import annotations

from math import inf

import msgspec

from waiter.errors import ApiError, AuthenticationError, PermissionDeniedError, TaskNotFoundError

REFUSED_ERRORS = (AuthenticationError, PermissionDeniedError)


class Outage(msgspec.Struct, gc=False):
    """The polls that have failed since the last good one. Times are monotonic seconds; inf is never.

    ``since`` is when the first of them was due, ``missing_since`` when the first 404 was sent for, ``refused_since`` when the
    first 401 or 403 was.
    """

    failures: int = 0
    since: float = inf
    missing_since: float = inf
    refused_since: float = inf

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
