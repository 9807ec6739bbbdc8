"""The database of the sidecar: one SQLite file, locked by one process, that survives a crash at any time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from waiter.errors import ConfigurationError
from waiter.sidecar.model import Wait

MAX_EVENTS = 10_000
BUSY_TIMEOUT = 5.0
FILE_NAME = "waits.sqlite3"

# Each statement upgrades a database from the version of its index to the next one. Never edit a released one: append.
MIGRATIONS = (
    "CREATE TABLE waits (id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: the ID of a pruned event is never used again.
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, data BLOB NOT NULL)",
)


class NewEvent(NamedTuple):
    """An event without a number yet; ``data`` is JSON."""

    name: str
    data: bytes


class StoredEvent(NamedTuple):
    """A numbered event of the stream."""

    id: int
    name: str
    data: bytes


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are written in one transaction."""

    waits: Sequence[Wait] = ()
    deleted: Sequence[str] = ()
    events: Sequence[NewEvent] = ()


class Store:
    """The database of a state directory; raises ConfigurationError when it cannot be opened.

    ``damage`` describes a damaged database that was moved aside, or is None.
    """

    def __init__(self, directory: Path, *, max_events: int = MAX_EVENTS) -> None:
        self._path = directory / FILE_NAME
        self._max_events = max_events
        self._lock = _lock(directory)
        self.damage: str | None = None
        try:
            self._database = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            return _open_database(self._path)
        except sqlite3.DatabaseError as error:
            # Subclasses report the disk or a wrong statement; only the class itself reports a damaged file.
            if type(error) is not sqlite3.DatabaseError:
                message = f"cannot use {self._path}: {error}"
                raise ConfigurationError(message) from error
            aside = _move_aside(self._path)
            self.damage = f"{self._path} is damaged ({error}) and was renamed to {aside.name}; its waits are lost"
        database = _open_database(self._path)
        # A client that reconnects with the number of a lost event must not receive another event of that number.
        number = time.time_ns() // 1_000_000
        database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", [number])
        return database

    def apply(self, changes: Iterable[Change]) -> list[list[StoredEvent]]:
        """Write all changes or none, and return the numbered events of each; raises sqlite3.Error."""
        with _transaction(self._database) as cursor:
            written = [self._write(change, cursor) for change in changes]
            cursor.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", [self._max_events])
        return written

    def _write(self, change: Change, cursor: sqlite3.Cursor) -> list[StoredEvent]:
        rows = [(wait.id, msgspec.json.encode(wait)) for wait in change.waits]
        cursor.executemany("INSERT OR REPLACE INTO waits VALUES (?, ?)", rows)
        cursor.executemany("DELETE FROM waits WHERE id = ?", [(wait_id,) for wait_id in change.deleted])
        return [StoredEvent(_insert(cursor, event), *event) for event in change.events]

    def waits(self) -> list[Wait]:
        """Return all waits in the order of their acceptance."""
        return _read_waits(self._database)

    def events_after(self, number: int, limit: int) -> list[StoredEvent]:
        """Return the next stored events after a number."""
        rows = self._database.execute("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", [number, limit])
        return [StoredEvent(*row) for row in rows]

    def bounds(self) -> tuple[int, int]:
        """Return the number of the last event that is no longer stored, and that of the newest event."""
        (newest,) = self._database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        (oldest,) = self._database.execute("SELECT min(id) FROM events").fetchone()
        return (newest if oldest is None else oldest - 1), newest

    def close(self) -> None:
        """Close the database and release the lock on the directory."""
        self._database.close()
        os.close(self._lock)


def _insert(cursor: sqlite3.Cursor, event: NewEvent) -> int:
    cursor.execute("INSERT INTO events (name, data) VALUES (?, ?)", event)
    assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has just succeeded
    return cursor.lastrowid


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    with closing(database.cursor()) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite may have rolled back already.
            if database.in_transaction:
                cursor.execute("ROLLBACK")
            raise


def _lock(directory: Path) -> int:
    """Lock the directory for this process; the kernel releases the lock when the process ends for any reason."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot use the state directory {directory}: {error.strerror}"
        raise ConfigurationError(message) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        message = f"the state directory {directory} is used by another sidecar: each sidecar needs its own directory"
        raise ConfigurationError(message) from error
    return lock


def _open_database(path: Path) -> sqlite3.Connection:
    # Opened in one thread and used in another, never in two at the same time.
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _set_up(database, path)
        _read_waits(database)
    except msgspec.DecodeError as error:
        database.close()
        raise sqlite3.DatabaseError(str(error)) from error
    except BaseException:
        database.close()
        raise
    return database


def _set_up(database: sqlite3.Connection, path: Path) -> None:
    # EXCLUSIVE before WAL avoids shared memory, which some volumes cannot map. FULL: a commit survives a power cut.
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {pragma}")
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        message = f"{path} was written by a newer waiter (format {version}, this one supports {len(MIGRATIONS)})"
        raise ConfigurationError(message)
    if version == len(MIGRATIONS):
        return  # without a write: a sidecar starts on a full disk too
    with _transaction(database) as cursor:
        for migration in MIGRATIONS[version:]:
            cursor.execute(migration)
        cursor.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _read_waits(database: sqlite3.Connection) -> list[Wait]:
    rows = database.execute("SELECT document FROM waits")
    waits = [msgspec.json.decode(document, type=Wait) for (document,) in rows]
    return sorted(waits, key=lambda wait: wait.accepted_at)


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{suffix}")).exists():
            part.rename(f"{aside}{suffix}")
    return aside
