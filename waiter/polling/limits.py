"""What ends a wait whose task has not ended, and when."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from waiter.errors import ApiError, TaskNotFoundError
from waiter.polling.outage import REFUSED_ERRORS, Outage

REQUEST_TIMEOUT = 10.0
MAX_REQUEST_TIMEOUT = 30.0
MAX_HISTORY_SHARE = 0.25
"""A listing of past tasks that takes the place of a poll may take so much of the interval: that is the delay if it hangs."""
MIN_HISTORY_TIMEOUT = 1.0
"""However short the interval is, a listing of a hundred tasks gets this long."""
NOT_FOUND_GRACE = 10.0
"""A task that was created a moment ago may not be known everywhere yet."""
AUTH_GRACE = 60.0
"""For so long a key that was accepted before, and can change, may be refused: a mounted secret lags behind its rotation."""


class LimitKind(Enum):
    """Which limit ends a wait."""

    TIMEOUT = auto()
    STALL = auto()
    NOT_FOUND = auto()
    REFUSED = auto()
    OUTAGE = auto()


class Limit(NamedTuple):
    """The end of a wait: its kind, and the monotonic time at which it applies."""

    at: float
    kind: LimitKind


class WaitLimits(NamedTuple):
    """The limits of one wait: ``deadline`` in monotonic seconds, the others in seconds; inf is no limit."""

    deadline: float
    max_outage: float
    stall_timeout: float
    auth_grace: float

    def nearest(self, error: ApiError | None, outage: Outage, changed_at: float) -> Limit:
        """Return the limit that applies first after a poll that gave a task, or this ``error``.

        ``changed_at`` is when the task was last seen to change, in monotonic seconds.
        """
        if error is None:
            other = Limit(changed_at + self.stall_timeout, LimitKind.STALL)
        elif isinstance(error, TaskNotFoundError):
            other = Limit(outage.missing_since + NOT_FOUND_GRACE, LimitKind.NOT_FOUND)
        elif isinstance(error, REFUSED_ERRORS):
            other = Limit(outage.refused_since + self.auth_grace, LimitKind.REFUSED)
        else:
            other = Limit(outage.since + self.max_outage, LimitKind.OUTAGE)
        return min(Limit(self.deadline, LimitKind.TIMEOUT), other, key=lambda limit: limit.at)
