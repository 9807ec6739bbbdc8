"""One wait's place in the crowd: the sleep that a listing ends, with news of its task, or makes longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING

from waiter.batch.timer import InterruptibleTimer, Sleep
from waiter.polling.wait_state import LONGEST_PAUSE

if TYPE_CHECKING:
    from waiter.api.responses import Active
    from waiter.polling.wait_state import WaitState
    from waiter.task import Task, TaskSnapshot

MISSING = b""


class Subscription(InterruptibleTimer):
    """One wait's place in the crowd; times are monotonic seconds."""

    __slots__ = ("_clock", "_gap_of", "gap", "news", "plan", "rests_since", "shown_at", "wants")

    def __init__(self, plan: WaitState, sleep: Sleep, clock: Callable[[], float]) -> None:
        super().__init__(sleep)
        self.plan = plan
        self.gap = 0.0
        self.news: bytes | None = None
        self.shown_at = self.rests_since = self._gap_of = -inf
        self.wants = False
        self._clock = clock

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Sleep until a look of its own is due, and on for as long as listings show the task."""
        self.rests_since = self._gap_of = self._clock()
        self.gap = seconds
        return self.rest(seconds)

    async def rest_for_news(self, seconds: float) -> None:
        """Rest until a listing that begins from now on has told whether the task goes on."""
        self.rests_since = self._gap_of = self._clock()
        self.wants = True
        try:
            await self.rest(seconds)
        finally:
            self.wants = False

    def more(self) -> float:
        """Rest until it is recalled, or has to look for itself, if a listing has shown the task since it rests."""
        if self.shown_at < self.rests_since:
            return 0.0
        return min(self.plan.may_do_without_until - self._clock(), LONGEST_PAUSE)

    def recall(self) -> None:
        """Go back to looks of its own, the next a gap after the last listing that showed the task."""
        if self.is_resting and self.shown_at >= self.rests_since:
            self.reset(max(0.0, self.shown_at + self.gap - self._clock()))
            self.shown_at = -inf

    def is_shown(self, task: Active, began: float) -> bool:
        """Take note of a listing, begun then, that shows the task as going on; whether the wait has to hear of it."""
        if began < self.rests_since or not self.is_resting:  # its own look is newer
            return False
        self.shown_at = began
        if began - self._gap_of >= self.gap > 0:
            self._gap_of, self.gap = began, self.plan.gap_by_now(self.gap)
        seen = self.plan.task
        is_new = seen is None or seen.state != task.state or seen.detailed_state != task.detailed_state
        return self.wants or is_new

    def is_missed(self, began: float, *, is_whole: bool) -> bool:
        """Whether a listing begun then should have shown its task."""
        return began >= self.rests_since and (self.wants or (is_whole and self.gap > 0))

    def tell(self, news: bytes, began: float) -> None:
        """Wake the wait with what a listing begun then has shown of its task, or MISSING."""
        if self.is_resting and self.rests_since <= began:
            self.news = news
            self.wake()

    def check(self) -> None:
        """Let the wait look for itself, unless it waits for a listing."""
        if not self.wants:
            self.wake()

    def take(self, read: Callable[[bytes], TaskSnapshot]) -> tuple[bool, TaskSnapshot | None]:
        """Take the news: whether there was any, and the task unless it is missing, cannot be read or is older than known."""
        news, self.news = self.news, None
        if not news:
            return news is not None, None
        try:
            snapshot = read(news)
        except (ValueError, RecursionError):
            return True, None
        return True, None if _is_older(snapshot.task, self.plan.task) else snapshot


def _is_older(task: Task, seen: Task | None) -> bool:
    if seen is None or seen.updated_on is None:
        return False
    # Times may be of whole seconds: what was changed in the same one may be older.
    return task.updated_on is None or task.updated_on <= seen.updated_on
