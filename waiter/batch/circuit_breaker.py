"""Whether listings can be trusted: one that fails, misleads or is stuck is left alone, for longer each time."""

from __future__ import annotations

from math import inf

# Listings may lag behind the tasks' own endpoint by so much.
LAG = 10.0
# A listing that is stuck is found out by an end within so many seconds.
REMEMBERED = 600.0
# A listing in which nobody can trust is left alone for so long, and so many times longer each time.
RESET_TIMEOUT = 5.0
EACH_TIME = 4.0
MAX_RESET_TIMEOUT = 600.0


class StuckError(Exception):
    """A listing shows a task that ended some time ago."""


class CircuitBreaker:
    """What is held against listings. Every ``now`` is in monotonic seconds, and so is when a listing began."""

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._misled = 0
        self._is_lost = False
        self._left_alone = 0.0
        self._lost_until = -inf

    def is_there(self, now: float) -> bool:
        """Whether there may be a listing."""
        return now >= self._lost_until

    def begin(self, now: float) -> None:
        """Take note that a listing begins, and forget old ends; if the one before was good, it makes good for a bad one."""
        self._ended = {key: ended_at for key, ended_at in self._ended.items() if ended_at > now - REMEMBERED}
        if not self._is_lost:
            self._left_alone /= EACH_TIME
        self._is_lost, self._misled = False, 0

    def note_end(self, key: str, now: float) -> None:
        """Take note that a task has ended, so that no listing that begins later may show it."""
        self._ended[key] = now

    def check_going_on(self, key: str, began: float) -> None:
        """Check a task that a listing shows as going on; raises StuckError if it ended well before that began."""
        if self._ended.get(key, inf) + LAG < began:
            raise StuckError

    def note_look_in_vain(self, cost: float) -> bool:
        """Take note that a listing made a wait look, and tell whether such looks now cost more than the listing itself."""
        self._misled += 1
        return self._misled > cost and not self._is_lost

    def lose(self, now: float, retry_after: float = 0.0) -> None:
        """Take note that the listing was bad, and for how many seconds the server wants to hear of no other."""
        self._is_lost = True
        self._left_alone = min(max(RESET_TIMEOUT, EACH_TIME * self._left_alone), MAX_RESET_TIMEOUT)
        self._lost_until = now + max(self._left_alone, retry_after)
