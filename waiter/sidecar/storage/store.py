"""The database of the sidecar: one SQLite file, locked by one process, that survives a crash at any time."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from waiter.errors import ConfigurationError
from waiter.sidecar.model import Delivery, Wait
from waiter.sidecar.storage.documents import DocumentTable
from waiter.sidecar.storage.event_log import (
    INSERT,
    NewEvent,
    StoredEvent,
    event_of,
    repair_events,
    row_of,
    salvage_events,
    seal_event,
)
from waiter.sidecar.storage.pages import PAGE_SIZE, DamagedDatabase
from waiter.sidecar.storage.salvage import DELIVERY, WAIT, Document, seal
from waiter.sidecar.storage.state_directory import StateDirectory, StateLostError, is_same_file, sync_directory

MAX_EVENTS = 10_000
BUSY_TIMEOUT = 5.0
FILE_NAME = "waits.sqlite3"

# Each statement upgrades a database from the version of its index to the next one. Never edit a released one: append.
MIGRATIONS = (
    "CREATE TABLE waits (id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: the ID of a pruned event is never used again.
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, data BLOB NOT NULL)",
    # No index: a damaged index would hide rows. The store knows the number of each wait.
    "CREATE TABLE documents (number INTEGER PRIMARY KEY, document BLOB NOT NULL)",
    "INSERT INTO documents (document) SELECT seal(document) FROM waits",
    "DROP TABLE waits",
    "CREATE TABLE sealed_events (id INTEGER PRIMARY KEY AUTOINCREMENT, document BLOB NOT NULL)",
    "INSERT INTO sealed_events SELECT id, seal_event(id, name, data) FROM events",
    "DELETE FROM sqlite_sequence WHERE name = 'sealed_events'",
    "UPDATE sqlite_sequence SET name = 'sealed_events' WHERE name = 'events'",
    "DROP TABLE events",
    "CREATE TABLE deliveries (number INTEGER PRIMARY KEY, document BLOB NOT NULL)",
)
TABLES = {"documents", "sealed_events", "deliveries"}
# https://www.sqlite.org/fileformat.html, 1.3.3: the place of the write version in the header, and the version of WAL.
_WRITE_VERSION, _WAL_VERSION = 18, 2


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are written in one transaction.

    ``deleted`` are the IDs of waits, ``delivered`` those of deliveries that are no longer pending.
    """

    waits: Sequence[Wait] = ()
    deleted: Sequence[str] = ()
    deliveries: Sequence[Delivery] = ()
    delivered: Sequence[str] = ()
    events: Sequence[NewEvent] = ()


