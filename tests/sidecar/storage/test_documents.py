"""A table of documents: written, read, deleted and salvaged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import msgspec
import pytest
from webhook_parts import make_delivery

from waiter.sidecar.model import Delivery
from waiter.sidecar.storage.documents import DocumentTable
from waiter.sidecar.storage.pages import DamagedDatabase
from waiter.sidecar.storage.salvage import DELIVERY, WAIT, Document, seal, unseal


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("CREATE TABLE deliveries (number INTEGER PRIMARY KEY, document BLOB NOT NULL)")
    yield database
    database.close()


def make_table() -> DocumentTable[Delivery]:
    return DocumentTable("deliveries", Delivery, DELIVERY)


def rows(database: sqlite3.Connection) -> list[int]:
    return [number for (number,) in database.execute("SELECT number FROM deliveries ORDER BY number")]


def test_table_counts_nothing_before_it_is_read() -> None:
    """Neither documents nor lost ones."""
    assert (make_table().count, make_table().lost) == (0, 0)


def test_documents_are_read_in_the_order_of_their_first_write(database: sqlite3.Connection) -> None:
    """A document that is written again keeps its row."""
    table, cursor = make_table(), database.cursor()
    first, second, changed = make_delivery(1), make_delivery(2), make_delivery(1, body="[]")
    table.write(cursor, [first, second])
    table.write(cursor, [changed])
    again = make_table()
    assert again.read(database) == table.read(database) == [changed, second]
    assert (again.count, again.lost, rows(database)) == (2, 0, [1, 2])


def test_number_of_a_deleted_document_is_not_used_again(database: sqlite3.Connection) -> None:
    """Deleting an unknown one changes nothing."""
    table, cursor = make_table(), database.cursor()
    table.write(cursor, [make_delivery(1), make_delivery(2)])
    table.delete(cursor, ["msg_2", "unknown"])
    table.forget(["msg_2", "unknown"])
    table.write(cursor, [make_delivery(2)])
    assert rows(database) == [1, 4]


def test_revision_increases_when_the_clock_is_set_back(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an older version of a document would be salvaged."""
    table, revisions = make_table(), []
    for now in (2 * 10**18, 10**18, 10**18, 3 * 10**18):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        table.write(database.cursor(), [make_delivery(1)])
        (sealed,) = database.execute("SELECT document FROM deliveries").fetchone()
        revisions.append(unseal(sealed, DELIVERY).revision)
    assert (revisions, len(set(revisions))) == (sorted(revisions), 4)


def test_damaged_rows_are_counted_and_deleted(database: sqlite3.Connection) -> None:
    """So are documents of another type."""
    table = make_table()
    table.write(database.cursor(), [make_delivery(1)])
    content = msgspec.json.encode(make_delivery(2))
    for sealed in (
        seal(Document(1, content), DELIVERY)[:-1],
        seal(Document(1, b"{}"), DELIVERY),
        seal(Document(1, content), WAIT),
        5,
    ):
        database.execute("INSERT INTO deliveries (document) VALUES (?)", [sealed])
    assert (table.read(database), table.count, table.lost) == ([make_delivery(1)], 1, 4)
    table.delete_damaged(database)
    assert (table.read(database), table.lost, rows(database)) == ([make_delivery(1)], 0, [1])


def test_newest_revisions_are_salvaged() -> None:
    """From any of the files; what is damaged is counted."""

    def sealed(revision: int, delivery: Delivery) -> bytes:
        return seal(Document(revision, msgspec.json.encode(delivery)), DELIVERY)

    table = make_table()
    damaged = [sealed(9, make_delivery(4))[:-1], seal(Document(9, b"{}"), DELIVERY), seal(Document(9, b"["), DELIVERY)]
    files = [
        b"?".join([sealed(2, make_delivery(1)), sealed(3, make_delivery(2)), *damaged]),
        sealed(3, make_delivery(1, body="[]")) + sealed(1, make_delivery(2, body="[]")) + seal(Document(9, b"{}"), WAIT),
    ]
    found = sorted(table.salvage(DamagedDatabase(*files)), key=lambda one: one.id)
    assert (found, table.count, table.lost) == ([make_delivery(1, body="[]"), make_delivery(2)], 2, 3)
