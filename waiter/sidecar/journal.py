"""The way to the disk: everything that waits to be written goes in one transaction, and the event loop never waits for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Self, TypeVar

import msgspec

from waiter.console import stderr
from waiter.errors import WaiterError
from waiter.sidecar.store import Change, Store, StoredEvent

RETRY_AFTER = 1.0
Result = TypeVar("Result")


class StorageError(WaiterError):
    """The disk does not take what was to be kept: it is full, read-only or broken."""


class _Entry(msgspec.Struct):
    change: Change
    written: asyncio.Future[None]
    then: Callable[[], object]
    may_fail: bool

    def settle(self) -> None:
        """Let whoever wrote it go on; ``then`` is called once, even when nobody waits any more."""
        then, self.then = self.then, _nothing
        then()
        if not self.written.done():
            self.written.set_result(None)

    def fail(self, error: sqlite3.Error) -> None:
        """Tell whoever wrote it that it is not kept."""
        if not self.written.done():
            self.written.set_exception(StorageError(f"cannot be kept: {error}"))


class Journal:
    """Writes changes in the order in which they come; ``publish`` is given their numbered events once they are on disk."""

    def __init__(self, store: Store, publish: Callable[[Sequence[StoredEvent]], object]) -> None:
        self._store = store
        self._publish = publish
        # One thread: SQLite is asked from one place at a time, and in order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._queue: list[_Entry] = []
        self._wanted = asyncio.Event()
        self._failing = False
        self._closing = False

    async def write(self, change: Change, then: Callable[[], object]) -> None:
        """Write a change, call ``then``, and return; raises StorageError when the disk does not take it, and it is dropped."""
        await self._add(change, then, may_fail=True)

    async def keep(self, change: Change, then: Callable[[], object]) -> None:
        """Write a change however often it takes, and return after the first attempt."""
        await self._add(change, then, may_fail=False)

    def note(self, change: Change) -> None:
        """Write a change however often it takes, and do not wait for it."""
        self._add(change, lambda: None, may_fail=False)

    def _add(self, change: Change, then: Callable[[], object], *, may_fail: bool) -> asyncio.Future[None]:
        entry = _Entry(change, asyncio.get_running_loop().create_future(), then, may_fail)
        self._queue.append(entry)
        self._wanted.set()
        return entry.written

    async def ask(self, question: Callable[[Store], Result]) -> Result:
        """Ask the store something, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._store)

    async def __aenter__(self) -> Self:
        self.running = asyncio.create_task(self._run(), name="journal")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left, if the disk takes it, and let go of the store."""
        self._closing = True
        self._wanted.set()
        try:
            await self.running
        finally:
            await self.ask(Store.close)
            self._thread.shutdown()

    async def _run(self) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), RETRY_AFTER if self._failing else None)
            self._wanted.clear()
            await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        batch, self._queue = self._queue, []
        if not batch:
            return
        try:
            written = await self.ask(lambda store: store.apply([entry.change for entry in batch]))
        except sqlite3.Error as error:
            self._failed(batch, error)
            return
        if self._failing:
            stderr.info("the state directory takes writes again")
        self._failing = False
        for entry, events in zip(batch, written, strict=True):
            entry.settle()
            self._publish(events)

    def _failed(self, batch: Sequence[_Entry], error: sqlite3.Error) -> None:
        if not self._failing:
            stderr.warn(f"cannot write to the state directory: {error}; what happens is kept in memory meanwhile")
        kept = [entry for entry in batch if not entry.may_fail]
        self._failing = bool(kept)
        self._queue[:0] = kept
        for entry in kept:
            entry.change = _essence(entry.change)
            entry.settle()
        for entry in batch:
            entry.fail(error)
        self._publish(())


def _nothing() -> None:
    """Be called in the place of what was called already."""


def _essence(change: Change) -> Change:
    # What waits in memory for a disk must be bounded, and a long outage has any number of failed looks.
    return msgspec.structs.replace(change, events=[one for one in change.events if not one.name.startswith("poll.")])
