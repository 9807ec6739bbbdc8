"""What time it is at the server, so that a task's age needs no clock of ours to be right."""

from __future__ import annotations

from datetime import datetime
from math import inf


class ServerClock:
    """The server's time, narrowed down by the Date of each of its answers.

    A Date is cut to whole seconds and was written at some moment between the request and the answer. So each answer bounds the
    difference between the server's clock and our monotonic one, and the bounds of all answers together are narrower than any of
    them. When they contradict each other, a clock was set or has drifted, and the newest answer counts alone.
    """

    def __init__(self) -> None:
        self._least, self._most = -inf, inf

    def observe(self, date: datetime | None, *, asked_at: float, answered_at: float) -> None:
        """Take note of an answer's Date; ``asked_at`` and ``answered_at`` are monotonic seconds."""
        if date is None:
            return
        said = date.timestamp()
        least, most = said - answered_at, said + 1 - asked_at
        narrowed = max(least, self._least), min(most, self._most)
        self._least, self._most = narrowed if narrowed[0] <= narrowed[1] else (least, most)

    def age(self, created_on: datetime | None, *, now: float) -> float | None:
        """Tell the seconds since ``created_on`` at the monotonic time ``now``, or None when nothing tells.

        A time of whole seconds is one that the server has cut, and stands for the middle of its second.
        """
        if created_on is None or self._least == -inf:
            return None
        cut = 0.0 if created_on.microsecond else 0.5
        return max(0.0, now + (self._least + self._most) / 2 - created_on.timestamp() - cut)
