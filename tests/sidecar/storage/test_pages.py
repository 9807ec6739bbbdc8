"""Rows that are larger than a page, read from a damaged database without SQLite."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from waiter.sidecar.storage import pages
from waiter.sidecar.storage.pages import PAGE_SIZE, DamagedDatabase, read_row
from waiter.sidecar.storage.salvage import Document, find_documents, seal

LARGEST = 200_000
HEADER, FRAME_HEADER = 32, 24
FRAME = FRAME_HEADER + PAGE_SIZE


def mark_of(revision: int) -> int:
    """Return the byte that stands in each page of a document and in no other content."""
    assert revision < 0xFA - 0x80  # WAIT begins with 0xFA
    return 0x80 + revision


def content_of(revision: int, size: int) -> bytes:
    """Return bytes that show where they belong: every second one is the mark, the others are a counter."""
    mark = mark_of(revision)
    return b"".join(struct.pack("BBBB", mark, n & 0x7F, mark, n >> 7 & 0x7F) for n in range(size // 4 + 1))[:size]


class Database:
    """A database with a log, whose rows were written, replaced and deleted at random; ``current`` are those that are left."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.written: dict[int, bytes] = {}
        self.current: dict[int, int] = {}
        self._chance = chance
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            for pragma in (f"page_size = {PAGE_SIZE}", "locking_mode = EXCLUSIVE", "journal_mode = WAL", "secure_delete = ON"):
                database.execute(f"PRAGMA {pragma}")
            database.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, document BLOB NOT NULL)")
            for _ in range(10):
                self._change(database)
                if chance.random() < 0.2:
                    database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.files = {"database": bytearray(path.read_bytes()), "log": bytearray(Path(f"{path}-wal").read_bytes())}

    def _change(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN")
        for _ in range(self._chance.randint(1, 4)):
            revision, number = len(self.written) + 1, self._chance.randint(1, 8)
            self.written[revision] = content_of(revision, int(LARGEST ** self._chance.random()))
            sealed = seal(Document(revision, self.written[revision]))
            database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", [number, sealed])
            self.current[number] = revision
        if self._chance.random() < 0.2:
            database.execute("DELETE FROM documents WHERE number = ?", [number])
            del self.current[number]
        database.execute("COMMIT")

    def units(self) -> list[tuple[str, int, int]]:
        """Return the pages of the database and the frames of the log: file, start and end."""
        pages = [("database", start, start + PAGE_SIZE) for start in range(0, len(self.files["database"]), PAGE_SIZE)]
        return pages + [("log", start, start + FRAME) for start in range(HEADER, len(self.files["log"]), FRAME)]

    def damage(self) -> tuple[str, int, int]:
        """Damage a range of a file, and return it."""
        file = self._chance.choice([name for name, content in self.files.items() if content])
        content = self.files[file]
        size = self._chance.choice([1, 4, 100, 3 * PAGE_SIZE])
        start = self._chance.choice([0, self._chance.randrange(len(content))])
        end = min(start + size, len(content))
        flipped = bytes([content[start] ^ 1 << self._chance.randrange(8)])
        content[start:end] = flipped if size == 1 else self._chance.randbytes(end - start)
        return file, start, end


@pytest.mark.parametrize("seed", range(20))
def test_document_is_recovered_when_its_own_pages_are_intact(tmp_path: Path, seed: int) -> None:
    """Whatever its size, and wherever else the database and its log are damaged; nothing else is taken for a document."""
    database = Database(tmp_path / "database", random.Random(seed))
    before = {name: bytes(content) for name, content in database.files.items()}
    damaged = [database.damage() for _ in range(3)]
    hit = [
        before[file][start:end]
        for file, start, end in database.units()
        if any(file == other and start < last and first < end for other, first, last in damaged)
    ]
    found = [one for one in find_documents(DamagedDatabase(*map(bytes, database.files.values()))) if one is not None]
    assert {one.revision: one.content for one in found}.items() <= database.written.items()
    # A page with its mark counts as a document's own, also one that was replaced.
    intact = {revision for revision in database.current.values() if not any(mark_of(revision) in content for content in hit)}
    assert intact <= {one.revision for one in found}


@pytest.mark.parametrize("seed", range(5))
def test_all_documents_are_found_in_an_undamaged_database(tmp_path: Path, seed: int) -> None:
    """Those in the log and those in the database, without those that were replaced or deleted."""
    database = Database(tmp_path / "database", random.Random(seed))
    found = [one and one.revision for one in find_documents(DamagedDatabase(*map(bytes, database.files.values())))]
    assert sorted(found, key=str) == sorted(database.current.values(), key=str)
    assert max(len(database.written[revision]) for revision in database.current.values()) > 2 * PAGE_SIZE


@pytest.mark.parametrize("damage", ["page number", "commit"])
def test_frame_with_a_damaged_header_is_not_trusted(tmp_path: Path, damage: str) -> None:
    """It is no newer version of another page and no end of a transaction, as its checksum shows."""
    path = tmp_path / "database"
    documents = [Document(revision, content_of(revision, 5 * PAGE_SIZE)) for revision in (1, 2)]
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, document BLOB NOT NULL)")
        rows = [[seal(document)] for document in documents]
        database.executemany("INSERT INTO documents (document) VALUES (?)", rows)
        database.commit()
        log = bytearray(Path(f"{path}-wal").read_bytes())
    frames = range(HEADER, len(log), FRAME)
    first, second = ([start for start in frames if log.count(mark_of(one), start, start + FRAME) > 99] for one in (1, 2))
    leaf = next(start for start in first if seal(documents[0])[:24] in log[start : start + FRAME])
    if damage == "page number":
        assert second[-2] > first[-1]
        log[second[-2] : second[-2] + 4] = log[first[-1] : first[-1] + 4]
    else:
        assert leaf < first[-1]
        log[leaf + 7] = 1
    found = {one.revision: one for one in find_documents(DamagedDatabase(b"", bytes(log))) if one is not None}
    assert found[1] == documents[0]
    assert set(found) == ({1, 2} if damage == "commit" else {1})


