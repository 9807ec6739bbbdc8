"""The store: whole changes or none, numbers that count by one, and files that are damaged, old or new."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sidecar_parts import NOW

from waiter.errors import ConfigurationError
from waiter.sidecar import store as room
from waiter.sidecar.model import Status, Transition, Wait
from waiter.sidecar.store import Change, Happening, Store

WAIT = Wait(
    id="a",
    accepted_at=NOW,
    status=Status.FAILED,
    task={"id": "a", "state": "ERROR"},
    created_resources={"instances": ["i"], "projects": [7]},
    transitions=(Transition("2027-01-15T08:00:00.000Z", "ERROR"),),
    error="no host",
    ended_at=NOW + 5,
    born=NOW - 3,
)


def changes(*names: str) -> Change:
    return Change(events=[Happening(name, b"{}") for name in names])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def test_a_wait_comes_back_as_it_was(tmp_path: Path) -> None:
    """What was written before the process ended is read by the next one."""
    store = Store(tmp_path)
    store.apply([Change(waits=[Wait(id="b", accepted_at=NOW + 1), WAIT])])
    store.close()
    again = Store(tmp_path)
    found = again.waits()
    again.close()
    assert found == [WAIT, Wait(id="b", accepted_at=NOW + 1)]


def test_events_are_numbered_by_one_across_restarts(tmp_path: Path) -> None:
    """The first event of a new process follows the last of the old one."""
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


def test_a_bounded_number_of_events_is_kept(tmp_path: Path) -> None:
    """The oldest go first, and the numbers go on."""
    store = Store(tmp_path, kept_events=2)
    for _ in range(5):
        store.apply([changes("x")])
    found = store.events_after(0, 10)
    bounds = store.bounds()
    store.close()
    assert ([event.id for event in found], bounds) == ([4, 5], (3, 5))


def test_nothing_has_happened_in_a_new_store(store: Store) -> None:
    """No wait, no event, and number 1 comes next."""
    assert (store.waits(), store.bounds(), store.damage) == ([], (0, 0), None)


def test_changes_are_written_together_or_not_at_all(store: Store) -> None:
    """A fault in the second change takes back the first, and the numbers of its events with it."""
    store.apply([Change(waits=[WAIT])])
    broken = Change(deleted=["a"], events=[Happening("x", object())])  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        store.apply([changes("x"), broken])
    assert (store.waits(), store.bounds()) == ([WAIT], (0, 0))
    assert store.apply([Change(deleted=["a"]), changes("x")]) == [[], [(1, "x", b"{}")]]
    assert store.waits() == []


def test_a_full_disk_takes_nothing(store: Store) -> None:
    """The change is refused, and what was there is still there."""
    store.apply([Change(waits=[WAIT])])
    store._database.execute("PRAGMA max_page_count = 1")
    big = Wait(id="b", accepted_at=NOW, error="x" * 100_000)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.apply([Change(waits=[big])])
    assert store.waits() == [WAIT]


@pytest.mark.usefixtures("store")
def test_one_sidecar_has_one_directory(tmp_path: Path) -> None:
    """Who comes second is sent away."""
    with pytest.raises(ConfigurationError) as caught:
        Store(tmp_path)
    assert str(caught.value) == f"another sidecar uses the state directory {tmp_path}: give each its own"


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        Store(tmp_path / "file")
    assert str(caught.value) == f"cannot use the state directory {tmp_path / 'file'}: File exists"


@pytest.mark.parametrize("damage", ["no database", "a torn page"])
def test_a_damaged_database_is_moved_aside(tmp_path: Path, damage: str) -> None:
    """It is kept and named, and the new one starts with numbers that nobody has seen."""
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
    assert again.damage.startswith(f"{file} was damaged (")
    assert again.damage.endswith(") and is kept as waits.sqlite3.damaged-2; its waits are not known any more")
    assert (waits, forgotten, first.id) == ([], newest, newest + 1)
    assert newest > 1_600_000_000_000
    assert (tmp_path / "waits.sqlite3.damaged-2").exists()


def test_a_wait_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    """SQLite finds nothing wrong with the file, but what is in it is no wait."""
    store = Store(tmp_path)
    store._database.execute("INSERT INTO waits VALUES ('a', '{\"id\": 5}')")
    store.close()
    again = Store(tmp_path)
    again.close()
    assert again.damage is not None
    assert "waits.sqlite3 was damaged (Expected `str`, got `int` - at `$.id`)" in again.damage


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    """Its waits are kept, and what it did not have is there."""
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


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    """A waiter that does not know its format says so and touches nothing."""
    Store(tmp_path).close()
    new = sqlite3.connect(tmp_path / "waits.sqlite3")
    new.execute("PRAGMA user_version = 99")
    new.close()
    with pytest.raises(ConfigurationError, match=r"was written by a newer waiter \(format 99, this one knows 2\)"):
        Store(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "waits.sqlite3"]


def test_a_database_that_is_in_use_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody looks into it with another program."""
    Store(tmp_path).close()
    monkeypatch.setattr(room, "BUSY_TIMEOUT", 0.01)
    other = sqlite3.connect(tmp_path / "waits.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigurationError, match=r"cannot use .*waits\.sqlite3: database is locked"):
        Store(tmp_path)
    other.close()


def test_a_full_disk_does_not_keep_a_sidecar_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to migrate, nothing is written."""
    Store(tmp_path).close()
    monkeypatch.setattr(room, "_transaction", None)
    Store(tmp_path).close()
