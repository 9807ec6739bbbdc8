"""Long runs keep no memory and no file descriptors."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest
from drivers import Driver
from tenacity import wait_fixed

from waiter import AsyncWaiter, TaskTimeoutError, Waiter
from waiter.polling import poll_state
from waiter.testing import SimulatedCloud, ended, half_body, hang, never_ends, reset, status

DAY = 86_400.0


@pytest.fixture
def memory() -> Callable[[], int]:
    """Count the blocks of memory in use, which is faster than tracemalloc and does not see the size of a block."""
    # pytest keeps every line of the log.
    logging.getLogger("waiter").setLevel(logging.CRITICAL)

    def blocks() -> int:
        gc.collect()
        return sys.getallocatedblocks()

    return blocks


def test_day_of_polling_keeps_no_memory(on: Driver, memory: Callable[[], int]) -> None:
    """Five hundred polls a day, a bad response now and then: the third day needs no more memory than the first two.

    In the first two, Python specializes the code of what seldom runs.
    """
    cloud = SimulatedCloud.virtual(record=False, fault_rate=0.05)
    measured: list[int] = []

    def pause(_: object) -> float:
        if cloud.elapsed > (2 * DAY, 2.99 * DAY, inf)[len(measured)]:
            measured.append(memory())
        return 160.0

    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, cloud.add(never_ends()), timeout=3 * DAY, wait=pause, learn=False)
    assert measured[1] - measured[0] < 250


def test_day_of_listings_keeps_no_memory(memory: Callable[[], int]) -> None:
    """Many tasks, with listings and individual polls by turns."""
    cloud = SimulatedCloud.virtual(record=False, fault_rate=0.05)
    ids = [cloud.add(never_ends()) for _ in range(40)]

    async def main() -> int:
        async with AsyncWaiter(**cloud.async_options, timeout=None, wait=wait_fixed(450), learn=False) as waiter:
            waiting = asyncio.ensure_future(waiter.wait_all(ids))
            await cloud.async_sleep(DAY)
            before = memory()
            await cloud.async_sleep(DAY / 2)
            after = memory()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return after - before

    assert asyncio.run(main()) < 250


def descriptors() -> set[tuple[str, str]]:
    """Return the number and the target of each descriptor; the target of a socket is its own."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of the directory itself, and those that others close meanwhile
            found.add((file.name, str(file.readlink())))
    return found


def settled(before: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return what has been opened, once the threads of the server have seen that their clients are gone."""
    until = time.monotonic() + 60
    while descriptors() - before and time.monotonic() < until:
        time.sleep(0.005)
    return descriptors() - before


def wait_blocking(url: str, cloud: SimulatedCloud, ids: list[str]) -> None:
    with Waiter(**options(url, cloud)) as waiter:
        for _ in range(2):
            cloud.fault(reset())
            waiter.wait(ids[0])
        cloud.fault(half_body())
        waiter.wait_all(ids)
        cloud.fault(status(503))
        next(iter(waiter.as_completed(ids)))
    with Waiter(**options(url, cloud), timeout=0.05) as waiter:
        cloud.fault(hang(0.15))
        waiter.wait(ids[0])


def wait_awaited(url: str, cloud: SimulatedCloud, ids: list[str]) -> None:
    async def main() -> None:
        async with AsyncWaiter(**options(url, cloud)) as waiter:
            cloud.fault(reset(), times=2)
            cloud.fault(half_body())
            await waiter.wait_all(ids)
            cloud.fault(hang(0.15), times=len(ids))
            waits = [asyncio.ensure_future(waiter.wait(one)) for one in ids]
            await asyncio.sleep(0.03)
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            async with aclosing(waiter.as_completed(ids)) as outcomes:
                await anext(outcomes)
        async with AsyncWaiter(**options(url, cloud), timeout=0.05) as waiter:
            cloud.fault(hang(0.15))
            await waiter.wait(ids[0])

    asyncio.run(main())


def options(url: str, cloud: SimulatedCloud) -> Any:
    return {"base_url": url, "api_key": cloud.api_key, "wait": wait_fixed(0.01), "max_rps": 10_000}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where they are counted")
@pytest.mark.parametrize("wait", [wait_blocking, wait_awaited], ids=["blocking", "awaited"])
def test_no_descriptor_stays_open(wait: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """After broken connections, time-outs, cancellation and iterators that were closed early."""
    monkeypatch.setattr(poll_state, "backoff", lambda _: 0.01)
    cloud = SimulatedCloud()
    ids = [cloud.add(ended(), watched=False) for _ in range(5)]
    with cloud.serve() as url:
        wait(url, cloud, ids)
        at_rest = descriptors()
        for _ in range(2):
            wait(url, cloud, ids)
        assert settled(at_rest) == set()
