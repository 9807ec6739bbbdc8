"""The blocking connections, awaited: each request runs in a thread, for event loops other than that of asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

import anyio
from anyio import to_thread

from waiter.http.blocking_pool import BlockingPool
from waiter.http.exchange import Received
from waiter.http.route import Route

# As many polls run together under asyncio.
MAX_THREADS = 256


class ThreadedPool:
    """Like AsyncPool. The thread of a cancelled request ends with its response, or when its time is over."""

    def __init__(self, route: Route) -> None:
        self._pool = BlockingPool(route)

    @cached_property
    def _limiter(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(MAX_THREADS)

    async def request(self, method: str, path: str, headers: Mapping[str, str], timeout: float) -> Received:  # noqa: ASYNC109 - like BlockingPool
        """Like AsyncPool.request. Waiting for a thread does not count."""
        send = partial(self._pool.request, method, path, headers, timeout)
        return await to_thread.run_sync(send, abandon_on_cancel=True, limiter=self._limiter)

    async def close(self) -> None:
        """Like AsyncPool.close."""
        self._pool.close()
