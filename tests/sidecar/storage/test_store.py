"""The store: atomic changes, consecutive event numbers, and damaged, old and new files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sidecar_parts import NOW

from waiter.errors import ConfigurationError
from waiter.sidecar.model import Status, Transition, Wait
from waiter.sidecar.storage import store as store_module
from waiter.sidecar.storage.store import Change, NewEvent, Store

WAIT = Wait(
    id="a",
    accepted_at=NOW,
    status=Status.FAILED,
    task={"id": "a", "state": "ERROR"},
    created_resources={"instances": ["i"], "projects": [7]},
    transitions=(Transition("2027-01-15T08:00:00.000Z", "ERROR"),),
    error="no host",
    ended_at=NOW + 5,
    task_created_at=NOW - 3,
)


def changes(*names: str) -> Change:
    return Change(events=[NewEvent(name, b"{}") for name in names])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def test_wait_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A second store on the directory reads the same waits."""
    store = Store(tmp_path)
    store.apply([Change(waits=[Wait(id="b", accepted_at=NOW + 1), WAIT])])
    store.close()
    again = Store(tmp_path)
    found = again.waits()
    again.close()
    assert found == [WAIT, Wait(id="b", accepted_at=NOW + 1)]


def test_event_numbers_continue_after_a_restart(tmp_path: Path) -> None:
    """The first event of the next process follows the last one of the previous process."""
    store = Store(tmp_path)
    first = store.apply([changes("x", "y"), changes(), changes("z")])
    store.close()
    again = Store(tmp_path)
    second = again.apply([changes("x")])
    found = again.events_after(1, 2)
    bounds = again.bounds()
    again.close()
    assert (first, second) == ([[(1, "x", b"{}"), (2, "y", b"{}")], [], [(3, "z", b"{}")]], [[(4, "x", b"{}")]])
    assert (found, bounds) == ([(2, "y", b"{}"), (3, "z", b"{}")], (0, 4))


def test_number_of_stored_events_is_limited(tmp_path: Path) -> None:
    """The oldest are deleted first, and their numbers are not used again."""
    store = Store(tmp_path, max_events=2)
    for _ in range(5):
        store.apply([changes("x")])
    found = store.events_after(0, 10)
    bounds = store.bounds()
    store.close()
    assert ([event.id for event in found], bounds) == ([4, 5], (3, 5))


def test_new_store_is_empty(store: Store) -> None:
    """It has no wait and no event, and the next number is 1."""
    assert (store.waits(), store.bounds(), store.damage) == ([], (0, 0), None)


def test_changes_are_written_together_or_not_at_all(store: Store) -> None:
    """A fault in the second change also rolls back the first, with its event numbers."""
    store.apply([Change(waits=[WAIT])])
    broken = Change(deleted=["a"], events=[NewEvent("x", object())])  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        store.apply([changes("x"), broken])
    assert (store.waits(), store.bounds()) == ([WAIT], (0, 0))
    assert store.apply([Change(deleted=["a"]), changes("x")]) == [[], [(1, "x", b"{}")]]
    assert store.waits() == []


def test_full_disk_rejects_a_change(store: Store) -> None:
    """The stored waits are not affected."""
    store.apply([Change(waits=[WAIT])])
    store._database.execute("PRAGMA max_page_count = 1")
    big = Wait(id="b", accepted_at=NOW, error="x" * 100_000)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.apply([Change(waits=[big])])
    assert store.waits() == [WAIT]


@pytest.mark.usefixtures("store")
def test_directory_is_locked(tmp_path: Path) -> None:
    """A second store on it is refused."""
    with pytest.raises(ConfigurationError) as caught:
        Store(tmp_path)
    assert str(caught.value) == (
        f"the state directory {tmp_path} is used by another sidecar: each sidecar needs its own directory"
    )


def test_unusable_directory_is_named(tmp_path: Path) -> None:
    """There is a file at its path."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        Store(tmp_path / "file")
    assert str(caught.value) == f"cannot use the state directory {tmp_path / 'file'}: File exists"


@pytest.mark.parametrize("damage", ["no database", "a torn page"])
def test_damaged_database_is_moved_aside(tmp_path: Path, damage: str) -> None:
    """The old file is kept and named; the new one starts with unused event numbers."""
    store = Store(tmp_path)
    store.apply([Change(waits=[Wait(id=f"{number}", accepted_at=NOW, error="x" * 2000) for number in range(50)])])
    store.close()
    file = tmp_path / "waits.sqlite3"
    content = file.read_bytes()
    torn = content[:8192] + b"\xa5" * 8192 + content[16384:]
    file.write_bytes(b"not a database at all" * 100 if damage == "no database" else torn)
    (tmp_path / "waits.sqlite3.damaged-1").touch()
    again = Store(tmp_path)
    (forgotten, newest), waits = again.bounds(), again.waits()
    ((first,),) = again.apply([changes("x")])
    again.close()
    assert again.damage is not None
    assert again.damage.startswith(f"{file} is damaged (")
    assert again.damage.endswith(") and was renamed to waits.sqlite3.damaged-2; its waits are lost")
    assert (waits, forgotten, first.id) == ([], newest, newest + 1)
    assert newest > 1_600_000_000_000
    assert (tmp_path / "waits.sqlite3.damaged-2").exists()


def test_unreadable_wait_is_damage(tmp_path: Path) -> None:
    """The file is sound for SQLite, but a document in it is not a wait."""
    store = Store(tmp_path)
    store._database.execute("INSERT INTO waits VALUES ('a', '{\"id\": 5}')")
    store.close()
    again = Store(tmp_path)
    again.close()
    assert again.damage is not None
    assert "waits.sqlite3 is damaged (Expected `str`, got `int` - at `$.id`)" in again.damage


def test_older_database_is_migrated(tmp_path: Path) -> None:
    """Its waits are kept, and missing tables are created."""
    store = Store(tmp_path)
    store.apply([Change(waits=[WAIT])])
    store.close()
    old = sqlite3.connect(tmp_path / "waits.sqlite3")
    old.executescript("DROP TABLE events; PRAGMA user_version = 1")
    old.close()
    again = Store(tmp_path)
    waits, written = again.waits(), again.apply([changes("x")])
    again.close()
    assert (waits, written, again.damage) == ([WAIT], [[(1, "x", b"{}")]], None)


def test_newer_database_is_refused(tmp_path: Path) -> None:
    """The error names both formats, and no file changes."""
    Store(tmp_path).close()
    new = sqlite3.connect(tmp_path / "waits.sqlite3")
    new.execute("PRAGMA user_version = 99")
    new.close()
    with pytest.raises(ConfigurationError, match=r"was written by a newer waiter \(format 99, this one supports 2\)"):
        Store(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "waits.sqlite3"]


def test_locked_database_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has it open."""
    Store(tmp_path).close()
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.01)
    other = sqlite3.connect(tmp_path / "waits.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigurationError, match=r"cannot use .*waits\.sqlite3: database is locked"):
        Store(tmp_path)
    other.close()


def test_opening_a_current_database_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the sidecar starts on a full disk too."""
    Store(tmp_path).close()
    monkeypatch.setattr(store_module, "_transaction", None)
    Store(tmp_path).close()
