"""Locks on waits: changes of one wait are made one after the other, those of different waits are stored together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager


class WaitLocks:
    """The locks of all waits, by ID; ``wait_id in locks`` is whether a wait is locked."""

    def __init__(self) -> None:
        # The event that is set when the lock is released.
        self._locked: dict[str, asyncio.Event] = {}

    def __contains__(self, wait_id: object) -> bool:
        return wait_id in self._locked

    @asynccontextmanager
    async def lock(self, ids: Collection[str]) -> AsyncIterator[None]:
        """Lock waits once none of them is locked: all of them in one step, so that no two tasks wait for each other."""
        while released := next((self._locked[wait_id] for wait_id in ids if wait_id in self._locked), None):
            await released.wait()
        with self.lock_immediately(ids):
            yield

    @contextmanager
    def lock_immediately(self, ids: Collection[str]) -> Iterator[None]:
        """Lock waits, of which the caller knows that none is locked."""
        self._locked |= dict.fromkeys(ids, released := asyncio.Event())
        try:
            yield
        finally:
            for wait_id in ids:
                del self._locked[wait_id]
            released.set()
