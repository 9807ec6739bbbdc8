"""The write queue: a failed write is reported to its writer or retried."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sidecar_parts import NOW, run

from waiter.sidecar.model import Wait
from waiter.sidecar.storage import write_queue as write_queue_module
from waiter.sidecar.storage.event_log import NewEvent, StoredEvent
from waiter.sidecar.storage.store import Change, Store
from waiter.sidecar.storage.write_queue import StorageError, StorageLostError, WriteQueue

PAGES = "PRAGMA max_page_count = {}"
FULL = "database or disk is full"


class Published(list[tuple[str, int]]):
    """The published events, and how many of them came with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def publish(self, events: Sequence[StoredEvent]) -> None:
        self.counts.append(len(events))
        self += [(event.name, event.id) for event in events]


def change(*names: str, error: str = "") -> Change:
    return Change(waits=[Wait(id="a", accepted_at=NOW, error=error)], events=[NewEvent(name, b"{}") for name in names])


async def fill(write_queue: WriteQueue) -> None:
    """Make the disk full: large changes fail, and small ones when no page is free."""
    await write_queue.query(lambda store: store._database.execute(PAGES.format(1)))


async def free(write_queue: WriteQueue) -> None:
    await write_queue.query(lambda store: store._database.execute(PAGES.format(1_000_000)))


