"""The journal: what is on disk has happened, what is not is told or tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sidecar_parts import NOW, run

from waiter.sidecar import journal as room
from waiter.sidecar.journal import Journal, StorageError
from waiter.sidecar.model import Wait
from waiter.sidecar.store import Change, Happening, Store, StoredEvent

PAGES = "PRAGMA max_page_count = {}"
FULL = "database or disk is full"


class Told(list[tuple[str, int]]):
    def publish(self, events: Sequence[StoredEvent]) -> None:
        self += [(event.name, event.id) for event in events]


def change(*names: str, error: str = "") -> Change:
    return Change(waits=[Wait(id="a", accepted_at=NOW, error=error)], events=[Happening(name, b"{}") for name in names])


async def fill(journal: Journal) -> None:
    """Let the disk be full: large changes fail, and so do small ones once no page is free."""
    await journal.ask(lambda store: store._database.execute(PAGES.format(1)))


async def empty(journal: Journal) -> None:
    await journal.ask(lambda store: store._database.execute(PAGES.format(1_000_000)))


def big(*names: str) -> Change:
    return change(*names, error="x" * 100_000)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def journal(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(room, "RETRY_AFTER", 0.01)
    return lambda: Journal(Store(tmp_path), told.publish)


def test_changes_are_published_in_order_once_on_disk(journal: Any, told: Told) -> None:
    """Whoever wrote one is told before its events are, and what was only noted is written too."""

    async def test() -> None:
        async with journal() as open_journal:
            open_journal.note(change("noted"))
            await open_journal.write(change("written"), lambda: told.append(("then", 0)))
            assert told == [("noted", 1), ("then", 0), ("written", 2)]
            open_journal.note(change("last"))
        assert told[3:] == [("last", 3)]

    run(test())


def test_a_write_that_fails_is_told_and_dropped(journal: Any, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """The next one that the disk takes goes on as if nothing had been."""

    async def test() -> None:
        async with journal() as open_journal:
            await fill(open_journal)
            with pytest.raises(StorageError) as caught:
                await open_journal.write(big("refused"), lambda: told.append(("never", 0)))
            assert str(caught.value) == f"cannot be kept: {FULL}"
            await empty(open_journal)
            await open_journal.write(change("written"), lambda: None)
        assert told == [("written", 1)]

    run(test())
    said = f"waiter: cannot write to the state directory: {FULL}; what happens is kept in memory meanwhile\n"
    assert capsys.readouterr().err == said


def test_what_must_be_kept_is_tried_again(journal: Any, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """Its writer goes on after the first attempt; of what happened, only failed looks are forgotten."""

    async def test() -> None:
        async with journal() as open_journal:
            await fill(open_journal)
            await open_journal.keep(big("poll.failed", "task.failed"), lambda: told.append(("then", 0)))
            assert told == [("then", 0)]
            await asyncio.sleep(0.05)
            await empty(open_journal)
            await open_journal.write(Change(), lambda: None)
        assert told == [("then", 0), ("task.failed", 1)]

    run(test())
    assert capsys.readouterr().err.splitlines()[1:] == ["waiter: the state directory takes writes again"]


def test_it_closes_although_the_disk_is_full(journal: Any, told: Told) -> None:
    """What it cannot write is lost with the process, and nothing hangs."""

    async def test() -> None:
        async with journal() as open_journal:
            await fill(open_journal)
            await open_journal.keep(big("lost"), lambda: None)
        assert told == []

    run(test())


def test_a_writer_who_has_gone_changes_nothing(journal: Any, told: Told) -> None:
    """The change is as real as if somebody had waited for it; and so is its failure."""

    async def test() -> None:
        async with journal() as open_journal:
            writing = asyncio.create_task(open_journal.write(change("written"), lambda: told.append(("then", 0))))
            await asyncio.sleep(0)
            writing.cancel()
            await open_journal.write(change("next"), lambda: None)
            assert told == [("then", 0), ("written", 1), ("next", 2)]
            await fill(open_journal)
            writing = asyncio.create_task(open_journal.write(big("refused"), lambda: None))
            await asyncio.sleep(0)
            writing.cancel()

    run(test())