def write_and_replace(path: Path, count: int, documents: Sequence[Document]) -> None:
    """Write so many rows of two pages each, empty the log, and replace the first rows: the log has the changed pages only."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, document BLOB NOT NULL)")
        rows = [[number, seal(Document(0, content_of(0, PAGE_SIZE)))] for number in range(count)]
        database.executemany("INSERT INTO documents VALUES (?, ?)", rows)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        replaced = [[seal(document), number] for number, document in enumerate(documents)]
        database.executemany("UPDATE documents SET document = ? WHERE number = ?", replaced)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # Closing the database would remove the log.
        Path(f"{path}.copy").write_bytes(path.read_bytes())
        Path(f"{path}.log").write_bytes(Path(f"{path}-wal").read_bytes())


def readable(database: bytes, log: bytes) -> list[Document]:
    return [one for one in find_documents(DamagedDatabase(database, log)) if one is not None]


REPLACED = [Document(revision, content_of(revision, PAGE_SIZE)) for revision in (1, 2)]
# With so many rows, their leaf has a higher number than the other pages of the first ones, and follows them in the log.
MANY = 50


def test_first_frame_of_the_log_is_trusted(tmp_path: Path) -> None:
    """Its checksum continues that of the header of the log, and another frame that claims to be a newer version has none."""
    write_and_replace(tmp_path / "database", MANY, REPLACED)
    log = bytearray((tmp_path / "database.log").read_bytes())
    first, second, leaf = range(HEADER, len(log), FRAME)
    for revision, start in ((1, first), (2, second)):
        assert log.count(mark_of(revision), start, start + FRAME) > 99
    assert log.count(seal(REPLACED[0])[:24], leaf) == 1
    log[second : second + 4] = log[first : first + 4]
    assert readable(b"", bytes(log)) == [REPLACED[0]]


def test_document_that_begins_in_the_first_frame_of_the_log_is_read(tmp_path: Path) -> None:
    """Its other page is in the next frame."""
    write_and_replace(tmp_path / "database", 1, REPLACED[:1])
    log = (tmp_path / "database.log").read_bytes()
    leaf, other = range(HEADER, len(log), FRAME)
    assert (log.count(seal(REPLACED[0])[:24], leaf, other), log.count(mark_of(1), other) > 99) == (1, True)
    assert readable(b"", log) == [REPLACED[0]]


def test_log_whose_last_commit_is_damaged_is_read_to_its_end(tmp_path: Path) -> None:
    """A document may continue in the last frame."""
    write_and_replace(tmp_path / "database", 1, REPLACED[:1])
    log = bytearray((tmp_path / "database.log").read_bytes())
    last = len(log) - FRAME
    assert any(log[last + 4 : last + 8])
    log[last + 4 : last + 8] = bytes(4)
    assert readable(b"", bytes(log)) == [REPLACED[0]]


def test_page_that_the_log_does_not_have_is_read_from_the_database(tmp_path: Path) -> None:
    """A document begins in a leaf that was written again for another row; the page in which it continues is the last one."""
    write_and_replace(tmp_path / "database", 2, REPLACED[:1])
    database = bytearray((tmp_path / "database.copy").read_bytes())
    kept = Document(0, content_of(0, PAGE_SIZE))
    assert database.count(mark_of(0), len(database) - PAGE_SIZE) > 99
    database[: 2 * PAGE_SIZE] = bytes(2 * PAGE_SIZE)
    assert sorted(readable(bytes(database), (tmp_path / "database.log").read_bytes())) == [kept, REPLACED[0]]


def test_page_that_is_damaged_in_the_database_is_read_from_the_log(tmp_path: Path) -> None:
    """Also when the log has no other frame."""
    write_and_replace(tmp_path / "database", MANY, REPLACED[:1])
    database, log = bytearray((tmp_path / "database.copy").read_bytes()), (tmp_path / "database.log").read_bytes()
    end = int.from_bytes(log[HEADER : HEADER + 4]) * PAGE_SIZE
    assert database[end - PAGE_SIZE : end] == log[HEADER + FRAME_HEADER : HEADER + FRAME]
    assert database.count(seal(REPLACED[0])[:24], end) == 1
    database[end - PAGE_SIZE : end] = bytes(PAGE_SIZE)
    assert REPLACED[0] in readable(bytes(database), log[: HEADER + FRAME])


def test_document_of_any_size_is_read(tmp_path: Path) -> None:
    """Its size decides how much of it is in the leaf, and how long the header of its row is."""
    path, borders = tmp_path / "database", range(PAGE_SIZE - 100, 4 * PAGE_SIZE, PAGE_SIZE - 4)
    longer_header = range(2**13 - 40, 2**13)  # of the row, because the size has another byte there
    sizes = {
        *range(0, 5 * PAGE_SIZE, 500),
        *longer_header,
        *(size for border in borders for size in range(border, border + 60)),
    }
    documents = [Document(revision, bytes(size)) for revision, size in enumerate(sorted(sizes))]
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        database.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, document BLOB NOT NULL)")
        database.executemany("INSERT INTO documents (document) VALUES (?)", [[seal(document)] for document in documents])
        database.commit()
    assert sorted(readable(path.read_bytes(), b"")) == documents


@pytest.mark.parametrize("number", [0, 1, 2, 4, 2**32 - 1])
def test_row_without_all_its_pages_is_not_read(number: int) -> None:
    """A page is missing, or a chain of pages repeats itself."""
    pages = {1: number.to_bytes(4) + b"x" * (PAGE_SIZE - 4), 2: (1).to_bytes(4) + b"x" * (PAGE_SIZE - 4)}
    assert read_row((2).to_bytes(4) * PAGE_SIZE, 0, LARGEST, pages.get) is None


def test_files_without_whole_pages_are_read() -> None:
    """A document that would continue in another page is damaged; one that is contiguous is found."""
    large, small = seal(Document(1, b"x" * 2 * PAGE_SIZE)), Document(2, b"{}")
    cut = large[: PAGE_SIZE // 2]
    in_log = cut + seal(small), bytes(HEADER) + cut + seal(small)
    for files in ((cut + seal(small), b""), *((b"", log) for log in in_log), (cut, seal(small))):
        assert sorted(find_documents(DamagedDatabase(*files)), key=str) == [small, None]


class Log:
    """A database whose write-ahead log is returned after each transaction; it is closed at the end."""

    def __init__(self, path: Path, page_size: int = PAGE_SIZE) -> None:
        self.path = path
        self.database = sqlite3.connect(path, isolation_level=None)
        for pragma in (f"page_size = {page_size}", "journal_mode = WAL", "wal_autocheckpoint = 0"):
            self.database.execute(f"PRAGMA {pragma}")
        self.database.execute("CREATE TABLE IF NOT EXISTS documents (number INTEGER PRIMARY KEY, document BLOB NOT NULL)")

    def write(self, pages: int, *, first: int = 1) -> bytes:
        """Write so many pages or some more in one transaction, and return the log."""
        rows = [(number, b"%04d" % number * (PAGE_SIZE // 4)) for number in range(first, first + pages)]
        self.database.execute("BEGIN")
        self.database.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?)", rows)
        self.database.execute("COMMIT")
        return Path(f"{self.path}-wal").read_bytes()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "log")
    yield log
    log.database.close()


def is_damaged(log: bytes) -> bool:
    return DamagedDatabase(b"", log).is_log_damaged()


def flipped(log: bytes, place: int) -> bytes:
    return log[:place] + bytes([log[place] ^ 1]) + log[place + 1 :]


@pytest.mark.parametrize("is_emptied", [False, True])
def test_flipped_bit_anywhere_in_the_log_is_found(log: Log, is_emptied: bool) -> None:
    """In its header, and in each part of the first frame, of one in the middle and of the last one."""
    if is_emptied:
        log.write(1)
        log.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = [log.write(3, first=first) for first in (1, 2, 3)][-1]
    count = (len(content) - HEADER) // FRAME
    in_frame = [*range(4), *range(8, FRAME_HEADER), FRAME_HEADER, FRAME - 1]
    places = [*range(HEADER), *(HEADER + frame * FRAME + place for frame in (0, count // 2, count - 1) for place in in_frame)]
    assert not is_damaged(content)
    assert [place for place in places if not is_damaged(flipped(content, place))] == []


@pytest.mark.parametrize("seed", range(5))
def test_end_of_the_log_of_a_killed_process_is_no_damage(tmp_path: Path, seed: int) -> None:
    """It may be anywhere, also in front of the frames of an earlier log."""
    chance = random.Random(seed)
    content = bytes(Database(tmp_path / "database", chance).files["log"])
    assert [size for size in chance.sample(range(len(content)), 15) if is_damaged(content[:size])] == []


def test_frames_without_a_commit_are_no_damage(log: Log, tmp_path: Path) -> None:
    """A process was killed in a transaction, and the next one has written a shorter one over its beginning."""
    log.write(1)
    killed = log.write(9)[:-FRAME]
    for name, content in (("second", log.path.read_bytes()), ("second-wal", killed)):
        (tmp_path / name).write_bytes(content)
    second = Log(tmp_path / "second")
    content = second.write(1, first=20)
    second.database.close()
    assert len(content) == len(killed)
    assert not is_damaged(content)
    assert is_damaged(flipped(content, HEADER + FRAME_HEADER))


def test_torn_frame_in_front_of_an_earlier_log_is_no_damage(log: Log) -> None:
    """A process was killed in the first transaction after the log was emptied, between the header and the page of a frame."""
    earlier = log.write(9)
    log.database.execute("PRAGMA wal_checkpoint")
    first = log.write(1)
    end = next(end for end in range(HEADER, len(first), FRAME) if first[end + 4 : end + 8] != bytes(4)) + FRAME
    assert first[end:] == earlier[end:]
    torn = end - PAGE_SIZE
    assert not is_damaged(first[:torn] + earlier[torn:])
    second = log.write(1)
    assert is_damaged(second[:torn] + earlier[torn:end] + second[end:])


def test_log_with_pages_of_another_size_is_not_checked(tmp_path: Path) -> None:
    """SQLite reads it."""
    log = Log(tmp_path / "log", page_size=2 * PAGE_SIZE)
    content = log.write(3)
    log.database.close()
    assert not is_damaged(content[:-1] + b"x")
    sealed = seal(Document(1, b"{}"))
    assert [*find_documents(DamagedDatabase(b"", content + sealed))] == [Document(1, b"{}")]


def test_end_of_the_first_transaction_after_the_log_was_emptied_is_checked(log: Log) -> None:
    """It ends the file, so that it is complete if it was committed."""
    log.write(1)
    log.database.execute("PRAGMA wal_checkpoint")
    content = log.write(9)
    assert not is_damaged(content)
    assert is_damaged(flipped(content, len(content) - 1))


def is_replaced(log: bytes, frame: int) -> bool:
    """Return whether the page of a frame is known to have been replaced."""
    _, content = DamagedDatabase(b"", log).contents()
    return content.is_replaced(HEADER + frame * FRAME)


def test_first_frame_with_damaged_salts_is_not_of_an_earlier_log(log: Log) -> None:
    """Its checksum continues that of the header."""
    log.write(9)
    log.database.execute("PRAGMA wal_checkpoint")
    content = log.write(1)
    last = (len(content) - HEADER) // FRAME - 1
    salts = content[-FRAME + 8 : -FRAME + 16]
    assert salts != content[HEADER + 8 : HEADER + 16]
    assert (is_replaced(content, 0), is_replaced(content, last)) == (False, True)
    assert not is_replaced(content[: HEADER + 8] + salts + content[HEADER + 16 :], 0)


@pytest.mark.parametrize(("before", "is_earlier"), [(0, False), (1, True), (2, True), (3, False), (65, False)])
def test_number_of_a_log_may_overflow(before: int, is_earlier: bool) -> None:
    """The first salt is a number of 32 bits, and is incremented whenever the log is emptied: twice here."""
    numbers = struct.pack(">IIIIII", 0x377F0683, 3_007_000, PAGE_SIZE, 2, 0, 7)
    header = numbers + struct.pack(">II", *pages._add_checksum((0, 0), numbers, ">"))
    frame = struct.pack(">IIIIII", 1, 1, -before % 2**32, 7, 1, 1) + bytes(PAGE_SIZE)
    assert is_replaced(header + frame, 0) == is_earlier
