"""Waits and events on disk: one SQLite file that one process holds, and that outlives it whatever ends it."""

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

KEPT_EVENTS = 10_000
BUSY_TIMEOUT = 5.0
FILE = "waits.sqlite3"

# Each brings a database from the version of its index to the next one. Never edit one that was released: add one.
MIGRATIONS = (
    "CREATE TABLE waits (id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: the ID of an event that was pruned is never given again.
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, data BLOB NOT NULL)",
)


class Happening(NamedTuple):
    """An event that is not numbered yet; ``data`` is JSON."""

    name: str
    data: bytes


class StoredEvent(NamedTuple):
    """An event of the stream."""

    id: int
    name: str
    data: bytes


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to disk together, or not at all."""

    waits: Sequence[Wait] = ()
    deleted: Sequence[str] = ()
    events: Sequence[Happening] = ()


class Store:
    """The database of a state directory; raises ConfigurationError when it cannot be had.

    ``damage`` says what was wrong with a database that was moved aside, or is None.
    """

    def __init__(self, directory: Path, *, kept_events: int = KEPT_EVENTS) -> None:
        self._path = directory / FILE
        self._kept_events = kept_events
        self._lock = _lock(directory)
        self.damage: str | None = None
        try:
            self._database = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            return _opened(self._path)
        except sqlite3.DatabaseError as error:
            # Its subclasses tell of the disk or of us; only the class itself tells of the file.
            if type(error) is not sqlite3.DatabaseError:
                message = f"cannot use {self._path}: {error}"
                raise ConfigurationError(message) from error
            aside = _moved_aside(self._path)
            self.damage = f"{self._path} was damaged ({error}) and is kept as {aside.name}; its waits are not known any more"
        database = _opened(self._path)
        # A client that comes back with the number of a lost event must not meet another event of that number.
        number = time.time_ns() // 1_000_000
        database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", [number])
        return database

    def apply(self, changes: Iterable[Change]) -> list[list[StoredEvent]]:
        """Write all of the changes, or none, and give the events of each with their numbers; raises sqlite3.Error."""
        with _transaction(self._database) as run:
            written = [self._write(change, run) for change in changes]
            run.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", [self._kept_events])
        return written

    def _write(self, change: Change, run: sqlite3.Cursor) -> list[StoredEvent]:
        rows = [(wait.id, msgspec.json.encode(wait)) for wait in change.waits]
        run.executemany("INSERT OR REPLACE INTO waits VALUES (?, ?)", rows)
        run.executemany("DELETE FROM waits WHERE id = ?", [(wait_id,) for wait_id in change.deleted])
        return [StoredEvent(_insert(run, happening), *happening) for happening in change.events]

    def waits(self) -> list[Wait]:
        """Read all waits, in the order in which they were accepted."""
        return _waits_in(self._database)

    def events_after(self, number: int, limit: int) -> list[StoredEvent]:
        """Read the next events after a number, as far as they are kept."""
        rows = self._database.execute("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", [number, limit])
        return [StoredEvent(*row) for row in rows]

    def bounds(self) -> tuple[int, int]:
        """Give the number of the last event that is kept no longer, and that of the newest."""
        (newest,) = self._database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        (oldest,) = self._database.execute("SELECT min(id) FROM events").fetchone()
        return (newest if oldest is None else oldest - 1), newest

    def close(self) -> None:
        """Close the database and let another process have it."""
        self._database.close()
        os.close(self._lock)


def _insert(run: sqlite3.Cursor, happening: Happening) -> int:
    run.execute("INSERT INTO events (name, data) VALUES (?, ?)", happening)
    assert run.lastrowid is not None  # noqa: S101 - an INSERT has just succeeded
    return run.lastrowid


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    with closing(database.cursor()) as run:
        run.execute("BEGIN IMMEDIATE")
        try:
            yield run
            run.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite has sometimes rolled back already.
            if database.in_transaction:
                run.execute("ROLLBACK")
            raise


def _lock(directory: Path) -> int:
    """Hold the directory for this process: the kernel lets go when it ends, however it ends."""
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
        message = f"another sidecar uses the state directory {directory}: give each its own"
        raise ConfigurationError(message) from error
    return lock


def _opened(path: Path) -> sqlite3.Connection:
    # Opened in one thread and used in another, never in two at once.
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _set_up(database, path)
        _waits_in(database)
    except msgspec.DecodeError as error:
        database.close()
        raise sqlite3.DatabaseError(str(error)) from error
    except BaseException:
        database.close()
        raise
    return database


def _set_up(database: sqlite3.Connection, path: Path) -> None:
    # Exclusive before WAL: no shared memory, which some volumes cannot map. FULL: what was answered survives a power cut too.
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {pragma}")
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        message = f"{path} was written by a newer waiter (format {version}, this one knows {len(MIGRATIONS)})"
        raise ConfigurationError(message)
    if version == len(MIGRATIONS):
        return  # without a write: a sidecar starts on a full disk too
    with _transaction(database) as run:
        for migration in MIGRATIONS[version:]:
            run.execute(migration)
        run.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _waits_in(database: sqlite3.Connection) -> list[Wait]:
    rows = database.execute("SELECT document FROM waits")
    waits = [msgspec.json.decode(document, type=Wait) for (document,) in rows]
    return sorted(waits, key=lambda wait: wait.accepted_at)


def _moved_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{suffix}")).exists():
            part.rename(f"{aside}{suffix}")
    return aside