def big(*names: str) -> Change:
    return change(*names, error="x" * 100_000)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def make_queue(tmp_path: Path, published: Published, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(write_queue_module, "RETRY_INTERVAL", 0.01)
    return lambda: WriteQueue(Store(tmp_path, first_event=0), published.publish)


def test_changes_are_published_in_order_once_written(make_queue: Any, published: Published) -> None:
    """In one call for what was written together, after the callbacks of the writers; enqueued changes are written too."""

    async def test() -> None:
        async with make_queue() as queue:
            queue.enqueue(change("enqueued"))
            await queue.write(change("written"), lambda: published.append(("then", 0)))
            assert published == [("then", 0), ("enqueued", 1), ("written", 2)]
            queue.enqueue(change("last"))
        assert (published[3:], published.counts) == ([("last", 3)], [2, 1])

    run(test())


def test_failed_write_is_raised_and_dropped(make_queue: Any, published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    """The next write succeeds."""

    async def test() -> None:
        async with make_queue() as queue:
            await fill(queue)
            with pytest.raises(StorageError) as caught:
                await queue.write(big("refused"), lambda: published.append(("never", 0)))
            assert str(caught.value) == f"cannot be stored: {FULL}"
            await free(queue)
            await queue.write(change("written"), lambda: None)
        assert published == [("written", 1)]

    run(test())
    expected = f"waiter: cannot write to the state directory: {FULL}; changes are kept in memory until it is writable\n"
    assert capsys.readouterr().err == expected


def test_write_eventually_is_retried(make_queue: Any, published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    """The writer continues after the first attempt; only events of failed polls are dropped."""

    async def test() -> None:
        async with make_queue() as queue:
            await fill(queue)
            await queue.write_eventually(big("poll.failed", "task.failed"), lambda: published.append(("then", 0)))
            assert published == [("then", 0)]
            await asyncio.sleep(0.05)
            await free(queue)
            await queue.write(Change(), lambda: None)
        assert published == [("then", 0), ("task.failed", 1)]

    run(test())
    assert capsys.readouterr().err.splitlines()[1:] == ["waiter: the state directory is writable again"]


def test_retried_changes_are_written_before_later_ones(make_queue: Any, published: Published) -> None:
    """Otherwise the numbers of the events would not follow the order in which they happened."""

    async def test() -> None:
        async with make_queue() as queue:
            await fill(queue)
            is_enqueued = threading.Event()
            held = asyncio.create_task(queue.query(lambda _: is_enqueued.wait(60)))
            failing = asyncio.create_task(queue.write_eventually(big("first"), lambda: None))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not queue._pending
            queue.enqueue(change("second"))  # while the first is being written
            queue.enqueue(change("third"))
            is_enqueued.set()
            await asyncio.gather(held, failing)
            await free(queue)
            await queue.write(change("last"), lambda: None)
        assert [name for name, _ in published] == ["first", "second", "third", "last"]

    run(test())


def test_retry_needs_no_other_change(make_queue: Any, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that is kept in memory is written once the disk has space, although nothing else is written."""
    monkeypatch.setattr(write_queue_module, "CHECK_INTERVAL", 3600.0)

    async def test() -> None:
        async with make_queue() as queue:
            await fill(queue)
            await queue.write_eventually(big("kept"), lambda: None)
            await free(queue)
            while not published:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0.01)
        assert published == [("kept", 1)]

    run(test())


def test_thread_of_the_store_ends_with_the_queue(make_queue: Any) -> None:
    """None is left when the queue is closed."""

    async def test() -> None:
        before = set(threading.enumerate())
        async with make_queue() as queue:
            await queue.write(change("written"), lambda: None)
            started = set(threading.enumerate()) - before
            assert [thread.name for thread in started] == ["store_0"]
        assert not any(thread.is_alive() for thread in started)

    run(test())


def test_queue_closes_on_a_full_disk(make_queue: Any, published: Published) -> None:
    """Changes that cannot be written are lost with the process."""

    async def test() -> None:
        async with make_queue() as queue:
            await fill(queue)
            await queue.write_eventually(big("lost"), lambda: None)
        assert published == []

    run(test())


def test_cancelled_writer_does_not_affect_the_write(make_queue: Any, published: Published) -> None:
    """The change is written, or fails, as if its writer were still waiting."""

    async def test() -> None:
        async with make_queue() as queue:
            writing = asyncio.create_task(queue.write(change("written"), lambda: published.append(("then", 0))))
            await asyncio.sleep(0)
            writing.cancel()
            await queue.write(change("next"), lambda: None)
            assert published == [("then", 0), ("written", 1), ("next", 2)]
            await fill(queue)
            writing = asyncio.create_task(queue.write(big("refused"), lambda: None))
            await asyncio.sleep(0)
            writing.cancel()

    run(test())


REPLACED = "the state directory was deleted or replaced"


def test_deleted_database_is_written_anew_without_a_write(
    make_queue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check does not wait for a change."""
    monkeypatch.setattr(write_queue_module, "CHECK_INTERVAL", 0.01)

    async def test() -> None:
        async with make_queue() as queue:
            (tmp_path / "waits.sqlite3").unlink()
            while not await queue.query(lambda store: store.times_restored):  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0.01)
            assert (tmp_path / "waits.sqlite3").exists()
            assert (queue.is_failing, queue.is_lost) == (False, False)

    run(test())
    assert capsys.readouterr().err == f"waiter: {REPLACED}, and was restored\n"


def test_state_directory_is_checked_every_five_seconds(make_queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its documentation says."""
    timeouts, wait_for = list[float](), asyncio.wait_for

    async def record_timeout(awaitable: Awaitable[object], timeout: float) -> object:  # noqa: ASYNC109 - as asyncio.wait_for
        timeouts.append(timeout)
        return await wait_for(awaitable, timeout)

    async def test() -> None:
        monkeypatch.setattr(asyncio, "wait_for", record_timeout)
        async with make_queue() as queue:
            await queue.write(change("written"), lambda: None)

    run(test())
    assert set(timeouts) == {5.0}


def test_changes_are_refused_while_another_database_is_in_the_directory(
    make_queue: Any, published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Changes that may not fail are kept in memory, and written once the directory is usable again."""

    async def test() -> None:
        async with make_queue() as queue:
            queue.check()
            (tmp_path / "waits.sqlite3").unlink()
            (tmp_path / "waits.sqlite3").touch()
            with pytest.raises(StorageLostError, match=REPLACED):
                await queue.write(change("refused"), lambda: published.append(("never", 0)))
            assert (queue.is_failing, queue.is_lost) == (True, True)
            with pytest.raises(StorageLostError, match=REPLACED):
                queue.check()
            await queue.write_eventually(change("kept"), lambda: None)
            (tmp_path / "waits.sqlite3").unlink()
            await queue.write(change("written"), lambda: None)
            assert (queue.is_failing, queue.is_lost) == (False, False)
        assert published == [("kept", 1), ("written", 2)]

    run(test())
    reason = f"{REPLACED}: another database is at {tmp_path / 'waits.sqlite3'}"
    assert capsys.readouterr().err.splitlines() == [
        f"waiter: cannot write to the state directory: {reason}; changes are kept in memory until it is writable",
        f"waiter: {REPLACED}, and was restored",
        "waiter: the state directory is writable again",
    ]
