"""The stored events: each is a document with a checksum and its number, so that damage to one is found and affects no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from waiter.sidecar.storage.pages import DamagedDatabase
from waiter.sidecar.storage.salvage import EVENT, Document, find_documents, seal, unseal

INSERT = "INSERT OR REPLACE INTO sealed_events VALUES (?, ?)"
RESET = "stream.reset"


class NewEvent(NamedTuple):
    """An event without a number yet; ``data`` is JSON."""

    name: str
    data: bytes


class StoredEvent(NamedTuple):
    """A numbered event of the stream."""

    id: int
    name: str
    data: bytes


def reset_event(number: int, last: int) -> StoredEvent:
    """Return the event that stands for all after number ``last`` that cannot be sent; its client reads the waits again."""
    return StoredEvent(number, RESET, msgspec.json.encode({"last_event_id": last}))


def seal_event(number: int, name: str, data: bytes) -> bytes:
    """Return the document of an event."""
    return seal(Document(number, b"%s\n%s" % (name.encode(), data)), EVENT)


def row_of(event: StoredEvent) -> tuple[int, bytes]:
    """Return the row of an event."""
    return event.id, seal_event(*event)


def event_of(number: int, sealed: bytes) -> StoredEvent:
    """Return the event of a row; a damaged one is a reset with its number."""
    try:
        return _read_event(unseal(sealed, EVENT))
    except (ValueError, TypeError):
        return reset_event(number, number - 1)


def _read_event(document: Document) -> StoredEvent:
    name, _, data = document.content.partition(b"\n")
    return StoredEvent(document.revision, name.decode(), data)


def repair_events(database: sqlite3.Connection) -> int:
    """Replace each damaged event by a reset with its number, and return how many there were.

    A row whose number was damaged gets the number of its document back.
    """
    damaged, misplaced = [], []
    for number, sealed in database.execute("SELECT id, document FROM sealed_events"):
        try:
            document = unseal(sealed, EVENT)
        except (ValueError, TypeError):
            damaged.append(row_of(reset_event(number, number - 1)))
        else:
            if document.revision != number:
                misplaced.append((number, (document.revision, sealed)))
    with suppress(sqlite3.OperationalError):  # a full disk: they are found again at the next start
        database.executemany("DELETE FROM sealed_events WHERE id = ?", [(number,) for number, _ in misplaced])
        database.executemany(INSERT, [*damaged, *(row for _, row in misplaced)])
    return len(damaged)


def salvage_events(damaged: DamagedDatabase, first_event: int) -> tuple[list[StoredEvent], int]:
    """Return the events that are readable in a damaged database, in order, and the number of damaged ones.

    Missing events are replaced by one reset. So are those that may have followed: its number is ``first_event`` at least, which
    no event had before the damage.
    """
    found: dict[int, StoredEvent] = {}
    lost = 0
    for document in find_documents(damaged, EVENT):
        if document is None:
            lost += 1
        else:
            # A transaction that was not committed may have left another event with this number, which follows in the log.
            found.setdefault(document.revision, _read_event(document))
    if not found:
        return [], lost
    last = max(found)
    following = max(first_event, last + 1)
    found[following] = reset_event(following, last)
    return list(_with_resets([found[number] for number in sorted(found)])), lost


def _with_resets(events: Sequence[StoredEvent]) -> Iterator[StoredEvent]:
    previous = events[0].id - 1
    for event in events:
        if event.id != previous + 1 and event.name != RESET:
            yield reset_event(event.id - 1, previous)
        yield event
        previous = event.id
