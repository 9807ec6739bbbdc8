"""Locks on waits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from sidecar_parts import run, run_callbacks

from waiter.sidecar.wait_locks import WaitLocks


class Holders:
    """Tasks that lock waits, and hold them until the test releases them."""

    def __init__(self) -> None:
        self.locks = WaitLocks()
        self.holding: list[str] = []
        self._releases: dict[str, asyncio.Event] = {}

    def start(self, ids: Collection[str]) -> asyncio.Task[None]:
        self._releases["".join(ids)] = asyncio.Event()
        return asyncio.create_task(self._hold(ids))

    async def _hold(self, ids: Collection[str]) -> None:
        async with self.locks.lock(ids):
            self.holding.append("".join(ids))
            await self._releases["".join(ids)].wait()
            self.holding.remove("".join(ids))

    def release(self, ids: str) -> None:
        self._releases[ids].set()


def test_lock_excludes_those_with_a_wait_in_common() -> None:
    """All others hold theirs at the same time."""

    async def test() -> None:
        holders = Holders()
        tasks = [holders.start(ids) for ids in ("ab", "bc", "d", "")]
        await run_callbacks()
        assert holders.holding == ["ab", "d", ""]
        assert [wait_id in holders.locks for wait_id in "abcd"] == [True, True, False, True]
        holders.release("ab")
        await run_callbacks()
        assert holders.holding == ["d", "", "bc"]
        for ids in ("bc", "d", ""):
            holders.release(ids)
        await asyncio.gather(*tasks)
        assert not any(wait_id in holders.locks for wait_id in "abcd")

    run(test())


def test_waits_are_locked_in_one_step() -> None:
    """What waits for one lock holds no other, so that no two tasks wait for each other."""

    async def test() -> None:
        holders = Holders()
        tasks = [holders.start(ids) for ids in ("a", "ab", "ba", "b")]
        await run_callbacks()
        assert holders.holding == ["a", "b"]
        holders.release("a")
        await run_callbacks()
        assert holders.holding == ["b"]
        for ids in ("ab", "ba", "b"):
            holders.release(ids)
        await asyncio.gather(*tasks)

    run(test())


def test_lock_is_released_after_an_error_and_a_cancellation() -> None:
    """Also when the task was cancelled while it waited for the lock."""

    async def test() -> None:
        holders = Holders()
        held, waiting = holders.start("a"), holders.start("ab")
        await run_callbacks()
        waiting.cancel()
        held.cancel()
        await asyncio.gather(held, waiting, return_exceptions=True)
        with pytest.raises(ZeroDivisionError), holders.locks.lock_immediately("ab"):
            raise ZeroDivisionError
        async with holders.locks.lock("ab"):
            assert "a" in holders.locks
        assert "a" not in holders.locks

    run(test())
