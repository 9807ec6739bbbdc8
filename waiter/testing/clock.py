"""Time that passes only when somebody sleeps."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

_PATIENCE = 100


class VirtualClock:
    """A monotonic clock, in seconds, that moves as fast as its sleepers let it.

    Calling it reads it. `sleep` moves it at once: it is meant for one thread. `async_sleep` may
    be awaited by any number of coroutines of one asyncio loop: when none of them has anything
    left to do, the clock moves to the earliest sleeper. Work in other threads is not seen.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watched: asyncio.AbstractEventLoop | None = None
        self._patience = _PATIENCE
        self._cancelled = 0

    def __call__(self) -> float:
        """Read the clock."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; less than nothing is nothing."""
        self._now += max(0.0, seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Wait until `seconds` have passed on this clock; infinity ends by cancellation only."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        due = self._now + max(0.0, seconds)
        heapq.heappush(self._sleepers, (due, next(self._order), woken))
        self._patience = _PATIENCE
        if self._watched is not loop:
            self._watched = loop
            loop.call_soon(self._watch, loop)
        try:
            await woken
        except asyncio.CancelledError:
            self._forget()
            raise

    def _forget(self) -> None:
        """Let go of who was cancelled, whenever as many have been as sleep: they may be due in a year."""
        self._cancelled += 1
        if self._cancelled * 2 >= len(self._sleepers):
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
            heapq.heapify(self._sleepers)
            self._cancelled = 0

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Move on once the loop is idle, for as long as somebody sleeps."""
        # There is no public way to ask a loop whether it is idle. Where its queue cannot be
        # seen (uvloop), or where another virtual clock keeps it busy, a hundred turns decide.
        if self._patience and getattr(loop, "_ready", True):
            self._patience -= 1
        else:
            self._patience = _PATIENCE
            self._wake()
        if self._sleepers and self._sleepers[0][0] < math.inf:
            loop.call_soon(self._watch, loop)
        else:
            self._watched = None

    def _wake(self) -> None:
        """Wake everyone who is due next; who was cancelled meanwhile moves nothing."""
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
