"""Virtual time: it passes only while something sleeps."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

_MAX_IDLE_CHECKS = 100


class VirtualClock:
    """A monotonic clock, in seconds, that advances only by its sleepers.

    Calling it returns the time. `sleep` advances it immediately and is meant for one thread.
    `async_sleep` may be awaited by any number of coroutines of one asyncio loop: when none of
    them has anything left to do, the clock advances to the earliest end of a sleep. Work in
    other threads is not taken into account.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watched_loop: asyncio.AbstractEventLoop | None = None
        self._idle_checks_left = _MAX_IDLE_CHECKS
        self._cancelled = 0

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Advance the clock by `seconds`; a negative number counts as zero."""
        self._now += max(0.0, seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Wait until `seconds` have passed on this clock; an infinite sleep ends by cancellation only."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        due = self._now + max(0.0, seconds)
        heapq.heappush(self._sleepers, (due, next(self._order), woken))
        self._idle_checks_left = _MAX_IDLE_CHECKS
        if self._watched_loop is not loop:
            self._watched_loop = loop
            loop.call_soon(self._watch, loop)
        try:
            await woken
        except asyncio.CancelledError:
            self._count_cancelled()
            raise

    def _count_cancelled(self) -> None:
        """Remove the cancelled sleeps once they are half of all.

        They would otherwise be kept until they are due, which may be in a year.
        """
        self._cancelled += 1
        if self._cancelled * 2 >= len(self._sleepers):
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
            heapq.heapify(self._sleepers)
            self._cancelled = 0

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Advance the clock when the loop is idle, as long as a finite sleep is left."""
        # asyncio has no public way to ask whether a loop is idle. Where the queue of the loop is
        # not visible (uvloop), or another virtual clock keeps it busy, a number of checks decides.
        if self._idle_checks_left and getattr(loop, "_ready", True):
            self._idle_checks_left -= 1
        else:
            self._idle_checks_left = _MAX_IDLE_CHECKS
            self._advance()
        if self._sleepers and self._sleepers[0][0] < math.inf:
            loop.call_soon(self._watch, loop)
        else:
            self._watched_loop = None

    def _advance(self) -> None:
        """Advance to the end of the next sleep that was not cancelled, and wake all that end then."""
        sleepers = self._sleepers
        while sleepers and sleepers[0][2].done():
            heapq.heappop(sleepers)
        if not sleepers or sleepers[0][0] == math.inf:
            return
        self._now = max(self._now, sleepers[0][0])
        while sleepers and sleepers[0][0] <= self._now:
            woken = heapq.heappop(sleepers)[2]
            if not woken.done():
                woken.set_result(None)
