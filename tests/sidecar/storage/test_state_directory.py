"""The state directory: deleted, moved, emptied or taken by another sidecar while a store has it open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sidecar_parts import NOW
from webhook_parts import make_delivery

from waiter.errors import ConfigurationError
from waiter.outcome import WaitStatus
from waiter.sidecar.model import Wait
from waiter.sidecar.storage import store as store_module
from waiter.sidecar.storage.documents import DocumentTable
from waiter.sidecar.storage.event_log import NewEvent
from waiter.sidecar.storage.state_directory import StateLostError, is_same_file
from waiter.sidecar.storage.store import Change, Store

WAIT = Wait(id="a", accepted_at=NOW, status=WaitStatus.FAILED, error="no host", ended_at=NOW + 5)


def changes(*names: str) -> Change:
    return Change(events=[NewEvent(name, b"{}") for name in names])


def remove(directory: Path, damage: str) -> None:
    """Delete or move what the damage names."""
    if damage == "directory deleted":
        shutil.rmtree(directory)
    if damage == "directory moved":
        directory.rename(directory.with_name("moved"))
    if damage == "directory emptied":
        for file in directory.iterdir():
            file.unlink()
    if damage == "database deleted":
        (directory / "waits.sqlite3").unlink()
    if damage == "lock deleted":
        (directory / "lock").unlink()


REMOVALS = ["directory deleted", "directory moved", "directory emptied", "database deleted", "lock deleted"]


@pytest.mark.parametrize("damage", REMOVALS)
def test_directory_that_was_removed_is_written_anew(tmp_path: Path, damage: str) -> None:
    """With its waits, webhooks, events and their numbers; it is locked again, and a restart reads it."""
    directory = tmp_path / "parent" / "state"
    store = Store(directory, first_event=0)
    store.apply([Change(waits=[WAIT], deliveries=[make_delivery(1)]), changes("a", "b")])
    assert not store.ensure_in_place()
    remove(directory, damage)
    assert store.ensure_in_place()
    assert not store.ensure_in_place()
    with pytest.raises(ConfigurationError, match="used by another sidecar"):
        Store(directory)
    new = Change(waits=[Wait(id="b", accepted_at=NOW + 1)], events=[NewEvent("c", b"{}")])
    assert store.apply([new]) == [[(3, "c", b"{}")]]
    assert store.times_restored == 1
    store.close()
    again = Store(directory)
    assert ([wait.id for wait in again.waits()], again.deliveries()) == (["a", "b"], [make_delivery(1)])
    assert (again.bounds(), again.damage) == ((0, 3), None)
    again.close()


def test_log_of_the_deleted_database_is_not_applied_to_the_copy(tmp_path: Path) -> None:
    """The file beside it is removed with its old content."""
    store = Store(tmp_path, first_event=0)
    store.apply([Change(waits=[WAIT])])
    with (tmp_path / "waits.sqlite3-wal").open("rb") as log:  # open, so that its inode is not used again
        (tmp_path / "waits.sqlite3").unlink()
        store.ensure_in_place()
        store.apply([Change(deleted=["a"])])
        assert not is_same_file(tmp_path / "waits.sqlite3-wal", os.fstat(log.fileno()))
    store.close()


def test_numbers_of_events_continue_in_a_database_that_is_written_anew(tmp_path: Path) -> None:
    """Also when no event is stored."""
    store = Store(tmp_path, first_event=7)
    (tmp_path / "waits.sqlite3").unlink()
    assert store.ensure_in_place()
    assert store.apply([changes("a")]) == [[(8, "a", b"{}")]]
    store.close()


def test_database_that_is_written_anew_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like any other, also before it has its name, and nothing else is left in the directory."""
    store = Store(tmp_path, first_event=0)
    (tmp_path / "waits.sqlite3.new").write_text("of a process that was killed")
    (tmp_path / "waits.sqlite3").unlink()
    renamed, rename = list[int](), Path.rename

    def record_mode(path: Path, target: Path) -> Path:
        renamed.append(stat.S_IMODE(path.stat().st_mode))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", record_mode)
    store.ensure_in_place()
    assert renamed == [0o600]
    store.apply([changes("a")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(["lock", "waits.sqlite3", "waits.sqlite3-wal"], 0o600)


def test_name_of_the_database_that_is_written_anew_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is synchronized once the database has its name."""
    store = Store(tmp_path, first_event=0)
    (tmp_path / "waits.sqlite3").unlink()
    synchronized: list[list[str]] = []

    def record_names(descriptor: int) -> None:
        assert is_same_file(tmp_path, os.fstat(descriptor))
        synchronized.append(sorted(path.name for path in tmp_path.iterdir()))

    monkeypatch.setattr(os, "fsync", record_names)
    store.ensure_in_place()
    store.close()
    assert synchronized == [["lock", "waits.sqlite3"]]


def descriptors_in(directory: Path) -> list[str]:
    """Return the files below a directory that this process has open, those included that were deleted."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one with which the folder itself is read
            targets.append(str(descriptor.readlink()))
    return [target for target in targets if target.startswith(f"{directory.resolve()}/")]


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc")
@pytest.mark.parametrize("damage", REMOVALS)
def test_no_file_stays_open_after_a_store_is_closed(tmp_path: Path, damage: str) -> None:
    """Also when the directory was locked again, and its database written anew."""
    store = Store(tmp_path / "state", first_event=0)
    store.apply([Change(waits=[WAIT])])
    remove(tmp_path / "state", damage)
    assert store.ensure_in_place()
    assert descriptors_in(tmp_path) != []
    store.close()
    assert descriptors_in(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc")
def test_damaged_database_is_closed_before_it_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would delete the log of the new database when it closes the damaged one, whose name was the same."""
    Store(tmp_path, first_event=0).close()
    still_open: list[list[str]] = []

    def fail_to_read(*_: object) -> None:
        message = "damaged"
        raise sqlite3.DatabaseError(message)

    def move_aside(path: Path) -> Path:
        still_open.append([name for name in descriptors_in(tmp_path) if name.startswith(str(path))])
        return moved(path)

    moved = store_module._move_aside
    monkeypatch.setattr(store_module, "_move_aside", move_aside)
    monkeypatch.setattr(DocumentTable, "read", fail_to_read)
    again = Store(tmp_path, first_event=0)
    again.close()
    assert again.damage is not None
    assert still_open == [[]]


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc")
def test_no_file_stays_open_after_a_store_is_refused(tmp_path: Path) -> None:
    """The directory is used by another sidecar, or has a database that cannot be opened."""
    directory = tmp_path / "state"
    store = Store(directory, first_event=0)
    before = sorted(descriptors_in(tmp_path))
    with pytest.raises(ConfigurationError, match="used by another sidecar"):
        Store(directory)
    assert sorted(descriptors_in(tmp_path)) == before
    store.close()
    with closing(sqlite3.connect(directory / "waits.sqlite3")) as newer:
        newer.executescript("PRAGMA user_version = 99; PRAGMA application_id = 99")
    with pytest.raises(ConfigurationError, match="newer waiter"):
        Store(directory)
    assert descriptors_in(tmp_path) == []


@pytest.mark.parametrize("removal", ["directory deleted", "directory emptied"])
def test_another_sidecar_keeps_the_directory_that_it_took(tmp_path: Path, removal: str) -> None:
    """The first cannot lock it, leaves its files alone, and is refused also after the other has ended."""
    directory = tmp_path / "state"
    first = Store(directory, first_event=0)
    first.apply([Change(waits=[WAIT])])
    remove(directory, removal)
    other = Store(directory, first_event=0)
    other.apply([Change(waits=[Wait(id="b", accepted_at=NOW)])])
    with pytest.raises(StateLostError, match=r"deleted or replaced: the state directory .* is used by another sidecar"):
        first.ensure_in_place()
    assert [wait.id for wait in first.waits()] == ["a"]
    log = (directory / "waits.sqlite3-wal").read_bytes()
    first.close()
    assert (directory / "waits.sqlite3-wal").read_bytes() == log
    other.apply([Change(waits=[Wait(id="c", accepted_at=NOW + 1)])])
    other.close()
    again = Store(directory)
    assert [wait.id for wait in again.waits()] == ["b", "c"]
    again.close()


def test_database_of_another_sidecar_that_has_ended_is_not_overwritten(tmp_path: Path) -> None:
    """Nor is one that was copied to the path."""
    directory = tmp_path / "state"
    first = Store(directory, first_event=0)
    remove(directory, "directory deleted")
    Store(directory).close()
    for _ in range(2):
        with pytest.raises(StateLostError, match="another database is at"):
            first.ensure_in_place()
    remove(directory, "directory deleted")
    assert first.ensure_in_place()
    first.close()


def test_directory_that_cannot_be_made_again_is_lost(tmp_path: Path) -> None:
    """There is a file in its place; once that is gone, the directory is made again."""
    directory = tmp_path / "state"
    store = Store(directory, first_event=0)
    remove(directory, "directory deleted")
    directory.touch()
    with pytest.raises(StateLostError, match="cannot use the state directory"):
        store.ensure_in_place()
    directory.unlink()
    assert store.ensure_in_place()
    store.close()


def test_directory_that_cannot_be_examined_counts_as_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system that does not respond is no reason to write anything anew."""
    store = Store(tmp_path, first_event=0)

    def fail(_: Path) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", fail)
        assert not store.ensure_in_place()
    store.close()
