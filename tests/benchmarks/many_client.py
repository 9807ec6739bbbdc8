"""Run one measurement: ``many_client.py CLIENT PORT TASKS SECONDS START`` prints the figures as JSON.

CLIENT is ``sdk`` (the official SDK's ``AsyncGcore`` under ``asyncio.gather``), ``single`` (waiter without listings),
``listing`` (waiter with its defaults), or ``sdk-64`` and ``single-64`` (as many polls as they can make with 64 in flight).
START is ``instant`` or ``spread``.
"""

# ruff: noqa: PLC0415 - a client whose memory is measured loads nothing of the other

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

INTERVAL = 4.0
# A poll is on time if it begins at most so many seconds after it was due.
LATE = 0.1
# Seconds between two measurements of the event loop's lag: rare enough to cost little beside a listing.
TICK = 0.1
# Seconds until a client has settled: waits that listings serve make fewer polls the longer they run.
SETTLED = {"listing": 30.0, "sdk-64": 1.0, "single-64": 1.0}


class Count:
    """Requests, how many of them were late, and the lags of the event loop."""

    def __init__(self) -> None:
        self.requests = self.late = 0
        self.lags: list[float] = []
        self._seen: dict[str, float] = {}

    async def poll(self, task_id: str, poll: Awaitable[Any]) -> Any:
        """Count a poll, which is due an interval after the last."""
        self.requests += 1
        self.late += time.monotonic() - self._seen.pop(task_id, inf) > INTERVAL + LATE
        seen = await poll
        self._seen[task_id] = time.monotonic()
        return seen

    def overdue(self) -> int:
        """Return how many polls should have begun by now."""
        return sum(time.monotonic() - seen > INTERVAL + LATE for seen in self._seen.values())

    async def tick(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK)
            self.lags.append(time.monotonic() - began - TICK)


def mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def waiter_polls(count: Count, port: int, ids: list[str], delays: list[float], *, listing: bool) -> None:
    from tenacity import wait_fixed

    from waiter import AsyncWaiter
    from waiter.http.async_client import AsyncClient
    from waiter.session import Session

    class Client(AsyncClient):
        async def get_task(self, task_id: str, *, timeout: float) -> Any:  # noqa: ASYNC109 - as it is there
            return await count.poll(task_id, super().get_task(task_id, timeout=timeout))

        async def list_active(self, **options: Any) -> Any:
            count.requests += 1
            return await super().list_active(**options)

    options: Any = {"api_key": "k", "base_url": f"http://127.0.0.1:{port}", "timeout": None, "wait": wait_fixed(INTERVAL)}
    # A quarter more than is due, so that polls which were late are made up for.
    options["max_rps"] = max(100.0, 1.25 * len(ids) / INTERVAL)
    session = Session.open(options)
    async with AsyncWaiter.from_session(session, Client(session.settings)) as waiter:
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


async def sdk_polls(count: Count, port: int, ids: list[str], delays: list[float]) -> None:
    from gcore import AsyncGcore

    async with AsyncGcore(api_key="k", base_url=f"http://127.0.0.1:{port}") as client:

        async def wait(task_id: str, delay: float) -> None:
            await asyncio.sleep(delay)
            while True:
                await count.poll(task_id, client.cloud.tasks.get(task_id))
                await asyncio.sleep(INTERVAL)

        await asyncio.gather(*map(wait, ids, delays))


async def sdk_64(count: Count, port: int, ids: list[str], _: list[float]) -> None:
    from gcore import AsyncGcore

    async with AsyncGcore(api_key="k", base_url=f"http://127.0.0.1:{port}") as client:
        await flat_out(count, ids, client.cloud.tasks.get)


async def waiter_64(count: Count, port: int, ids: list[str], _: list[float]) -> None:
    from waiter import AsyncWaiter

    async with AsyncWaiter(api_key="k", base_url=f"http://127.0.0.1:{port}", max_rps=1e6, learn=False) as waiter:

        async def poll(task_id: str) -> object:
            return await waiter._poll_task(waiter._session.new_wait(task_id))

        await flat_out(count, ids, poll)


async def flat_out(count: Count, ids: list[str], poll: Callable[[str], Coroutine[Any, Any, object]]) -> None:
    async def keep_polling(task_id: str) -> None:
        while True:
            count.requests += 1
            await poll(task_id)

    await asyncio.gather(*map(keep_polling, ids[:64]))


async def measure(client: str, port: int, number: int, seconds: float, start: str) -> None:
    count = Count()
    ids = task_ids(number)
    delays = [INTERVAL * place / number if start == "spread" else 0.0 for place in range(number)]
    if client in {"sdk", "sdk-64", "single-64"}:
        polling = {"sdk": sdk_polls, "sdk-64": sdk_64, "single-64": waiter_64}[client](count, port, ids, delays)
    else:
        polling = waiter_polls(count, port, ids, delays, listing=client == "listing")
    # As the command does and the documentation advises.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    ticking, polling_task = asyncio.create_task(count.tick()), asyncio.create_task(polling)
    await asyncio.sleep(SETTLED.get(client, 2 * INTERVAL))
    requests, late, cpu, began = count.requests, count.late, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    if polling_task.done():
        polling_task.result()  # no task ends, so it can only have failed
    requests, cpu = count.requests - requests, time.process_time() - cpu
    late = count.late - late + count.overdue()
    lags = sorted(count.lags)
    print(json.dumps({
        "on_time": 1 - late / max(requests, late, 1),
        "requests": requests / took,
        "cores": cpu / took,
        "us": cpu / max(requests, 1) * 1e6,
        "lag": lags[int(len(lags) * 0.99)] * 1e3,
        "mib": mebibytes(),
    }), flush=True)  # fmt: skip
    ticking.cancel()
    polling_task.cancel()
    await asyncio.gather(ticking, polling_task, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
