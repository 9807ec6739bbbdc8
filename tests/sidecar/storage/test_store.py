"""The store: atomic changes, consecutive event numbers, and damaged, old and new files."""

from __future__ import annotations

import random
import re
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sidecar_parts import NOW, Report
from webhook_parts import make_delivery

from waiter.errors import ConfigurationError
from waiter.outcome import WaitStatus
from waiter.sidecar.model import Transition, Wait
from waiter.sidecar.storage import store as store_module
from waiter.sidecar.storage.event_log import NewEvent, StoredEvent, reset_event, row_of
from waiter.sidecar.storage.pages import PAGE_SIZE
from waiter.sidecar.storage.salvage import WAIT as WAIT_MAGIC
from waiter.sidecar.storage.salvage import Document, seal
from waiter.sidecar.storage.store import MIGRATIONS, Change, Store

WAIT = Wait(
    id="a",
    accepted_at=NOW,
    status=WaitStatus.FAILED,
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
    store = Store(tmp_path, first_event=0)
    yield store
    store.close()


def test_wait_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A second store on the directory reads the same waits."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(waits=[Wait(id="b", accepted_at=NOW + 1), WAIT])])
    store.close()
    again = Store(tmp_path, first_event=0)
    found = again.waits()
    again.close()
    assert found == [WAIT, Wait(id="b", accepted_at=NOW + 1)]


def test_event_numbers_continue_after_a_restart(tmp_path: Path) -> None:
    """The first event of the next process follows the last one of the previous process."""
    store = Store(tmp_path, first_event=0)
    first = store.apply([changes("x", "y"), changes(), changes("z")])
    store.close()
    again = Store(tmp_path, first_event=0)
    second = again.apply([changes("x")])
    found = again.events_after(1, 2)
    bounds = again.bounds()
    again.close()
    assert (first, second) == ([[(1, "x", b"{}"), (2, "y", b"{}")], [], [(3, "z", b"{}")]], [[(4, "x", b"{}")]])
    assert (found, bounds) == ([(2, "y", b"{}"), (3, "z", b"{}")], (0, 4))


def test_number_of_stored_events_is_limited(tmp_path: Path) -> None:
    """The oldest are deleted first, and their numbers are not used again."""
    store = Store(tmp_path, max_events=2, first_event=0)
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
    fails = "CREATE TEMP TRIGGER fails BEFORE DELETE ON documents BEGIN SELECT RAISE(ABORT, 'no'); END"
    store._database.execute(fails)
    with pytest.raises(sqlite3.Error):
        store.apply([changes("x"), Change(deleted=["a"])])
    store._database.execute("DROP TRIGGER fails")
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
        Store(tmp_path, first_event=0)
    assert str(caught.value) == (
        f"the state directory {tmp_path} is used by another sidecar: each sidecar needs its own directory"
    )


def test_unusable_directory_is_named(tmp_path: Path) -> None:
    """There is a file at its path."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        Store(tmp_path / "file")
    assert str(caught.value) == f"cannot use the state directory {tmp_path / 'file'}: File exists"


def fifty_waits() -> list[Wait]:
    return [Wait(id=f"{number}", accepted_at=NOW + number, error="x" * 200) for number in range(50)]


def test_first_event_number_is_derived_from_the_time(tmp_path: Path) -> None:
    """After the loss of a database no event has a number that was used before."""
    store = Store(tmp_path)
    (last_deleted, newest), ((first,),) = store.bounds(), store.apply([changes("x")])
    store.close()
    assert (last_deleted, newest, first.id) == (newest, newest, newest + 1)
    assert newest > 1_600_000_000_000


@pytest.mark.parametrize("damage", ["no database", "a torn page", "no table", "a newer version", "an older version"])
def test_damaged_database_is_moved_aside_and_salvaged(tmp_path: Path, damage: str) -> None:
    """The old file is kept and named; readable waits are in the new one, which starts with unused event numbers."""
    store = Store(tmp_path, first_event=0)
    ended = fifty_waits()[8].with_end(WaitStatus.FAILED, NOW)
    store.apply([Change(waits=fifty_waits()), Change(deleted=["7"]), Change(waits=[ended])])
    store.apply([Change(deliveries=[make_delivery(1), make_delivery(2)]), Change(delivered=["msg_2"])])
    if damage == "no table":
        store._database.execute("DROP TABLE sealed_events")
    if damage.endswith("version"):
        store._database.execute(f"PRAGMA user_version = {67 if damage == 'a newer version' else 3}")
    store.close()
    file = tmp_path / "waits.sqlite3"
    content = bytearray(file.read_bytes())
    if damage == "no database":
        content[:100] = b"x" * 100
    if damage == "a torn page":
        begin = content.index(WAIT_MAGIC) // PAGE_SIZE * PAGE_SIZE
        content[begin : begin + PAGE_SIZE // 2] = b"\xa5" * (PAGE_SIZE // 2)
    file.write_bytes(content)
    (tmp_path / "waits.sqlite3.damaged-1").touch()
    again = Store(tmp_path)
    (last_deleted, newest), waits = again.bounds(), {wait.id: wait for wait in again.waits()}
    deliveries = again.deliveries()
    ((first,),) = again.apply([changes("x")])
    again.close()
    assert again.damage is not None
    assert again.damage.startswith(f"{file} is damaged (")
    assert again.damage.endswith(
        f") and was renamed to waits.sqlite3.damaged-2; {len(waits)} waits, 0 events and 1 webhooks were recovered"
    )
    assert "7" not in waits
    assert deliveries == [make_delivery(1)]
    assert (10 < len(waits) < 49) if damage == "a torn page" else (len(waits), waits["8"]) == (49, ended)
    assert (last_deleted, first.id) == (newest, newest + 1)
    assert newest > 1_600_000_000_000
    assert (tmp_path / "waits.sqlite3.damaged-2").exists()
    third = Store(tmp_path)
    assert ({wait.id for wait in third.waits()}, third.damage) == (set(waits), None)
    third.close()


@pytest.mark.parametrize("is_closed", [True, False])
def test_documents_larger_than_a_page_are_salvaged(tmp_path: Path, is_closed: bool) -> None:
    """From the database, or from the write-ahead log of a process that was killed."""
    resources: dict[str, list[str | int]] = {"instances": [f"{number:036}" for number in range(5000)]}
    waits = [Wait(id=f"{n}", accepted_at=NOW + n, created_resources=resources) for n in range(3)]
    delivery, event = make_delivery(1, body="x" * 50_000), NewEvent("x", b'"%s"' % (b"x" * 50_000))
    store = Store(tmp_path / "first", first_event=0)
    store.apply([Change(waits=[wait]) for wait in waits])
    store.apply([Change(deliveries=[delivery], events=[event])])
    if is_closed:
        store.close()
    directory = tmp_path / "second"
    directory.mkdir()
    for part in (tmp_path / "first").glob("waits.sqlite3*"):
        (directory / part.name).write_bytes(part.read_bytes())
    if not is_closed:
        store.close()
    with (directory / "waits.sqlite3").open("r+b") as file:
        file.write(b"x" * 100)
    again = Store(directory)
    assert (again.waits(), again.deliveries()) == (waits, [delivery])
    assert again.events_after(0, 1) == [(1, *event)]
    assert (again.lost, again.lost_deliveries, again.lost_events) == (0, 0, 0)
    again.close()


@pytest.mark.parametrize(("name", "flips"), [("waits.sqlite3", 100), ("waits.sqlite3-wal", 40)])
def test_flipped_bit_costs_at_most_one_row(tmp_path: Path, report: Report, name: str, flips: int) -> None:
    """Wherever it is in the database, or in the write-ahead log of a process that was killed.

    What was lost is counted, and a reset stands for a lost event.
    """
    store = Store(tmp_path / "good", first_event=0)
    changes_of_waits = [Change(waits=[wait], events=[NewEvent("wait.accepted", b'{"task_id":"a"}')]) for wait in fifty_waits()]
    deliveries = [make_delivery(number) for number in range(50)]
    for start in range(0, 50, 5):
        store.apply([*changes_of_waits[start : start + 5], Change(deliveries=deliveries[start : start + 5])])
    files = {path.name: path.read_bytes() for path in (tmp_path / "good").glob("waits.sqlite3*")}
    store.close()
    if name == "waits.sqlite3":
        files = {name: (tmp_path / "good" / name).read_bytes()}
    chance = random.Random(16)
    lost: Counter[int] = Counter()
    for number in range(flips):
        directory = tmp_path / f"{number}"
        directory.mkdir()
        flipped = bytearray(files[name])
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        for file, content in (files | {name: flipped}).items():
            (directory / file).write_bytes(content)
        again = Store(directory)
        waits, events, found = again.waits(), again.events_after(0, 100), again.deliveries()
        (((new,),)) = again.apply([changes("x")])
        again.close()
        expected = {wait.id: wait for wait in fifty_waits()}
        sound = [event for event in events if event == (event.id, "wait.accepted", b'{"task_id":"a"}') and event.id <= 50]
        lost[150 - len(waits) - len(sound) - len(found)] += 1
        assert set(lost) <= {0, 1}
        assert found == [deliveries[int(one.id.removeprefix("msg_"))] for one in found]
        assert waits == [expected[wait.id] for wait in waits]
        assert {event.name for event in events if event not in sound} <= {"stream.reset"}
        assert new.id > events[-1].id
        assert again.damage is not None or (len(waits), len(events), len(found)) == (50, 50, 50)
    report(f"{flips} flipped bits in {name}: {lost[1]} cost one of 150 rows, {lost[0]} cost none")


def test_delivery_is_written_with_the_end_of_its_wait(tmp_path: Path) -> None:
    """Both or neither; it is kept until it is delivered, also when its wait is deleted."""
    store = Store(tmp_path, first_event=0)
    with pytest.raises(TypeError):
        store.apply([Change(waits=[WAIT], deliveries=[make_delivery(1)], events=[NewEvent("x", object())])])  # type: ignore[arg-type]
    assert (store.waits(), store.deliveries()) == ([], [])
    store.apply([Change(waits=[WAIT], deliveries=[make_delivery(1)]), Change(deliveries=[make_delivery(2)], deleted=["a"])])
    assert (store.waits(), store.deliveries()) == ([], [make_delivery(1), make_delivery(2)])
    store.apply([Change(delivered=["msg_1"]), Change(delivered=["msg_1", "unknown"])])
    store.close()
    again = Store(tmp_path)
    assert again.deliveries() == [make_delivery(2)]
    again.close()


def test_unreadable_delivery_is_removed_and_counted(tmp_path: Path) -> None:
    """The others are kept."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(deliveries=[make_delivery(1)])])
    store._database.execute("INSERT INTO deliveries (document) VALUES ('x')")
    store.close()
    again = Store(tmp_path)
    assert (again.deliveries(), again.lost_deliveries) == ([make_delivery(1)], 1)
    assert again.damage == f"0 of 0 waits, 0 events and 1 webhooks in {tmp_path / 'waits.sqlite3'} cannot be read and are lost"
    again.close()
    third = Store(tmp_path)
    third.close()
    assert (third.damage, third.lost_deliveries) == (None, 0)


def test_unreadable_wait_is_removed_and_counted(tmp_path: Path) -> None:
    """The file is sound for SQLite, but a document in it is not a wait, or has another checksum."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(waits=[WAIT])])
    for sealed in (seal(Document(1, b'{"id": 5}')), seal(Document(1, b"{}"))[:-1], b"", 5):
        store._database.execute("INSERT INTO documents (document) VALUES (?)", [sealed])
    store.close()
    again = Store(tmp_path)
    assert (again.waits(), again.lost) == ([WAIT], 4)
    assert again.damage == f"4 of 5 waits, 0 events and 0 webhooks in {tmp_path / 'waits.sqlite3'} cannot be read and are lost"
    again.close()
    third = Store(tmp_path)
    third.close()
    assert (third.damage, third.lost) == (None, 0)


def test_damaged_event_becomes_a_reset(tmp_path: Path) -> None:
    """It has the number of the event, is counted once, and the other events are as before."""
    store = Store(tmp_path, first_event=0)
    store.apply([changes("a", "b", "c", "d")])
    for number, damaged in ((2, b"x"), (3, 5)):
        store._database.execute("UPDATE sealed_events SET document = ? WHERE id = ?", [damaged, number])
    events = [(1, "a", b"{}"), reset_event(2, 1), reset_event(3, 2), (4, "d", b"{}")]
    assert store.events_after(0, 9) == events
    store.close()
    again = Store(tmp_path)
    assert again.events_after(0, 9) == events
    assert (again.lost_events, again.lost) == (2, 0)
    assert again.damage == f"0 of 0 waits, 2 events and 0 webhooks in {tmp_path / 'waits.sqlite3'} cannot be read and are lost"
    again.close()
    third = Store(tmp_path)
    third.close()
    assert (third.damage, third.lost_events) == (None, 0)


def test_event_with_a_damaged_number_gets_it_back(tmp_path: Path) -> None:
    """The number in its document is valid, and the next event has the next number."""
    store = Store(tmp_path, first_event=0)
    store.apply([changes("a", "b", "c")])
    store._database.execute("UPDATE sealed_events SET id = 131 WHERE id = 3")
    store.close()
    again = Store(tmp_path)
    assert (again.bounds(), again.damage) == ((0, 3), None)
    assert again.apply([changes("d")]) == [[(4, "d", b"{}")]]
    again.close()


def test_events_are_salvaged_from_a_damaged_database(tmp_path: Path) -> None:
    """A client continues with the next readable event; a reset stands for each gap and for what may have followed."""
    store = Store(tmp_path, first_event=0)
    store.apply([changes("a", "b", "c", "d")])
    store._database.execute("DELETE FROM sealed_events WHERE id = 3")
    store.close()
    file = tmp_path / "waits.sqlite3"
    file.write_bytes(b"x" * 100 + file.read_bytes()[100:])
    again = Store(tmp_path)
    *known, last = again.events_after(0, 9)
    ((new,),) = again.apply([changes("e")])
    again.close()
    assert known == [(1, "a", b"{}"), (2, "b", b"{}"), reset_event(3, 2), (4, "d", b"{}")]
    assert last == reset_event(last.id, 4)
    assert (last.id > 1_600_000_000_000, new.id) == (True, last.id + 1)
    assert again.damage is not None
    assert again.damage.endswith("; 0 waits, 5 events and 0 webhooks were recovered")


def test_newest_revision_is_salvaged(tmp_path: Path) -> None:
    """The order in the file does not matter."""
    old = msgspec.json.encode(Wait(id="a", accepted_at=NOW))
    sealed = [seal(Document(1, old)), seal(Document(3, msgspec.json.encode(WAIT))), seal(Document(2, old))]
    (tmp_path / "waits.sqlite3").write_bytes(b"not a database".join([b"", *sealed]))
    store = Store(tmp_path)
    assert (store.waits(), store.lost) == ([WAIT], 0)
    store.close()


def test_salvaged_document_that_is_no_wait_is_counted(tmp_path: Path) -> None:
    """Its checksum is valid, its content is not."""
    (tmp_path / "waits.sqlite3").write_bytes(b"not a database" + seal(Document(1, b'{"id": 5}')) + seal(Document(2, b"[")))
    store = Store(tmp_path)
    assert (store.waits(), store.lost) == ([], 2)
    store.close()


@pytest.mark.parametrize("version", [1, 2, 5])
def test_older_database_is_migrated(tmp_path: Path, version: int) -> None:
    """Its waits are kept, and missing tables are created."""
    old = sqlite3.connect(tmp_path / "waits.sqlite3")
    copy = version if version == 5 else 0
    old.create_function("seal", 1, lambda document: seal(Document(0, document)))
    old.executescript("; ".join([*MIGRATIONS[:version], f"PRAGMA user_version = {version}; PRAGMA application_id = {copy}"]))
    if version == 5:
        old.execute("INSERT INTO documents (document) VALUES (?)", [seal(Document(0, msgspec.json.encode(WAIT)))])
    else:
        old.execute("INSERT INTO waits VALUES ('a', ?)", [msgspec.json.encode(WAIT)])
    if version > 1:
        old.execute("INSERT INTO events VALUES (5, 'x', x'7b7d')")
    old.commit()
    old.close()
    store = Store(tmp_path)
    waits, ((event,),), events = store.waits(), store.apply([changes("y")]), store.events_after(0, 9)
    store.close()
    assert (waits, store.damage) == ([WAIT], None)
    assert events == ([(5, "x", b"{}"), (6, "y", b"{}")] if version > 1 else [(1, "y", b"{}")])
    assert event == events[-1]


def test_database_without_the_second_copy_of_its_version_is_opened(tmp_path: Path) -> None:
    """There is no other version that could be the right one."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(waits=[WAIT])])
    store._database.execute("PRAGMA application_id = 0")
    store.close()
    again = Store(tmp_path)
    assert (again.waits(), again.damage) == ([WAIT], None)
    again.close()


def test_database_without_webhooks_is_migrated(tmp_path: Path) -> None:
    """Its waits and events are as before, and deliveries can be stored."""
    Store(tmp_path, first_event=0).close()
    old = sqlite3.connect(tmp_path / "waits.sqlite3")
    old.executescript("DROP TABLE deliveries; PRAGMA user_version = 10; PRAGMA application_id = 10")
    old.execute("INSERT INTO documents (document) VALUES (?)", [seal(Document(0, msgspec.json.encode(WAIT)))])
    old.execute("INSERT INTO sealed_events VALUES (5, ?)", [row_of(StoredEvent(5, "x", b"{}"))[1]])
    old.commit()
    old.close()
    store = Store(tmp_path)
    ((event,),) = store.apply([Change(deliveries=[make_delivery(1)], events=[NewEvent("y", b"{}")])])
    assert (store.waits(), store.deliveries(), store.damage) == ([WAIT], [make_delivery(1)], None)
    assert store.events_after(0, 9) == [(5, "x", b"{}"), (6, "y", b"{}")]
    assert event.id == 6
    store.close()


def test_files_are_private(tmp_path: Path) -> None:
    """Only their owner can read them, also files of an earlier version."""
    (tmp_path / "waits.sqlite3").touch(mode=0o644)
    store = Store(tmp_path)
    store.apply([changes("x")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    Store(tmp_path / "new").close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert modes == dict.fromkeys(["lock", "waits.sqlite3", "waits.sqlite3-wal"], 0o600)


@pytest.mark.parametrize("name", ["waits.sqlite3", "waits.sqlite3-wal"])
def test_directory_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    """The error names the file."""
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError, match=rf"cannot use .*{re.escape(name)}: Is a directory"):
        Store(tmp_path)


def test_wait_that_is_deleted_and_accepted_again_has_one_row(tmp_path: Path) -> None:
    """Also within one batch."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(waits=[WAIT])])
    store.apply([Change(deleted=["a"]), Change(waits=[WAIT]), Change(deleted=["a", "unknown"])])
    assert store.waits() == []
    store.apply([Change(waits=[WAIT]), Change(deleted=["a"]), Change(waits=[WAIT])])
    store.apply([Change(waits=[WAIT])])
    assert store._database.execute("SELECT count(*) FROM documents").fetchone() == (1,)
    store.close()


def test_deleted_rows_are_forgotten(store: Store) -> None:
    """What is written again after its deletion has a new number, so that memory holds the numbers of stored rows only."""
    store.apply([Change(waits=[WAIT], deliveries=[make_delivery(1)])])
    store.apply([Change(deleted=["a"], delivered=["msg_1"])])
    store.apply([Change(waits=[WAIT], deliveries=[make_delivery(1)])])
    rows = [store._database.execute(f"SELECT number FROM {table}").fetchall() for table in ("documents", "deliveries")]
    assert rows == [[(2,)], [(2,)]]


def test_newer_database_is_refused(tmp_path: Path) -> None:
    """The error names both formats, and no file changes."""
    Store(tmp_path, first_event=0).close()
    new = sqlite3.connect(tmp_path / "waits.sqlite3")
    new.executescript("PRAGMA user_version = 99; PRAGMA application_id = 99")
    new.close()
    with pytest.raises(
        ConfigurationError, match=rf"was written by a newer waiter \(format 99, this one supports {len(MIGRATIONS)}\)"
    ):
        Store(tmp_path, first_event=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "waits.sqlite3"]


@pytest.mark.parametrize("damage", ["text that is not UTF-8", "a write version of the future"])
def test_damage_that_sqlite_does_not_report_as_such_is_salvaged(tmp_path: Path, damage: str) -> None:
    """sqlite3 cannot decode a message that quotes damaged text, and opens a file of a newer format only for reading."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(waits=[WAIT])])
    store.close()
    file = tmp_path / "waits.sqlite3"
    content = bytearray(file.read_bytes())
    if damage == "text that is not UTF-8":
        content[content.index(b"tabledocuments") + 5] = content[content.index(b"CREATE TABLE documents")] = 0x8C
    else:
        content[18] = 3
    file.write_bytes(content)
    again = Store(tmp_path)
    again.apply([Change(waits=[Wait(id="new", accepted_at=NOW + 1)])])
    found = [wait.id for wait in again.waits()]
    again.close()
    assert (found, again.damage is not None, again.lost) == (["a", "new"], True, 0)
    assert [path.name for path in tmp_path.glob("*.damaged-*")] == ["waits.sqlite3.damaged-1"]


def test_locked_database_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has it open."""
    Store(tmp_path, first_event=0).close()
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.01)
    other = sqlite3.connect(tmp_path / "waits.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigurationError, match=r"cannot use .*waits\.sqlite3: database is locked"):
        Store(tmp_path, first_event=0)
    other.close()


def test_opening_a_current_database_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the sidecar starts on a full disk too."""
    Store(tmp_path, first_event=0).close()
    monkeypatch.setattr(store_module, "_transaction", None)
    Store(tmp_path, first_event=0).close()
