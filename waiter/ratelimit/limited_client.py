"""An asynchronous client that keeps to the budget, and has only so many looks under way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, cast

from tenacity import AsyncRetrying

from waiter.http.client import AsyncClient, ThreadedClient
from waiter.http.connection_pool import runs_under_asyncio
from waiter.polling.history_cache import LISTED
from waiter.polling.wait_state import EPSILON
from waiter.ratelimit.limiter import RateLimitTimeoutError

if TYPE_CHECKING:
    from waiter.api.responses import ActivePage
    from waiter.config.settings import Settings
    from waiter.polling.wait_state import WaitState
    from waiter.ratelimit.reservation import Budget
    from waiter.task import TaskSnapshot

# Looks under way are their rate times the round trip: 150 at 2,500 a second and 60 ms.
MOST_AT_ONCE = 256


class RateLimitedClient:
    """Asks when it is allowed to; times are seconds."""

    def __init__(self, client: AsyncClient | ThreadedClient, budget: Budget, settings: Settings) -> None:
        self._client = client
        self._budget = budget
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places_of_loop = asyncio.Semaphore(sys.maxsize)
        self._next_at = -inf
        self.sleep: Callable[[float], Awaitable[None]] = settings.sleep or _sleep
        self.read = client.snapshot
        self.close = client.close

    async def ask(self, plan: WaitState) -> TaskSnapshot:
        """Look at a wait's task when its turn has come; raises ApiError, and RateLimitTimeoutError when that is too late."""
        while True:
            with self._budget.queue(plan) as pauses:
                for pause in pauses:
                    await self.sleep(pause)
            places = self._places()
            had_to_wait = places.locked()
            await self._enter(places, plan, plan.patience)
            try:
                if had_to_wait:
                    # Its turn was long ago, and a server that has just come to shall not be flooded.
                    await self.sleep(self._pause_after_others())
                    plan.held_back(queued=0.0, silent=0.0)
                    if self._budget.quiet >= EPSILON and plan.time_left >= EPSILON:
                        continue
                with self._budget.heeding():
                    return await self._client.get_task(plan.task_id, timeout=plan.request_timeout)
            finally:
                places.release()

    async def ask_now(self, plan: WaitState) -> TaskSnapshot:
        """Look at a task without a turn; raises ApiError."""
        places = self._places()
        await self._enter(places, plan, plan.request_timeout)
        try:
            return await self._client.get_task(plan.task_id, timeout=plan.request_timeout)
        finally:
            places.release()

    def _pause_after_others(self) -> float:
        """Keep those who had to wait as far apart as the budget does."""
        now = self._settings.clock()
        self._next_at = max(now, self._next_at + 1 / self._settings.max_rps)
        return self._next_at - now

    def _places(self) -> asyncio.Semaphore:
        """Those of the loop that runs, whose waiters they wake; trio, which is None here, has as many as anybody wants."""
        loop = asyncio.get_running_loop() if runs_under_asyncio() else None
        if self._loop is not loop:
            self._loop, self._places_of_loop = loop, asyncio.Semaphore(MOST_AT_ONCE if loop else sys.maxsize)
        return self._places_of_loop

    async def _enter(self, places: asyncio.Semaphore, plan: WaitState, patience: float) -> None:
        """Take a slot; raises RateLimitTimeoutError when none is free in time."""
        if not places.locked():
            await places.acquire()
            return
        try:
            async with asyncio.timeout(None if self._settings.sleep or patience == inf else patience):
                await places.acquire()
        except TimeoutError:
            plan.held_back(queued=0.0, silent=0.0)
            message = f"not polled: all {MOST_AT_ONCE} slots stayed busy ({plan.task_id})"
            raise RateLimitTimeoutError(message) from None

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Ask for a page of the listing; it stands for many looks, so it does not queue up behind single ones."""
        while (quiet := self._budget.quiet) > EPSILON:
            await self.sleep(quiet)
        self._budget.jump_the_queue()
        with self._budget.heeding(listing=True):
            return await self._client.get_active(limit=limit, offset=offset, timeout=timeout)

    async def list_past(self, task_type: str, *, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Ask for the past of a task type; it stands for many looks too."""
        self._budget.jump_the_queue()
        with self._budget.heeding(listing=True):
            return await self._client.get_past(task_type, limit=LISTED, timeout=timeout)


def _sleep(seconds: float) -> Awaitable[None]:
    # tenacity's own finds trio, at the cost of one coroutine more for each of thousands.
    return asyncio.sleep(seconds) if runs_under_asyncio() else cast("Awaitable[None]", AsyncRetrying().sleep(seconds))
