"""What waits cost in a triggerer of Airflow, beside as many of Airflow's own ``DateTimeTrigger``, which only sleep and log.

    python tests/benchmarks/triggers.py [--number N] [--seconds S] [--repeat R]

Both run at the same time, each in a process of its own, for tasks that end after so many seconds. Needs the extra ``airflow``.
"""

# ruff: noqa: PLC0415 - Airflow reads its environment when it is imported

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from waiter.testing import SimulatedCloud, ended, finishes

# Seconds from the first start until every trigger is under way, and then those in which none starts or ends.
STARTING = 10
WINDOWS = 5 * (2,)
SHORTEST = 45


def costs_of(*kinds: str, number: int, cloud: SimulatedCloud, seconds: float = SHORTEST) -> list[dict[str, Any]]:
    """Return what this number of triggers of each kind costs, in processes beside each other.

    ``bare`` runs a GcoreTaskTrigger for each task on a bare loop; ``gcore`` runs them in Airflow's TriggerRunner, and
    ``date_time`` runs DateTimeTriggers there. The processes find the cloud by the connection ``gcore_default``. The tasks begin
    when all processes are ready.

    ``added_mebibytes`` and ``descriptors`` are what the triggers add, ``mebibytes`` is the whole process, all while every
    trigger is under way and none starts or ends. ``lag_ms`` is how late the loop is then: the 99th percentile in each of five
    windows, of which the lowest counts, because other processes delay it too. ``cpu`` is the processor time in seconds from the
    first start to the last end.
    """
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--run", kind, "--seconds", str(seconds)], stdin=pipe, stdout=pipe, text=True
        )
        for kind in kinds
    ]
    for process in processes:
        _write_line(process, [cloud.add(ended())])
    for process in processes:
        assert _read_line(process) == "ready"
    for process in processes:
        _write_line(process, (cloud.add(finishes(seconds, {"instances": ["i-1"]})) for _ in range(number)))
    costs = [json.loads(_read_line(process)) for process in processes]
    for process in processes:
        process.communicate()
    return costs


def _write_line(process: subprocess.Popen[str], ids: Iterable[str]) -> None:
    assert process.stdin is not None
    process.stdin.write(" ".join(ids) + "\n")
    process.stdin.flush()


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def resident() -> float:
    """Return the memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def lateness(seconds: float) -> float:
    """Return the 99th percentile of the lateness of the loop in a window of this length."""
    late, end = [], time.monotonic() + seconds
    while (due := time.monotonic() + 0.01) < end:
        await asyncio.sleep(0.01)
        late.append(time.monotonic() - due)
    return sorted(late)[len(late) * 99 // 100]


async def run_bare(trigger: Any) -> str | None:
    """Run a trigger and return its error."""
    [event] = [event async for event in trigger.run()]
    return error_of(event.payload)


def error_of(payload: Any) -> str | None:
    return payload["error"] if isinstance(payload, dict) else None


def make_run_by_airflow() -> Callable[[Any], Awaitable[str | None]]:
    """Return a function that runs a trigger as the process of a triggerer does."""
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    runner: Any = TriggerRunner()  # type: ignore[no-untyped-call, unused-ignore]

    async def run(trigger: Any) -> str | None:
        trigger_id = len(runner.triggers) + 1
        runner.triggers[trigger_id] = {"name": str(trigger_id), "events": 0}
        await runner.run_trigger(trigger_id, trigger)
        event = runner.events.popleft()
        return error_of((event.event if hasattr(event, "event") else event[1]).payload)

    return run


async def measure(kind: str, seconds: float) -> None:
    """Run a trigger for each task ID on standard input, and print what they cost as JSON."""
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    from airflow.sdk.log import configure_logging

    from waiter.integrations.airflow.trigger import GcoreTaskTrigger

    configure_logging(json_output=True, log_level="INFO", output=os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb"))
    run = run_bare if kind == "bare" else make_run_by_airflow()

    def trigger_for(task_id: str, seconds: float) -> Any:
        if kind == "date_time":
            return DateTimeTrigger(datetime.now(UTC) + timedelta(seconds=seconds))
        return GcoreTaskTrigger([task_id], "gcore_default", time.time() + seconds + 600)

    await run(trigger_for(sys.stdin.readline().strip(), 0))  # so that everything is imported
    print("ready", flush=True)
    ids = sys.stdin.readline().split()
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
    print(json.dumps(cost))


def compare(number: int, seconds: float, repeat: int) -> None:
    """Print what waits and DateTimeTriggers cost, and the ratios."""
    ratios: dict[str, list[float]] = {"cpu": [], "mebibytes": []}
    for _ in range(repeat):
        cloud = SimulatedCloud(record=False)
        with cloud.serve() as url, tempfile.TemporaryDirectory() as home:
            connection = {"conn_type": "gcore", "host": url, "password": cloud.api_key}
            os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW_CONN_GCORE_DEFAULT": json.dumps(connection)}
            gcore, date_time = costs_of("gcore", "date_time", number=number, cloud=cloud, seconds=seconds)
        for name, values in ratios.items():
            values.append(gcore[name] / date_time[name])
            print(f"{name}: {gcore[name]:.2f} against {date_time[name]:.2f}, {values[-1]:.2f} times")
        assert gcore["errors"] == []
    for name, values in ratios.items():
        print(f"{name}: median {statistics.median(values):.2f} times, at most {max(values):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=SHORTEST)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        asyncio.run(measure(args.run, args.seconds))
    else:
        compare(args.number, args.seconds, args.repeat)
