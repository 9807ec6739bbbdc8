"""A sleep on the event loop that can be ended early or extended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from math import inf
from typing import Any

from waiter.timing import EPSILON, MAX_SLEEP

Sleep = Callable[[float], Any] | None

# Each timer handle would copy the current context otherwise.
_EMPTY_CONTEXT = Context()


class InterruptibleTimer:
    """One sleep at a time; ``sleep`` is an injected coroutine function, or None for the timers of the event loop."""

    __slots__ = ("_clock", "_extended_until", "_handle", "_sleep", "_woken")

    def __init__(self, sleep: Sleep, clock: Callable[[], float]) -> None:
        self._sleep = sleep
        self._clock = clock
        self._woken: asyncio.Future[None] | None = None
        self._handle: asyncio.TimerHandle | asyncio.Future[None] | None = None
        self._extended_until = -inf

    @property
    def is_sleeping(self) -> bool:
        """Whether a sleep is under way."""
        return self._woken is not None and not self._woken.done()

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """Sleep until woken or until the time is over; call ``cancel`` when the sleeper is cancelled."""
        # A future instead of a coroutine saves 2 MB for ten thousand sleepers.
        self._woken = asyncio.get_running_loop().create_future()
        self.reset(seconds)
        return self._woken

    def wake(self) -> None:
        """End the sleep now."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def extend(self, until: float) -> None:
        """Extend the sleep until a time of the clock; the timer is set again only when it expires, so this costs little."""
        self._extended_until = until

    def reset(self, seconds: float) -> None:
        """End the sleep in so many seconds from now."""
        self._extended_until = -inf
        self._start(seconds)

    def cancel(self) -> None:
        """Release the timer."""
        if self._handle is not None:
            self._handle.cancel()

    def _start(self, seconds: float) -> None:
        self.cancel()
        if self._sleep is None:
            self._handle = asyncio.get_running_loop().call_later(seconds, self._expire, context=_EMPTY_CONTEXT)
        else:
            sleep: asyncio.Future[None] = asyncio.ensure_future(self._sleep(seconds))
            sleep.add_done_callback(self._finish_injected_sleep)
            self._handle = sleep

    def _expire(self) -> None:
        if not self.is_sleeping:
            return
        left = self._extended_until - self._clock()
        if left > EPSILON:
            self._start(min(left, MAX_SLEEP))
        else:
            self.wake()

    def _finish_injected_sleep(self, sleep: asyncio.Future[None]) -> None:
        if self._woken is None or self._woken.done() or sleep is not self._handle:
            return
        if (error := sleep.exception()) is not None:
            self._woken.set_exception(error)
        else:
            self._expire()
