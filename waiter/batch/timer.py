"""A sleep that somebody else can end early, or make longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

from waiter.polling.wait_state import EPSILON

# Whoever is woken goes on in a context of its own; without this one, each timer has a copy of it.
NOWHERE = Context()

Sleep = Callable[[float], Any] | None


class InterruptibleTimer:
    """Wakes whoever rests on it; ``sleep`` is an injected one, or None for the event loop's own timers."""

    __slots__ = ("_sleep", "_timer", "_woken")

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._woken: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | asyncio.Future[None] | None = None

    @property
    def is_resting(self) -> bool:
        """Whether somebody rests on it."""
        return self._woken is not None and not self._woken.done()

    def rest(self, seconds: float) -> asyncio.Future[None]:
        """Rest for so long, unless woken. Whoever is cancelled while it rests must stop it."""
        # A future and no coroutine: ten thousand of them weigh 2 MB less.
        self._woken = asyncio.get_running_loop().create_future()
        self.reset(seconds)
        return self._woken

    def wake(self) -> None:
        """End the rest."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def reset(self, seconds: float) -> None:
        """Let the rest end in so many seconds from now."""
        self.stop()
        if self._sleep is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self, context=NOWHERE)
        else:
            sleep: asyncio.Future[None] = asyncio.ensure_future(self._sleep(seconds))
            sleep.add_done_callback(self._take_sleep)
            self._timer = sleep

    def stop(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def more(self) -> float:
        """Give the seconds by which the rest gets longer now that it is over; none unless a subclass knows better."""
        return 0.0

    def __call__(self) -> None:
        """Ring: the time is over, unless the rest gets longer."""
        if not self.is_resting:
            return
        if (more := self.more()) > EPSILON:
            self.reset(more)
        else:
            self.wake()

    def _take_sleep(self, sleep: asyncio.Future[None]) -> None:
        if self._woken is None or self._woken.done() or sleep is not self._timer:
            return
        if (error := sleep.exception()) is not None:
            self._woken.set_exception(error)
        else:
            self()
