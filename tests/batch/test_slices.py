"""Long loops do not keep the event loop from running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

from waiter.batch.slices import SLICE, in_slices


def test_event_loop_runs_after_each_slice() -> None:
    """Another coroutine sees each slice pass, and no item is lost."""
    count = 3 * SLICE + 1
    passed: list[int] = []
    turns: list[int] = []

    async def watch(is_over: Callable[[], bool]) -> None:
        while not is_over():
            turns.append(len(passed))
            await asyncio.sleep(0)

    async def main() -> None:
        watching = asyncio.create_task(watch(lambda: len(passed) == count))
        await asyncio.sleep(0)
        async for item in in_slices(range(count)):
            passed.append(item)  # noqa: PERF401 - the other coroutine reads it meanwhile
        await watching

    asyncio.run(main())
    assert passed == list(range(count))
    assert max(later - earlier for earlier, later in pairwise(turns)) == SLICE
