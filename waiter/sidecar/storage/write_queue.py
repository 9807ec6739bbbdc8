"""The queue in front of the store: pending changes are written in one transaction, off the event loop's thread."""

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
from waiter.sidecar.storage.event_log import StoredEvent
from waiter.sidecar.storage.state_directory import StateLostError
from waiter.sidecar.storage.store import Change, Store

RETRY_INTERVAL = 1.0
# Seconds between two checks, without a write, that the state directory was not deleted or replaced.
CHECK_INTERVAL = 5.0
Result = TypeVar("Result")


class StorageError(WaiterError):
    """A change could not be stored: the disk is full, read-only or broken."""


class StorageLostError(StorageError):
    """A change could not be stored: the state directory was deleted or replaced."""

    def __init__(self) -> None:
        super().__init__(
            "cannot be stored: the state directory was deleted or replaced; "
            "retry once its path is free, or restart the sidecar with another --state-dir"
        )


class _Entry(msgspec.Struct):
    change: Change
    written: asyncio.Future[None]
    on_written: Callable[[], object] | None
    may_fail: bool

    def succeed(self) -> None:
        """Call ``on_written`` once, even when the writer was cancelled, and resume the writer.

        The writer resumes before the tasks that ``on_written`` starts: an answer does not wait for their first steps.
        """
        on_written, self.on_written = self.on_written, None
        if not self.written.done():
            self.written.set_result(None)
        if on_written is not None:
            on_written()

    def fail(self, error: StorageError) -> None:
        """Raise the error in the writer."""
        if not self.written.done():
            self.written.set_exception(error)


class WriteQueue:
    """Writes changes in order; ``publish`` is called with their numbered events once they are on disk.

    ``writer_task`` is the running task; it ends only on close or on a fault. ``is_failing`` is True while the disk rejects
    writes. ``is_lost`` is True while the state directory is another one and cannot be restored: then nothing that was stored
    survives a restart.
    """

    def __init__(self, store: Store, publish: Callable[[Sequence[StoredEvent]], object]) -> None:
        self._store = store
        self._publish = publish
        # One thread: SQLite is used from one place at a time, and in order.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._pending: list[_Entry] = []
        self._wakeup = asyncio.Event()
        self.is_failing = self.is_lost = False
        self._is_closing = False

    def check(self) -> None:
        """Raise StorageLostError while what was stored does not survive a restart."""
        if self.is_lost:
            raise StorageLostError

    async def write(self, change: Change, on_written: Callable[[], object]) -> None:
        """Write a change and call ``on_written``; raises StorageError and drops the change when the disk rejects it."""
        await self._add(change, on_written, may_fail=True)

    async def write_eventually(self, change: Change, on_written: Callable[[], object]) -> None:
        """Write a change, retrying until it succeeds; call ``on_written`` and return after the first attempt."""
        await self._add(change, on_written, may_fail=False)

    def enqueue(self, change: Change) -> None:
        """Write a change, retrying until it succeeds, without waiting for it."""
        self._add(change, None, may_fail=False)

    def _add(self, change: Change, on_written: Callable[[], object] | None, *, may_fail: bool) -> asyncio.Future[None]:
        entry = _Entry(change, asyncio.get_running_loop().create_future(), on_written, may_fail)
        self._pending.append(entry)
        self._wakeup.set()
        return entry.written

    def pending(self) -> int:
        """Return the number of changes that are not on disk yet, without those that are being written."""
        return len(self._pending)

    async def query(self, read: Callable[[Store], Result]) -> Result:
        """Return the result of ``read(store)``, called in the store's thread after all earlier writes."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, read, self._store)

    async def __aenter__(self) -> Self:
        self.writer_task = asyncio.create_task(self._run(), name="write queue")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write the pending changes in one last attempt, and close the store."""
        self._is_closing = True
        self._wakeup.set()
        try:
            await self.writer_task
        finally:
            await self.query(Store.close)
            self._executor.shutdown()

    async def _run(self) -> None:
        while not self._is_closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), RETRY_INTERVAL if self.is_failing else CHECK_INTERVAL)
            self._wakeup.clear()
            await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        batch, self._pending = self._pending, []
        try:
            written = await self.query(lambda store: _write(store, [entry.change for entry in batch]))
        except (sqlite3.Error, StateLostError) as error:
            self._handle_failure(batch, error)
            return
        if self.is_failing:
            stderr.info("the state directory is writable again")
        self.is_failing = self.is_lost = False
        for entry in batch:
            entry.succeed()
        if batch:
            # Once for all: each call evaluates the conditions of everything that waits for an event.
            self._publish([event for events in written for event in events])

    def _handle_failure(self, batch: Sequence[_Entry], error: Exception) -> None:
        is_lost = isinstance(error, StateLostError)
        if not self.is_failing or is_lost != self.is_lost:
            stderr.warn(f"cannot write to the state directory: {error}; changes are kept in memory until it is writable")
        retried = [entry for entry in batch if not entry.may_fail]
        self.is_failing, self.is_lost = is_lost or bool(retried), is_lost
        self._pending[:0] = retried
        for entry in retried:
            entry.change = _without_polls(entry.change)
            entry.succeed()
        for entry in batch:
            entry.fail(StorageLostError() if is_lost else StorageError(f"cannot be stored: {error}"))
        self._publish(())


def _write(store: Store, changes: Sequence[Change]) -> list[list[StoredEvent]]:
    if store.ensure_in_place():
        stderr.warn("the state directory was deleted or replaced, and was restored")
    return store.apply(changes) if changes else []


def _without_polls(change: Change) -> Change:
    # Changes that wait in memory must stay bounded, and a long outage produces any number of failed polls.
    return msgspec.structs.replace(change, events=[event for event in change.events if not event.name.startswith("poll.")])
