"""One measurement in a process of its own: ``many_client.py WHO PORT TASKS SECONDS START`` prints what it cost as JSON.

WHO is ``sdk`` (the official SDK's ``AsyncGcore`` under ``asyncio.gather``), ``single`` (waiter, each task by itself),
``listing`` (waiter as it comes) or ``sdk-64`` and ``single-64`` (as many looks as they can do with 64 in flight). START is
``instant`` or ``spread``.
"""

# ruff: noqa: PLC0415 - whose memory is measured loads nothing of the other

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from pathlib import Path
from typing import Any

from many_server import task_ids

GAP = 4.0
# A look is made when due if it begins so much after that at the latest.
LATE = 0.1
# Rare enough to cost little beside a listing.
TICK = 0.1
# The waits of a crowd make fewer steps of their own the longer it goes on.
SETTLED = {"listing": 30.0, "sdk-64": 1.0, "single-64": 1.0}


class Count:
    """Requests, how late they were, and how late the event loop was for a tick."""

    def __init__(self) -> None:
        self.requests = self.late = 0
        self.lags: list[float] = []
        self._seen: dict[str, float] = {}

    async def look(self, task_id: str, look: Awaitable[Any]) -> Any:
        """Count a look, which is due a gap after the last."""
        self.requests += 1
        self.late += time.monotonic() - self._seen.pop(task_id, inf) > GAP + LATE
        seen = await look
        self._seen[task_id] = time.monotonic()
        return seen

    def overdue(self) -> int:
        """How many looks should have begun by now."""
        return sum(time.monotonic() - seen > GAP + LATE for seen in self._seen.values())

    async def tick(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK)
            self.lags.append(time.monotonic() - began - TICK)


def mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def waiter_looks(count: Count, port: int, ids: list[str], delays: list[float], *, listing: bool) -> None:
    from tenacity import wait_fixed

    from waiter import AsyncWaiter
    from waiter.http.client import AsyncClient

    class Client(AsyncClient):
        async def get_task(self, task_id: str, *, timeout: float) -> Any:  # noqa: ASYNC109 - as it is there
            return await count.look(task_id, super().get_task(task_id, timeout=timeout))

        async def get_active(self, **options: Any) -> Any:
            count.requests += 1
            return await super().get_active(**options)

    class Counted(AsyncWaiter):
        def _connect(self, settings: Any) -> AsyncClient:
            return Client(settings)

    options: Any = {"api_key": "k", "base_url": f"http://127.0.0.1:{port}", "timeout": None, "wait": wait_fixed(GAP)}
    # A quarter more than is due: what starts in one instant is spread over most of a gap, and what was late is made up for.
    async with Counted(**options, max_rps=max(100.0, 1.25 * len(ids) / GAP)) as waiter:
        if not listing:
            waiter._listing_poller._circuit_breaker._open_until = inf

        if not any(delays):
            await waiter.wait_all(ids)
        waits, began = [], time.monotonic()
        for task_id, delay in zip(ids, delays, strict=True):
            if (pause := began + delay - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            waits.append(asyncio.create_task(waiter.wait(task_id)))
        await asyncio.gather(*waits)


async def sdk_looks(count: Count, port: int, ids: list[str], delays: list[float]) -> None:
    from gcore import AsyncGcore

    async with AsyncGcore(api_key="k", base_url=f"http://127.0.0.1:{port}") as client:

        async def wait(task_id: str, delay: float) -> None:
            await asyncio.sleep(delay)
            while True:
                await count.look(task_id, client.cloud.tasks.get(task_id))
                await asyncio.sleep(GAP)

        await asyncio.gather(*map(wait, ids, delays))


async def sdk_64(count: Count, port: int, ids: list[str], _: list[float]) -> None:
    from gcore import AsyncGcore

    async with AsyncGcore(api_key="k", base_url=f"http://127.0.0.1:{port}") as client:
        await flat_out(count, ids, client.cloud.tasks.get)


async def waiter_64(count: Count, port: int, ids: list[str], _: list[float]) -> None:
    from waiter import AsyncWaiter

    async with AsyncWaiter(api_key="k", base_url=f"http://127.0.0.1:{port}", max_rps=1e6, learn=False) as waiter:

        async def look(task_id: str) -> object:
            return await waiter._poll_task(waiter._session.new_wait(task_id))

        await flat_out(count, ids, look)


async def flat_out(count: Count, ids: list[str], look: Callable[[str], Coroutine[Any, Any, object]]) -> None:
    async def keep_looking(task_id: str) -> None:
        while True:
            count.requests += 1
            await look(task_id)

    await asyncio.gather(*map(keep_looking, ids[:64]))


async def measure(who: str, port: int, number: int, seconds: float, start: str) -> None:
    count = Count()
    ids = task_ids(number)
    delays = [GAP * place / number if start == "spread" else 0.0 for place in range(number)]
    if who in {"sdk", "sdk-64", "single-64"}:
        looks = {"sdk": sdk_looks, "sdk-64": sdk_64, "single-64": waiter_64}[who](count, port, ids, delays)
    else:
        looks = waiter_looks(count, port, ids, delays, listing=who == "listing")
    # As the command does, and as the README advises.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    ticking, looking = asyncio.create_task(count.tick()), asyncio.create_task(looks)
    await asyncio.sleep(SETTLED.get(who, 2 * GAP))
    requests, late, cpu, began = count.requests, count.late, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    if looking.done():
        looking.result()  # no task ends, so it can only have failed
    requests, cpu = count.requests - requests, time.process_time() - cpu
    late = count.late - late + count.overdue()
    lags = sorted(count.lags)
    print(json.dumps({
        "looks": 1 - late / max(requests, late, 1),
        "requests": requests / took,
        "cores": cpu / took,
        "us": cpu / max(requests, 1) * 1e6,
        "lag": lags[int(len(lags) * 0.99)] * 1e3,
        "mib": mebibytes(),
    }), flush=True)  # fmt: skip
    ticking.cancel()
    looking.cancel()
    await asyncio.gather(ticking, looking, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
