"""Circuit breaker for the task listing: after a bad listing no other is made for a while, for longer each time."""

from __future__ import annotations

from math import inf

# For how many seconds an end is remembered, so that a listing that still shows the task is recognised as stuck.
END_MEMORY = 600.0
# How long the circuit stays open after a bad listing, and the factor for each that follows.
RESET_TIMEOUT = 5.0
RESET_FACTOR = 4.0
MAX_RESET_TIMEOUT = 600.0


class StuckListingError(Exception):
    """A listing shows a task as active that has ended."""


class ExpensiveListingError(Exception):
    """A listing costs more than it saves."""


class CircuitBreaker:
    """Decide whether a listing may be made. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._gone_since: dict[str, float] = {}
        self._needless_polls = 0
        self._is_tripped = False
        self._reset_timeout = 0.0
        self._open_until = -inf

    def allows(self, now: float) -> bool:
        """Return whether a listing may begin."""
        return now >= self._open_until

    def record_listing(self, now: float) -> None:
        """Record that a listing begins, forget old ends, and shorten the next reset timeout if the listing before was good."""
        self._gone_since = {key: gone for key, gone in self._gone_since.items() if gone > now - END_MEMORY}
        if not self._is_tripped:
            self._reset_timeout /= RESET_FACTOR
        self._is_tripped, self._needless_polls = False, 0

    def record_end(self, key: str, gone_since: float) -> None:
        """Record that a task has ended, and since when listings must not show it as active."""
        self._gone_since[key] = gone_since

    def check_active(self, key: str, began: float) -> None:
        """Raise StuckListingError for a task that a listing shows as active although it must be gone."""
        if self._gone_since.get(key, inf) < began:
            raise StuckListingError

    def record_needless_poll(self) -> None:
        """Record that a listing has caused a poll that showed nothing new."""
        self._needless_polls += 1

    def is_misleading(self, cost: float) -> bool:
        """Return whether the last listing has caused more needless polls than its own ``cost`` in polls."""
        return self._needless_polls > cost and not self._is_tripped

    def trip(self, now: float, retry_after: float = 0.0) -> None:
        """Allow no listing for the reset timeout, or for ``retry_after`` seconds if the server asks for longer."""
        self._is_tripped = True
        self._reset_timeout = min(max(RESET_TIMEOUT, RESET_FACTOR * self._reset_timeout), MAX_RESET_TIMEOUT)
        self._open_until = now + max(self._reset_timeout, retry_after)
