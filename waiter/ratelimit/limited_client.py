"""An asynchronous client that keeps to the request budget, and to a number of polls under way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Protocol, cast

from tenacity import AsyncRetrying

from waiter.errors import ApiError
from waiter.http.async_pool import runs_under_asyncio
from waiter.ratelimit.reservation import Delay, QueueLimits, RateLimitTimeoutError, RequestBudget
from waiter.timing import EPSILON

if TYPE_CHECKING:
    from waiter.api.listings import ActivePage, TaskPage
    from waiter.api.requests import TaskFilter
    from waiter.api.resources import Resource, Target
    from waiter.config.settings import Settings
    from waiter.task import Task, TaskSnapshot

MAX_CONCURRENT_POLLS = 256
"""Polls under way are their rate times the round trip: 150 at 2,500 a second and 60 ms."""


class TaskClient(Protocol):
    """A client of the API, without limits. Every method raises ApiError."""

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - passed on to the request
        """Return a task as it is now."""

    async def get_resource(self, target: Target, *, timeout: float) -> Resource:  # noqa: ASYNC109 - see above
        """Return a resource as it is now."""

    async def acknowledge(self, task_id: str, *, timeout: float) -> Task:  # noqa: ASYNC109 - see above
        """Acknowledge a task and return it."""

    async def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - see above
        """Return the newest tasks of a type."""

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - see above
        """Return a page of the tasks that have not ended."""

    async def list_tasks(self, chosen: TaskFilter, *, limit: int, offset: int, timeout: float) -> TaskPage:  # noqa: ASYNC109 - see above
        """Return a page of the tasks that a filter selects."""

    def decode_snapshot(self, body: bytes) -> TaskSnapshot:
        """Decode a task from the body of a listing. Raises ValueError."""

    async def close(self) -> None:
        """Close the connections."""


class RateLimitedClient:
    """A client whose requests keep to the budget; times are seconds."""

    def __init__(self, client: TaskClient, budget: RequestBudget, settings: Settings) -> None:
        self._client = client
        self._budget = budget
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._semaphore = asyncio.Semaphore(sys.maxsize)
        self._next_at = -inf
        self.sleep: Callable[[float], Awaitable[None]] = settings.sleep or _sleep
        self.decode_snapshot = client.decode_snapshot
        self.close = client.close

    @asynccontextmanager
    async def slot(self, limits: QueueLimits) -> AsyncIterator[Delay]:
        """Wait until a poll may be sent, hold a slot while the client sends it, and yield its delay.

        Raises RateLimitTimeoutError when that is too late, ApiUnavailableError when the server blocks requests for too long.
        """
        semaphore = self._semaphore_of_loop()
        delay = await self._acquire_slot(semaphore, limits)
        try:
            yield delay
        except ApiError as error:
            self._budget.report_throttling(error)
            raise
        finally:
            semaphore.release()

    async def get_task_immediately(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - see above
        """Poll a task once, in a slot but without queueing for the budget. Raises ApiError."""
        async with self._immediate_slot(task_id, timeout):
            return await self._client.get_task(task_id, timeout=timeout)

    async def acknowledge(self, task_id: str, *, timeout: float) -> Task:  # noqa: ASYNC109 - see above
        """Acknowledge a task, in a slot but without queueing for the budget. Raises ApiError."""
        async with self._immediate_slot(task_id, timeout):
            return await self._client.acknowledge(task_id, timeout=timeout)

    @asynccontextmanager
    async def _immediate_slot(self, task_id: str, max_queue_time: float) -> AsyncIterator[None]:
        semaphore = self._semaphore_of_loop()
        await self._acquire(semaphore, task_id, max_queue_time)
        try:
            yield
        finally:
            semaphore.release()

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - see above
        """Return a page of the active tasks. It stands for many polls, so it does not queue behind single ones."""
        while (blocked := self._budget.blocked_for) > EPSILON:
            await self.sleep(blocked)
        self._budget.reserve_immediately()
        try:
            return await self._client.list_active(limit=limit, offset=offset, timeout=timeout)
        except ApiError as error:
            self._budget.report_throttling(error, listing=True)
            raise

    async def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - see above
        """Return the newest tasks of a type; this request stands for many too."""
        self._budget.reserve_immediately()
        try:
            return await self._client.list_history(task_type, limit=limit, timeout=timeout)
        except ApiError as error:
            self._budget.report_throttling(error, listing=True)
            raise

    async def list_tasks(self, chosen: TaskFilter, *, limit: int, offset: int, timeout: float) -> TaskPage:  # noqa: ASYNC109 - see above
        """Return a page of the tasks that a filter selects, without queueing."""
        self._budget.reserve_immediately()
        try:
            return await self._client.list_tasks(chosen, limit=limit, offset=offset, timeout=timeout)
        except ApiError as error:
            self._budget.report_throttling(error, listing=True)
            raise

    async def _acquire_slot(self, semaphore: asyncio.Semaphore, limits: QueueLimits) -> Delay:
        queued = 0.0
        while True:
            try:
                delay = await self._wait_for_turn(limits)
                queued += delay.queued
                if not semaphore.locked():
                    await semaphore.acquire()
                    return Delay(queued, delay.blocked)
                limits = limits._replace(failing_since=limits.failing_since + delay.queued)  # time in the queue is no outage
                await self._acquire(semaphore, limits.task_id, limits.max_queue_time(self._settings.clock()))
            except RateLimitTimeoutError as error:
                error.delay = Delay(queued + error.delay.queued)
                raise
            try:
                await self.sleep(self._pause_after_slot())
            except BaseException:
                semaphore.release()
                raise
            if self._budget.blocked_for < EPSILON or limits.deadline - self._settings.clock() < EPSILON:
                return Delay(queued)
            # The server has begun to block requests while this poll waited for its slot: it queues again.
            semaphore.release()

    async def _wait_for_turn(self, limits: QueueLimits) -> Delay:
        with self._budget.reserve(limits) as reservation:
            while (pause := reservation.next_pause()) > 0:
                await self.sleep(pause)
        return reservation.delay

    def _pause_after_slot(self) -> float:
        """Return the pause that keeps polls which waited for a slot as far apart as the budget does.

        Their reserved time has passed, and a server that has just recovered must not be flooded.
        """
        now = self._settings.clock()
        self._next_at = max(now, self._next_at + 1 / self._settings.max_rps)
        return self._next_at - now

    def _semaphore_of_loop(self) -> asyncio.Semaphore:
        """Return the semaphore of the running event loop; under trio, which has no loop here, it has no bound."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if self._loop is not loop:
            self._loop, self._semaphore = loop, asyncio.Semaphore(MAX_CONCURRENT_POLLS if loop else sys.maxsize)
        return self._semaphore

    async def _acquire(self, semaphore: asyncio.Semaphore, task_id: str, max_queue_time: float) -> None:
        """Acquire the semaphore; raises RateLimitTimeoutError when no slot is free in time. Virtual time sets no limit."""
        if not semaphore.locked():
            await semaphore.acquire()
            return
        try:
            async with asyncio.timeout(None if self._settings.sleep or max_queue_time == inf else max_queue_time):
                await semaphore.acquire()
        except TimeoutError:
            message = f"not polled: all {MAX_CONCURRENT_POLLS} slots stayed busy ({task_id})"
            raise RateLimitTimeoutError(message, Delay()) from None


def _sleep(seconds: float) -> Awaitable[None]:
    # tenacity's own sleep detects trio, at the cost of one more coroutine for each of thousands.
    return asyncio.sleep(seconds) if runs_under_asyncio() else cast("Awaitable[None]", AsyncRetrying().sleep(seconds))
