"""Runs triggers on one event loop and prints what they cost as JSON: ``many_triggers.py KIND SECONDS``.

``bare`` runs a GcoreTaskTrigger for each task ID on standard input, on a bare loop; ``gcore`` runs them in Airflow's
TriggerRunner, and ``date_time`` runs as many DateTimeTriggers there, which end after the given seconds.

``added_mebibytes`` and ``descriptors`` are what the triggers add, ``mebibytes`` is the whole process, all while every trigger
is under way and none starts or ends. ``lag_ms`` is how late the loop is then: the 99th percentile in each of five windows, of
which the lowest counts, because other processes delay it too. ``cpu`` is the processor time in seconds from the first start to
the last end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.log import configure_logging
from airflow.triggers.base import BaseTrigger

from waiter.integrations.airflow.trigger import GcoreTaskTrigger

# Seconds from the first start until every trigger is under way, and then those in which none starts or ends.
STARTING = 10
WINDOWS = 5 * (2,)


def resident() -> float:
    """Return the memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def run_bare(trigger: BaseTrigger) -> str | None:
    """Run a trigger and return its error."""
    [event] = [event async for event in trigger.run()]
    return error_of(event.payload)


def error_of(payload: Any) -> str | None:
    return payload["error"] if isinstance(payload, dict) else None


def make_run_by_airflow() -> Callable[[BaseTrigger], Awaitable[str | None]]:
    """Return a function that runs a trigger as the process of a triggerer does, with its log."""
    with Path(os.devnull).open("wb") as nowhere:
        configure_logging(json_output=True, log_level="INFO", output=os.fdopen(os.dup(nowhere.fileno()), "wb"))
    runner = TriggerRunner()  # type: ignore[no-untyped-call, unused-ignore]

    async def run(trigger: BaseTrigger) -> str | None:
        trigger_id = len(runner.triggers) + 1
        runner.triggers[trigger_id] = {"name": str(trigger_id), "events": 0}  # type: ignore[typeddict-item, unused-ignore]
        await runner.run_trigger(trigger_id, trigger)
        event: Any = runner.events.popleft()
        return error_of((event.event if hasattr(event, "event") else event[1]).payload)

    return run


async def lateness(seconds: float) -> float:
    """Return the 99th percentile of the lateness of the loop in a window of this length."""
    late, end = [], time.monotonic() + seconds
    while (due := time.monotonic() + 0.01) < end:
        await asyncio.sleep(0.01)
        late.append(time.monotonic() - due)
    return sorted(late)[len(late) * 99 // 100]


async def main(kind: str, seconds: float, ids: list[str]) -> None:
    run = run_bare if kind == "bare" else make_run_by_airflow()

    def trigger_for(task_id: str, seconds: float) -> BaseTrigger:
        if kind == "date_time":
            return DateTimeTrigger(datetime.now(UTC) + timedelta(seconds=seconds))
        return GcoreTaskTrigger([task_id], "gcore_default", time.time() + 600)

    await run(trigger_for(ids.pop(), 0))  # so that everything is imported
    memory, opened, began = resident(), descriptors(), time.process_time()
    waits = [asyncio.ensure_future(run(trigger_for(task_id, seconds))) for task_id in ids]
    await asyncio.sleep(STARTING)
    late = [await lateness(window) for window in WINDOWS]
    assert not any(wait.done() for wait in waits)
    cost: dict[str, Any] = {
        "mebibytes": resident(),
        "added_mebibytes": resident() - memory,
        "descriptors": descriptors() - opened,
        "lag_ms": min(late) * 1000,
    }
    cost["errors"] = [error for error in await asyncio.gather(*waits) if error]
    cost["cpu"] = time.process_time() - began
    sys.stdout.write(json.dumps(cost))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.stdin.read().split()))
