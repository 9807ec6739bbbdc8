"""Runs a trigger for each task ID on standard input, on a bare event loop, and prints what they cost as JSON.

``mebibytes`` and ``descriptors`` are what they add; ``lag_ms`` is the 99th percentile of the lateness of the event loop while
all are under way and none starts or ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from waiter.integrations.airflow.trigger import GcoreTaskTrigger


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def outcome(task_id: str) -> object:
    [event] = [event async for event in GcoreTaskTrigger([task_id], "gcore_default", time.time() + 600).run()]
    return event.payload["error"]


async def lateness(seconds: float) -> list[float]:
    late, end = [], time.monotonic() + seconds
    while (due := time.monotonic() + 0.01) < end:
        await asyncio.sleep(0.01)
        late.append(time.monotonic() - due)
    return sorted(late)


async def main(ids: list[str]) -> None:
    await outcome(ids.pop())  # so that everything is imported
    before, opened = resident(), descriptors()
    waits = [asyncio.create_task(outcome(task_id)) for task_id in ids]
    await asyncio.sleep(10)
    late = await lateness(10)
    assert not any(wait.done() for wait in waits)
    cost = {
        "mebibytes": (resident() - before) / 2**20,
        "descriptors": descriptors() - opened,
        "lag_ms": late[len(late) * 99 // 100] * 1000,
    }
    errors = [error for error in await asyncio.gather(*waits) if error]
    sys.stdout.write(json.dumps(cost | {"errors": errors}))


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.read().split()))
