"""A table of sealed documents of one type, which can also be salvaged from the bytes of a damaged database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from waiter.sidecar.model import Delivery, Wait
from waiter.sidecar.storage.pages import DamagedDatabase
from waiter.sidecar.storage.salvage import Document, find_documents, seal, unseal

Kind = TypeVar("Kind", bound=Wait | Delivery)


class DocumentTable(Generic[Kind]):
    """Documents with an ``id``, each in one row.

    The number of each row is kept in memory, because a damaged index would hide rows. ``count`` is the number of documents and
    ``lost`` that of those which could not be read; both are as of the last ``read`` or ``salvage``.
    """

    def __init__(self, name: str, kind: type[Kind], magic: bytes) -> None:
        self._name = name
        self._kind = kind
        self._magic = magic
        self._numbers: dict[str, int] = {}
        self._next_number = 1
        self._revision = time.time_ns()
        self.count = self.lost = 0

    def read(self, database: sqlite3.Connection) -> list[Kind]:
        """Return all documents. Raises sqlite3.DatabaseError."""
        found: dict[str, tuple[int, Kind]] = {}
        self.lost = 0
        for number, sealed in database.execute(f"SELECT number, document FROM {self._name} ORDER BY number"):  # noqa: S608 - constant
            try:
                document = msgspec.json.decode(unseal(sealed, self._magic).content, type=self._kind)
            except (ValueError, TypeError):
                self.lost += 1
            else:
                found[document.id] = number, document
        self._numbers = {document_id: number for document_id, (number, _) in found.items()}
        self._next_number = max(self._numbers.values(), default=0) + 1
        self.count = len(found)
        return [document for _, document in found.values()]

    def delete_damaged(self, database: sqlite3.Connection) -> None:
        """Delete the rows that ``read`` could not read. Raises sqlite3.DatabaseError."""
        readable = set(self._numbers.values())
        numbers = [row for row in database.execute(f"SELECT number FROM {self._name}") if row[0] not in readable]  # noqa: S608
        database.executemany(f"DELETE FROM {self._name} WHERE number = ?", numbers)  # noqa: S608

    def salvage(self, damaged: DamagedDatabase) -> list[Kind]:
        """Return the documents that are readable in a damaged database, in no order."""
        newest: dict[str, tuple[int, Kind]] = {}
        self.lost = 0
        for found in find_documents(damaged, self._magic):
            try:
                document = msgspec.json.decode(found.content, type=self._kind) if found else None
            except ValueError:
                document = None
            if found is None or document is None:
                self.lost += 1
            elif document.id not in newest or newest[document.id][0] < found.revision:
                newest[document.id] = found.revision, document
        self.count = len(newest)
        return [document for _, document in newest.values()]

    def write(self, cursor: sqlite3.Cursor, documents: Iterable[Kind]) -> None:
        """Insert documents, or replace those with the same ID. Raises sqlite3.Error."""
        # Numbers are never used again, so that a transaction that is rolled back needs no other care.
        rows = [(self._number_of(document.id), self._seal(msgspec.json.encode(document))) for document in documents]
        cursor.executemany(f"INSERT OR REPLACE INTO {self._name} VALUES (?, ?)", rows)  # noqa: S608

    def delete(self, cursor: sqlite3.Cursor, ids: Iterable[str]) -> None:
        """Delete documents, if there are any with these IDs. Raises sqlite3.Error."""
        rows = [(self._number_of(document_id),) for document_id in ids]
        cursor.executemany(f"DELETE FROM {self._name} WHERE number = ?", rows)  # noqa: S608

    def forget(self, ids: Iterable[str]) -> None:
        """Forget the numbers of deleted documents, once the deletion is committed."""
        for document_id in ids:
            self._numbers.pop(document_id, None)

    def _number_of(self, document_id: str) -> int:
        if document_id not in self._numbers:
            self._numbers[document_id] = self._next_number
            self._next_number += 1
        return self._numbers[document_id]

    def _seal(self, content: bytes) -> bytes:
        # Revisions increase also when the clock is set back.
        self._revision = max(self._revision + 1, time.time_ns())
        return seal(Document(self._revision, content), self._magic)
