"""One wait's subscription to the listings: a sleep that they extend while they show its task, and end with an update."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from waiter.batch.timer import InterruptibleTimer, Sleep
from waiter.task import is_older

if TYPE_CHECKING:
    from waiter.api.listings import ActiveTask
    from waiter.polling.wait_state import WaitState
    from waiter.task import TaskSnapshot

# The update of a wait whose task is not on a listing.
MISSING = b""


class Subscription(InterruptibleTimer):
    """The sleep of one wait between two polls, which listings extend or end; times are monotonic seconds.

    ``update`` is the JSON with which a listing has ended the last sleep, or MISSING, or None if none has.
    """

    # It is a timer instead of having one because ten thousand of them weigh 1 MB less.
    __slots__ = (
        "_interval_since",
        "_valid_until",
        "awaiting_listing",
        "interval",
        "shown_at",
        "sleeping_since",
        "state",
        "update",
    )  # fmt: skip

    def __init__(self, state: WaitState, sleep: Sleep, clock: Callable[[], float]) -> None:
        super().__init__(sleep, clock)
        self.state = state
        self.interval = 0.0
        self.awaiting_listing = False
        self.shown_at = self.sleeping_since = self._interval_since = self._valid_until = -inf
        self.update: bytes | None = None

    # The wait's side.

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """Sleep until the wait has to poll: after its interval, or much later while listings show its task."""
        self.interval = seconds
        self._valid_until = self.state.listing_valid_until
        return self._start_sleep(seconds)

    async def sleep_until_listing(self, seconds: float) -> None:
        """Sleep until a listing that begins from now on has been read, or for so many seconds."""
        self.awaiting_listing = True
        try:
            await self._start_sleep(seconds)
        finally:
            self.awaiting_listing = False

    def _start_sleep(self, seconds: float) -> asyncio.Future[None]:
        self.sleeping_since = self._interval_since = self._clock()
        return super().sleep(seconds)

    def pop_update(self, read: Callable[[bytes], TaskSnapshot]) -> TaskSnapshot | None:
        """Return the task as the listing showed it; None if it showed nothing newer that can be read."""
        update, self.update = self.update, None
        if not update:
            return None
        try:
            snapshot = read(update)
        except (ValueError, RecursionError):
            return None
        return None if is_older(snapshot.task, self.state.task) else snapshot

    def ended_at(self, snapshot: TaskSnapshot) -> float:
        """Return when a task ended that a poll has just shown as ended: by its own times if it has them, else now."""
        now, task = self._clock(), snapshot.task
        if snapshot.age is None or task.created_on is None or task.finished_on is None:
            return now
        ago = snapshot.age - (task.finished_on - task.created_on).total_seconds()
        return min(now, max(now - ago, self.sleeping_since))

    # The listings' side. ``began`` is when a listing began.

    def can_use(self, began: float) -> bool:
        """Return whether the wait has slept since before the listing began, so that none of its polls is newer."""
        return self.sleeping_since <= began and self.is_sleeping

    def record_shown(self, began: float) -> None:
        """Record that a listing shows the task as active: it takes the place of the polls that the schedule asks for."""
        self.shown_at = began
        self.extend(self._valid_until)
        if began - self._interval_since >= self.interval > 0:
            self._interval_since, self.interval = began, self.state.interval_now(self.interval)

    def needs_update(self, row: ActiveTask) -> bool:
        """Return whether a row of a listing is news to the wait."""
        seen = self.state.task
        return self.awaiting_listing or seen is None or (seen.state, seen.detailed_state) != (row.state, row.detailed_state)

    def notify(self, update: bytes) -> None:
        """Wake the wait with the JSON of its task, or MISSING."""
        self.update = update
        self.wake()

    def spot_check(self) -> None:
        """Make the wait poll its task now, unless it awaits a listing."""
        if not self.awaiting_listing:
            self.wake()

    def stop_awaiting(self) -> None:
        """Make the wait poll its task if it still awaits a listing."""
        if self.awaiting_listing:
            self.wake()

    def resume_individual_polling(self, *, trust_last_listing: bool) -> None:
        """Make a wait whose sleep was extended poll its task an interval after the last listing, or now if that was wrong."""
        if self.is_sleeping and self.shown_at >= self.sleeping_since and self._valid_until > -inf:
            # The interval grows with the age of the task, so it may end after the deadline.
            due_at = min(self.shown_at + self.interval, self._valid_until) if trust_last_listing else -inf
            self.reset(max(0.0, due_at - self._clock()))
            self.shown_at = -inf