class Store:
    """The database of a state directory; raises ConfigurationError when it cannot be opened.

    ``damage`` describes what was damaged when it was opened, or is None; ``lost``, ``lost_events`` and ``lost_deliveries`` are
    the numbers of waits, events and deliveries that could not be read. ``first_event`` precedes the number of the first event
    of a new database; by default it is derived from the time, so that a client that reconnects after the loss of a database
    never meets the number of an event that it knows. ``times_restored`` counts how often ``ensure_in_place``
    had something to do.
    """

    def __init__(self, directory: Path, *, max_events: int = MAX_EVENTS, first_event: int | None = None) -> None:
        self._path = directory / FILE_NAME
        self._max_events = max_events
        self._first_event = time.time_ns() // 1_000_000 if first_event is None else first_event
        self._waits = DocumentTable("documents", Wait, WAIT)
        self._deliveries = DocumentTable("deliveries", Delivery, DELIVERY)
        self._directory = StateDirectory(directory)
        self.damage: str | None = None
        self.lost_events = self.times_restored = 0
        try:
            self._database = self._open()
            self._file = self._path.stat()
        except BaseException:
            self._directory.close()
            raise
        self.lost, self.lost_deliveries = self._waits.lost, self._deliveries.lost

    def _open(self) -> sqlite3.Connection:
        try:
            _check_log(self._path)
            database = _open_database(self._path, self._first_event)
            with _closed_on_error(database):
                self._waits.read(database)
                self._deliveries.read(database)
                self.lost_events = repair_events(database)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # Subclasses report the disk or a wrong statement; only the class itself reports a damaged file. Its message may
            # quote damaged text, which sqlite3 fails to decode.
            if type(error) not in {sqlite3.DatabaseError, UnicodeDecodeError}:
                message = f"cannot use {self._path}: {error}"
                raise ConfigurationError(message) from error
            return self._salvage(error)
        if self._waits.lost or self._deliveries.lost or self.lost_events:
            waits = f"{self._waits.lost} of {self._waits.lost + self._waits.count} waits"
            lost = f"{waits}, {self.lost_events} events and {self._deliveries.lost} webhooks"
            self.damage = f"{lost} in {self._path} cannot be read and are lost"
            with suppress(sqlite3.OperationalError):  # a full disk: they are found again at the next start
                self._waits.delete_damaged(database)
                self._deliveries.delete_damaged(database)
        return database

    def _salvage(self, error: Exception) -> sqlite3.Connection:
        """Move the damaged database aside, and write what is readable in it to a new one."""
        aside = _move_aside(self._path)
        damaged = DamagedDatabase(_read(aside), _read(Path(f"{aside}-wal")))
        waits = sorted(self._waits.salvage(damaged), key=lambda wait: wait.accepted_at)
        deliveries = self._deliveries.salvage(damaged)
        first_event = time.time_ns() // 1_000_000
        events, self.lost_events = salvage_events(damaged, first_event)
        recovered = f"{len(waits)} waits, {len(events)} events and {len(deliveries)} webhooks were recovered"
        self.damage = f"{self._path} is damaged ({error}) and was renamed to {aside.name}; {recovered}"
        database = _open_database(self._path, first_event)
        with _transaction(database) as cursor:
            self._write(Change(waits=waits, deliveries=deliveries), cursor)
            cursor.executemany(INSERT, map(row_of, events))
        return database

    def ensure_in_place(self) -> bool:
        """Return whether the directory or the database was deleted or replaced, and is now locked and written anew.

        Raises StateLostError when that is not possible, also when there is another database now: a sidecar may have started on
        the directory meanwhile.
        """
        if self._directory.is_locked() and is_same_file(self._path, self._file):
            return False
        try:
            if not self._directory.is_locked():
                self._directory.lock_again()
            if not is_same_file(self._path, self._file):
                self._write_anew()
        except (ConfigurationError, OSError, sqlite3.Error) as error:
            message = f"the state directory was deleted or replaced: {error}"
            raise StateLostError(message) from error
        self.times_restored += 1
        return True

    def _write_anew(self) -> None:
        """Copy the database, which stays readable while it is open, to its path. Raises OSError or sqlite3.Error."""
        if self._path.exists():
            message = f"another database is at {self._path}"
            raise FileExistsError(message)
        part = self._path.with_name(f"{FILE_NAME}.new")
        part.unlink(missing_ok=True)
        _make_private(part)
        with closing(sqlite3.connect(part)) as copy:
            self._database.backup(copy)
        Path(f"{self._path}-wal").unlink(missing_ok=True)  # SQLite would apply it to the copy
        part.rename(self._path)
        sync_directory(self._path.parent)
        database = _open_database(self._path, 0)
        # SQLite leaves files at the path alone while it closes a database that is no longer there.
        self._database.close()
        self._database, self._file = database, self._path.stat()

    def apply(self, changes: Iterable[Change]) -> list[list[StoredEvent]]:
        """Write all changes or none, and return the numbered events of each; raises sqlite3.Error."""
        changes = list(changes)
        with _transaction(self._database) as cursor:
            written = [self._write(change, cursor) for change in changes]
            cursor.execute("DELETE FROM sealed_events WHERE id <= (SELECT max(id) FROM sealed_events) - ?", [self._max_events])
        self._forget_deleted(changes)
        return written

    def _forget_deleted(self, changes: Iterable[Change]) -> None:
        waits: set[str] = set()
        deliveries: set[str] = set()
        for change in changes:
            waits = waits.union(change.deleted) - {wait.id for wait in change.waits}
            deliveries = deliveries.union(change.delivered) - {delivery.id for delivery in change.deliveries}
        self._waits.forget(waits)
        self._deliveries.forget(deliveries)

    def _write(self, change: Change, cursor: sqlite3.Cursor) -> list[StoredEvent]:
        self._waits.write(cursor, change.waits)
        self._waits.delete(cursor, change.deleted)
        self._deliveries.write(cursor, change.deliveries)
        self._deliveries.delete(cursor, change.delivered)
        newest = _newest_event(cursor) if change.events else 0
        events = [StoredEvent(newest + number, *event) for number, event in enumerate(change.events, start=1)]
        cursor.executemany(INSERT, map(row_of, events))
        return events

    def waits(self) -> list[Wait]:
        """Return all waits in the order of their acceptance."""
        return sorted(self._waits.read(self._database), key=lambda wait: wait.accepted_at)

    def deliveries(self) -> list[Delivery]:
        """Return the pending deliveries in the order in which they were written."""
        return self._deliveries.read(self._database)

    def events_after(self, number: int, limit: int) -> list[StoredEvent]:
        """Return the next stored events after a number."""
        rows = self._database.execute("SELECT * FROM sealed_events WHERE id > ? ORDER BY id LIMIT ?", [number, limit])
        return [event_of(*row) for row in rows]

    def bounds(self) -> tuple[int, int]:
        """Return the number of the last event that is no longer stored, and that of the newest event."""
        newest = _newest_event(self._database)
        (oldest,) = self._database.execute("SELECT min(id) FROM sealed_events").fetchone()
        return (newest if oldest is None else oldest - 1), newest

    def size(self) -> int:
        """Return the size of the database with its write-ahead log, in bytes."""
        parts = (self._path, Path(f"{self._path}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def close(self) -> None:
        """Close the database and release the lock on the directory."""
        self._database.close()
        self._directory.close()


def _newest_event(database: sqlite3.Connection | sqlite3.Cursor) -> int:
    # The row of the sequence has no checksum, so that it counts only before the first event.
    (newest,) = database.execute(
        "SELECT coalesce("
        "(SELECT max(id) FROM sealed_events), (SELECT seq FROM sqlite_sequence WHERE name = 'sealed_events'), 0)"
    ).fetchone()
    return int(newest)


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


def _open_database(path: Path, first_event: int) -> sqlite3.Connection:
    # Opened in one thread and used in another, never in two at the same time.
    _make_private(path)
    _check_writable(path)
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    with _closed_on_error(database):
        _set_up(database, path, first_event)
    return database


@contextmanager
def _closed_on_error(database: sqlite3.Connection) -> Iterator[None]:
    """Close the database if the block raises. It may be renamed next, and SQLite deletes a log by the name that it opened."""
    try:
        yield
    except BaseException:
        database.close()
        raise


def _make_private(path: Path) -> None:
    """Create the file, readable by its owner only; SQLite gives its other files the same mode."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot use {path}: {error.strerror}"
        raise ConfigurationError(message) from error
    with suppress(PermissionError):  # a file of another user on a volume
        os.fchmod(file, 0o600)
    os.close(file)


def _check_log(path: Path) -> None:
    """Raise DatabaseError for a damaged write-ahead log, of which SQLite would silently ignore a part.

    Raises ConfigurationError when it cannot be read.
    """
    log = Path(f"{path}-wal")
    try:
        is_damaged = DamagedDatabase(b"", _read(log)).is_log_damaged()
    except OSError as error:
        message = f"cannot use {log}: {error.strerror}"
        raise ConfigurationError(message) from error
    if is_damaged:
        message = "its log has a wrong checksum"
        raise sqlite3.DatabaseError(message)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _check_writable(path: Path) -> None:
    """Raise DatabaseError for a header by which SQLite would open the file only for reading: every later write would fail.

    The file must not be open in SQLite: closing it here would release SQLite's locks.
    """
    with path.open("rb") as file:
        header = file.read(_WRITE_VERSION + 1)
    if len(header) > _WRITE_VERSION and header[_WRITE_VERSION] > _WAL_VERSION:
        message = "the header demands a newer SQLite"
        raise sqlite3.DatabaseError(message)


def _set_up(database: sqlite3.Connection, path: Path, first_event: int) -> None:
    # EXCLUSIVE before WAL avoids shared memory, which some volumes cannot map. FULL: a commit survives a power cut.
    for pragma in (f"page_size = {PAGE_SIZE}", "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {pragma}")
    # The last transaction is at the end of the file, also after the log was emptied: damage to it is not taken for the end.
    database.execute("PRAGMA journal_size_limit = 0")
    database.execute("PRAGMA secure_delete = ON")  # so that a deleted wait is never salvaged
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (copy,) = database.execute("PRAGMA application_id").fetchone()
    if copy != version and (copy or version > len(MIGRATIONS)):
        message = f"two versions: {version} and {copy}"
        raise sqlite3.DatabaseError(message)
    if version > len(MIGRATIONS):
        message = f"{path} was written by a newer waiter (format {version}, this one supports {len(MIGRATIONS)})"
        raise ConfigurationError(message)
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version == len(MIGRATIONS):
        if missing := TABLES - tables:
            message = f"no table {', '.join(sorted(missing))}"
            raise sqlite3.DatabaseError(message)
        return  # without a write: a sidecar starts on a full disk too
    database.create_function("seal", 1, lambda document: seal(Document(0, document)), deterministic=True)
    database.create_function("seal_event", 3, seal_event, deterministic=True)
    with _transaction(database) as cursor:
        for migration in MIGRATIONS[version:]:
            cursor.execute(migration)
        if not version:
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('sealed_events', ?)", [first_event])
        for pragma in ("user_version", "application_id"):  # the version twice, so that damage to it is found
            cursor.execute(f"PRAGMA {pragma} = {len(MIGRATIONS)}")


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{suffix}")).exists():
            part.rename(f"{aside}{suffix}")
    return aside
