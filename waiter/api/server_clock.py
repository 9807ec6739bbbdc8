"""The server's time, so that the age of a task does not depend on the local clock."""

from __future__ import annotations

from datetime import datetime
from math import inf

from waiter.task import Task, TaskSnapshot


class ServerClock:
    """An estimate of the server's time from the Date of each response.

    A Date is cut to whole seconds and was written at some moment between the request and the response. So each response bounds
    the difference between the server's clock and the local monotonic one, and the bounds of all responses together are narrower
    than those of any one. When they contradict each other, a clock was set or has drifted, and only the newest response counts.
    """

    def __init__(self) -> None:
        self._lower, self._upper = -inf, inf

    def observe(self, date: datetime | None, *, sent_at: float, received_at: float) -> None:
        """Narrow the bounds by a response's Date; ``sent_at`` and ``received_at`` are monotonic seconds."""
        if date is None:
            return
        timestamp = date.timestamp()
        lower, upper = timestamp - received_at, timestamp + 1 - sent_at
        narrowed = max(lower, self._lower), min(upper, self._upper)
        self._lower, self._upper = narrowed if narrowed[0] <= narrowed[1] else (lower, upper)

    def snapshot(self, task: Task, *, now: float) -> TaskSnapshot:
        """Return a task that was received at the monotonic time ``now`` with its age."""
        return TaskSnapshot(task, self.age(task.created_on, now=now))

    def age(self, created_on: datetime | None, *, now: float) -> float | None:
        """Return the seconds since ``created_on`` at the monotonic time ``now``, or None when there is no Date or creation.

        A time of whole seconds was cut by the server, so half a second is subtracted.
        """
        if created_on is None or self._lower == -inf:
            return None
        cut = 0.0 if created_on.microsecond else 0.5
        return max(0.0, now + (self._lower + self._upper) / 2 - created_on.timestamp() - cut)
