"""Measure what many polls leave behind: ``python tests/benchmarks/endurance.py [--polls 100000] [--faults 0.2]``.

One poll in five fails. The blocking driver, the awaited one, and forty waits with listings each make so many polls over real
HTTP, against a simulated cloud in another process; then a wait of a month runs in virtual time. Memory, file descriptors and
threads are compared at a tenth of the polls and at the end. Exits 1 if one of them has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from waiter import AsyncWaiter, TasksError, TaskTimeoutError, Waiter
from waiter.polling import wait_state
from waiter.testing import SimulatedCloud, half_body, html, never_ends, refuse, reset, status, truncated, wrong_types

# None that slows the rate of requests, and none that takes a time-out.
FAULTS = [status(500), html(), truncated(), wrong_types(), reset(), refuse(), half_body()]
MANY = 40
MONTH = 30 * 86_400.0
# Blocks of memory that come and go: caches of the standard library, connections under way.
NOISE = 1_500


class Usage(NamedTuple):
    """What a process uses."""

    blocks: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Usage:
        gc.collect()
        return cls(sys.getallocatedblocks(), len(list(Path("/proc/self/fd").iterdir())), threading.active_count())


class EnoughError(Exception):
    """All polls have been made."""


class Counter:
    """Count polls, and take the usage at a tenth of them and at the end."""

    def __init__(self, polls: int, *, in_flight: int = 1) -> None:
        self.polls = 0
        self.usage: list[Usage] = []
        self._marks = [polls // 10, polls]
        # Each wait may hold a connection and a few objects more or less.
        self.tolerance = Usage(NOISE * (1 + in_flight // 10), in_flight + 2, 2)

    def __call__(self, _: object = None) -> float:
        """Count a poll that succeeded, as a wait strategy that gives no pause."""
        self.polls += 1
        if self._marks and self.polls >= self._marks[0]:
            self._marks.pop(0)
            self.usage.append(Usage.now())
        if not self._marks:
            raise EnoughError
        return 0.001

    def count_failure(self, event: Any) -> None:
        self.polls += event.name == "poll.failed"

    def grown(self) -> list[str]:
        """Return what has grown by more than the tolerance."""
        first, last = self.usage
        rows = zip(Usage._fields, first, last, self.tolerance, strict=True)
        return [f"{name} from {a} to {b}" for name, a, b, tolerance in rows if b - a > tolerance]


@contextmanager
def server(faults: float) -> Iterator[tuple[str, str, list[str]]]:
    command = [sys.executable, __file__, "--serve", str(faults)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        url, key, *ids = process.stdout.readline().split()
        yield url, key, ids
        process.stdin.close()


def serve(faults: float) -> None:
    cloud = SimulatedCloud(fault_rate=faults, usual_faults=FAULTS, record=False)
    ids = [cloud.add(never_ends()) for _ in range(MANY)]
    with cloud.serve() as url:
        print(url, cloud.api_key, *ids, flush=True)
        sys.stdin.read()


def options(url: str, key: str, counter: Counter) -> dict[str, Any]:
    return {
        "api_key": key, "base_url": url, "wait": counter, "on_event": counter.count_failure,
        "timeout": None, "max_outage": 3600, "max_rps": 1e6,
    }  # fmt: skip


def poll_blocking(url: str, key: str, ids: list[str], polls: int) -> Counter:
    counter = Counter(polls)
    with Waiter(**options(url, key, counter)) as waiter:
        try:
            waiter.wait(ids[0])
        except EnoughError:
            return counter
    raise AssertionError


def poll_awaited(url: str, key: str, ids: list[str], polls: int) -> Counter:
    counter = Counter(polls)

    async def main() -> None:
        async with AsyncWaiter(**options(url, key, counter)) as waiter:
            await waiter.wait(ids[0])

    try:
        asyncio.run(main())
    except EnoughError:
        return counter
    raise AssertionError


def poll_many(url: str, key: str, ids: list[str], polls: int) -> Counter:
    counter = Counter(polls, in_flight=MANY)

    async def main() -> None:
        async with AsyncWaiter(**options(url, key, counter)) as waiter:
            await waiter.wait_all(ids)

    try:
        asyncio.run(main())
    except TasksError:
        return counter
    raise AssertionError


def poll_for_a_month(faults: float) -> Counter:
    """Wait a month in virtual time, with the schedule of waiter itself."""
    cloud = SimulatedCloud.virtual(fault_rate=faults, usual_faults=FAULTS, record=False)
    counter = Counter(sys.maxsize)
    marks = [MONTH / 10, MONTH * 0.99]

    def sample(_: Any) -> None:
        counter.polls += 1
        if marks and cloud.clock() > marks[0]:
            marks.pop(0)
            counter.usage.append(Usage.now())

    with Waiter(**cloud.options, timeout=MONTH, max_outage=MONTH, on_event=sample) as waiter:
        try:
            waiter.wait(cloud.add(never_ends()))
        except TaskTimeoutError:
            return counter
    raise AssertionError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=100_000)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("waiter").setLevel(logging.CRITICAL)
    if arguments.serve is not None:
        serve(arguments.serve)
        return 0
    vars(wait_state)["backoff"] = lambda _: 0.001
    runs: dict[str, Callable[..., Counter]] = {"blocking": poll_blocking, "awaited": poll_awaited, "many": poll_many}
    found: dict[str, Counter] = {}
    with server(arguments.faults) as served:
        for name, run in runs.items():
            found[name] = run(*served, arguments.polls)
            report(name, found[name])
    found["a month"] = poll_for_a_month(arguments.faults)
    report("a month", found["a month"])
    return any(counter.grown() for counter in found.values())


def report(name: str, counter: Counter) -> None:
    first, last = counter.usage
    print(f"{name}: {counter.polls} polls; {first} -> {last}; grown: {', '.join(counter.grown()) or 'nothing'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
