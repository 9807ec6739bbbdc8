"""One wait's place in the crowd: what listings have told it, and the sleep that they end or make longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING

from waiter.alarm import Alarm, Sleep

if TYPE_CHECKING:
    from waiter.api import Active
    from waiter.plan import Plan
    from waiter.task import Sighting, Task

# A wait makes a step of its own after so many gaps at the latest, for its schedule to learn how old its task is by now.
LONGEST_STRETCH = 32


class Seat(Alarm):
    """One wait's place in the crowd."""

    __slots__ = (
        "_clock",
        "body",
        "gap",
        "is_prolonged",
        "key",
        "listed_at",
        "must_ask",
        "plan",
        "rests_since",
        "strays_until",
        "stretch",
    )

    def __init__(self, plan: Plan, sleep: Sleep, clock: Callable[[], float]) -> None:
        super().__init__(sleep)
        self.plan = plan
        self.key = key_of(plan.task_id)
        self.gap = 0.0
        self.listed_at = self.rests_since = -inf
        self.body: bytes | None = None
        self.strays_until = -inf
        self.must_ask = self.is_prolonged = False
        self.stretch = 1
        self._clock = clock

    @property
    def is_failing(self) -> bool:
        """Whether its last look failed, so that it keeps a pace of its own."""
        return self.plan.may_do_without_until == -inf

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Sleep until a look of its own is due: later for as long as listings show the task, at once when one does not."""
        self.rests_since = self._clock()
        self.is_prolonged = False
        if seconds > 0 and not self.is_failing:
            self.gap = seconds
        return self.rest(seconds)

    def more(self) -> float:
        """Rest for as long as there are listings, if one has shown the task since; each of them stands for a look."""
        if self.listed_at < self.rests_since:
            return 0.0
        self.is_prolonged = True
        return self.plan.may_do_without_until - self._clock()

    def recall(self) -> None:
        """Go back to looks of its own, the next one a gap after the last listing that showed the task."""
        due, self.listed_at = self.listed_at + self.gap, -inf
        if self.is_prolonged:
            self.is_prolonged = False
            if self.is_resting:
                self.reset(max(0.0, due - self._clock()))

    def show(self, task: Active, body: bytes, listed_at: float, *, is_wanted: bool) -> bool:
        """Take note that the task goes on; whether this has woken the wait, because it wants to know or there is news."""
        self.listed_at = listed_at
        self.strays_until = -inf
        if not (is_wanted or self._is_news(task, listed_at)) or not self.is_resting:
            return False
        self.stretch = min(2 * self.stretch, LONGEST_STRETCH)
        self.body = body
        self.wake()
        return True

    def _is_news(self, task: Active, listed_at: float) -> bool:
        seen = self.plan.task
        if seen is not None and listed_at < self.rests_since:  # the wait's own look is newer
            return False
        if seen is None or seen.state != task.state or seen.detailed_state != task.detailed_state:
            return True
        return listed_at - self.rests_since >= self.stretch * self.gap

    def take(self, read: Callable[[bytes], Sighting]) -> Sighting | None:
        """Take what a listing has shown; None if that cannot be read, or is older than what the wait knows."""
        body, self.body = self.body, None
        if body is None:
            return None
        try:
            sighting = read(body)
        except (ValueError, RecursionError):
            return None
        return None if _is_older(sighting.task, self.plan.task) else sighting

    def is_missed(self, began: float) -> bool:
        """Whether a listing that began then should have shown its task."""
        return self.gap > 0 and self.rests_since < began and self.strays_until < began and not self.is_failing

    def send_to_ask(self) -> None:
        """Let the wait look for itself."""
        self.must_ask = True
        self.wake()


def _is_older(task: Task, seen: Task | None) -> bool:
    if seen is None or seen.updated_on is None:
        return False
    return task.updated_on is None or task.updated_on < seen.updated_on


def key_of(task_id: str) -> str:
    """Give what two spellings of an ID have in common, and no copy, for the sake of memory."""
    key = task_id.lower()
    return task_id if key == task_id else key
