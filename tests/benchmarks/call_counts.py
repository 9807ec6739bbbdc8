"""Count the waiter functions that one poll of a FINISHED task enters, and how often it changes module.

Run ``python tests/benchmarks/call_counts.py``. The poll goes over real HTTP to a simulated cloud in another
thread. The second wait of a waiter is counted, so that lazy imports and the connection of the first one do not count.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import waiter
from waiter import AsyncWaiter, Waiter
from waiter.testing import SimulatedCloud, ended

ROOT = str(Path(waiter.__file__).parent)


class Count(NamedTuple):
    """What one poll passes through: functions entered, modules, and changes of module."""

    entered: int
    functions: int
    modules: int
    changes: int


class _Profile:
    def __init__(self) -> None:
        self.entered: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(ROOT) and "/testing/" not in name:
            self.entered.append((name, frame.f_code.co_qualname))

    def count(self) -> Count:
        files = [name for name, _ in self.entered]
        changes = sum(one != other for one, other in pairwise(files))
        return Count(len(self.entered), len(set(self.entered)), len(set(files)), changes)


def count_blocking(options: dict[str, Any], task_id: str) -> Count:
    """Count what ``waiter.wait(...)`` of a ``Waiter`` passes through."""
    with Waiter(**options) as one:
        one.wait(task_id)
        profile = _Profile()
        sys.setprofile(profile)
        one.wait(task_id)
        sys.setprofile(None)
    return profile.count()


def count_awaited(options: dict[str, Any], task_id: str) -> Count:
    """Count what ``waiter.wait(...)`` of an ``AsyncWaiter`` passes through."""

    async def count() -> Count:
        async with AsyncWaiter(**options) as one:
            await one.wait(task_id)
            profile = _Profile()
            sys.setprofile(profile)
            await one.wait(task_id)
            sys.setprofile(None)
        return profile.count()

    return asyncio.run(count())


def count_polls() -> dict[str, Count]:
    """Count one poll of a FINISHED task for both drivers."""
    # Its time stands still: a Date with another second would be parsed, which is one function more.
    cloud = SimulatedCloud(clock=lambda: 0.0)
    task_id = cloud.add(ended({"instances": ["i-1"]}))
    with cloud.serve() as url:
        options = {"api_key": cloud.api_key, "base_url": url}
        return {"blocking": count_blocking(options, task_id), "awaited": count_awaited(options, task_id)}


if __name__ == "__main__":
    for driver, found in count_polls().items():
        print(f"{driver:9}", *(f"{name} {value}" for name, value in found._asdict().items()))
