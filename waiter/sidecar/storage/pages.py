"""The pages of a database file and of its write-ahead log, read without SQLite because any of them may be damaged.

Source of the formats: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

# The size of all pages; none has bytes that are reserved for extensions.
PAGE_SIZE = 4096
_LINK_SIZE = 4  # bytes at the start of an overflow page: the number of the next one
# The log: a header, whose first number says the byte order of checksums, then frames, each a header and a page.
_LOG_HEADER = struct.Struct(">I4xII8sII")
_CHECKED_HEADER_SIZE = 24
_FRAME_HEADER = struct.Struct(">II8sII")
_FRAME_SIZE = _FRAME_HEADER.size + PAGE_SIZE

PageReader = Callable[[int], bytes | None]


class Content(NamedTuple):
    """The bytes of a file, and functions of an offset in it.

    ``readers_of`` returns how to read the pages that belong to the offset; ``is_replaced`` returns whether the page at the
    offset is known to have been replaced.
    """

    data: bytes
    readers_of: Callable[[int], Iterator[PageReader]]
    is_replaced: Callable[[int], bool]


class _Frame(NamedTuple):
    """The header of a frame: ``salts`` are the same for all frames that were written since the log was emptied."""

    page: int
    pages_after_commit: int
    salts: bytes
    checksum: tuple[int, int]


class _LogHeader(NamedTuple):
    """``times_emptied`` counts how often the log was begun anew, over its own frames; ``salts`` are those of its frames."""

    byte_order: str
    page_size: int
    times_emptied: int
    salts: bytes
    checksum: tuple[int, int]
    is_intact: bool


class DamagedDatabase:
    """The bytes of a database file and of its write-ahead log."""

    def __init__(self, database: bytes, log: bytes = b"") -> None:
        self.database = database
        self.log = log

    def is_log_damaged(self) -> bool:
        """Return whether SQLite would ignore a transaction in the log that was committed.

        SQLite ignores everything from the first wrong checksum on. Frames without a commit are what a killed process has left.
        """
        if not self._frames:
            return False
        if not self._header.is_intact:
            return True
        if self._header.page_size != PAGE_SIZE:
            return False  # as it was made by an earlier version
        count = len(self._frames)
        end = next((n for n in range(count) if not (self._is_of_this_log(n) and self._is_intact(n))), count)
        if end < count and self._is_intact(end):
            return True  # only its salts are wrong
        ignored = [n for n in range(end, count) if self._is_of_this_log(n) and self._frames[n].pages_after_commit]
        # The first transaction after the log was emptied overwrites frames of the earlier log, and ends the file once it is
        # committed. A process that is killed before may leave the header of one frame and the page of another.
        is_first = self._header.times_emptied > 0 and not any(frame.pages_after_commit for frame in self._frames[:end])
        return any(self._is_intact(n) or not is_first or n == count - 1 for n in ignored)

    def contents(self) -> Iterator[Content]:
        """Yield the content of the database and that of its log."""
        readers = self._database_page, self._newest_page
        yield Content(self.database, lambda _: iter(readers), lambda offset: offset // PAGE_SIZE + 1 in self._replaced_until)
        yield Content(self.log, self._readers_of_frame, self._is_frame_replaced)

    def _is_frame_replaced(self, offset: int) -> bool:
        frame = (offset - _LOG_HEADER.size) // _FRAME_SIZE
        if not 0 <= frame < len(self._frames) or not self._header.is_intact or self._header.page_size != PAGE_SIZE:
            return False
        return self._is_of_earlier_log(frame) or frame < self._replaced_until.get(self._frames[frame].page, 0)

    @cached_property
    def _replaced_until(self) -> dict[int, int]:
        """The newest frame of each page, of those that are intact and committed."""
        intact = [n for n in range(len(self._frames)) if self._is_of_this_log(n) and self._is_intact(n)]
        last = max((n for n in intact if self._frames[n].pages_after_commit), default=-1)
        return {self._frames[n].page: n for n in intact if n <= last}

    @cached_property
    def _header(self) -> _LogHeader:
        magic, page_size, times_emptied, salts, *numbers = _LOG_HEADER.unpack_from(self.log)
        byte_order, checksum = ">" if magic & 1 else "<", (numbers[0], numbers[1])
        is_intact = _add_checksum((0, 0), self.log[:_CHECKED_HEADER_SIZE], byte_order) == checksum
        return _LogHeader(byte_order, page_size, times_emptied, salts, checksum, is_intact)

    def _is_of_this_log(self, frame: int) -> bool:
        return self._frames[frame].salts == self._header.salts

    def _is_of_earlier_log(self, frame: int) -> bool:
        # The first of the two salts is incremented whenever the log is emptied.
        first, now = (int.from_bytes(salts[:4]) for salts in (self._frames[frame].salts, self._header.salts))
        continues_this_log = self._is_intact(frame) and (frame == 0 or self._is_of_this_log(frame - 1))
        return 0 < (now - first) % 2**32 <= self._header.times_emptied and not continues_this_log

    def _readers_of_frame(self, offset: int) -> Iterator[PageReader]:
        """Yield functions that return a page as it was at the end of the transaction of a frame.

        The second one trusts only frames whose checksum is right.
        """
        frame = (offset - _LOG_HEADER.size) // _FRAME_SIZE
        if 0 <= frame < len(self._frames):
            for is_trusted in (lambda _: True, self._is_intact):
                yield self._reader_as_of(frame, is_trusted)

    def _reader_as_of(self, frame: int, is_trusted: Callable[[int], bool]) -> PageReader:
        count = len(self._frames)
        end = next((n for n in range(frame, count) if self._frames[n].pages_after_commit and is_trusted(n)), count - 1)
        salts = self._frames[frame].salts

        def read(number: int) -> bytes | None:
            for candidate in reversed(self._frames_of_pages.get(number, [])):
                if candidate <= end and self._frames[candidate].salts == salts and is_trusted(candidate):
                    return self._frame_page(candidate)
            return self._database_page(number)

        return read

    def _newest_page(self, number: int) -> bytes | None:
        frames = self._frames_of_pages.get(number, [])
        newest = next((frame for frame in reversed(frames) if self._frames[frame].salts == self._frames[0].salts), None)
        return self._database_page(number) if newest is None else self._frame_page(newest)

    def _database_page(self, number: int) -> bytes | None:
        end = number * PAGE_SIZE
        return self.database[end - PAGE_SIZE : end] if number > 0 and end <= len(self.database) else None

    def _frame_page(self, frame: int) -> bytes:
        end = _LOG_HEADER.size + (frame + 1) * _FRAME_SIZE
        return self.log[end - PAGE_SIZE : end]

    @cached_property
    def _frames(self) -> list[_Frame]:
        found = []
        for start in range(_LOG_HEADER.size, len(self.log) - _FRAME_SIZE + 1, _FRAME_SIZE):
            page, size, salts, *checksum = _FRAME_HEADER.unpack_from(self.log, start)
            found.append(_Frame(page, size, salts, (checksum[0], checksum[1])))
        return found

    @cached_property
    def _frames_of_pages(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for number, frame in enumerate(self._frames):
            found.setdefault(frame.page, []).append(number)
        return found

    def _is_intact(self, frame: int) -> bool:
        """Return whether the checksum of a frame is right, which continues that of the frame before it."""
        if frame not in self._intact:
            before = self._frames[frame - 1].checksum if frame else self._header.checksum
            start = _LOG_HEADER.size + frame * _FRAME_SIZE
            content = self.log[start : start + 8] + self._frame_page(frame)
            self._intact[frame] = _add_checksum(before, content, self._header.byte_order) == self._frames[frame].checksum
        return self._intact[frame]

    @cached_property
    def _intact(self) -> dict[int, bool]:
        return {}


def read_row(content: bytes, start: int, size: int, read_page: PageReader) -> bytes | None:
    """Return a BLOB of ``size`` bytes at an offset, of which a part is in overflow pages; None when a page is missing.

    It is the last column of a row, after the column of the row's number.
    """
    payload = size + _record_header_size(size)
    end = start + _local_size(payload) - (payload - size)
    parts, missing, seen = [content[start:end]], size - (end - start), set[int]()
    link = content[end : end + _LINK_SIZE]
    while missing > 0:
        number = int.from_bytes(link)
        page = None if number in seen else read_page(number)
        if page is None:
            return None
        seen.add(number)
        link, part = page[:_LINK_SIZE], page[_LINK_SIZE:][:missing]
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _record_header_size(size: int) -> int:
    """Return the size of the header of a row: its own size, the type of the number (NULL), and that of a BLOB."""
    serial_type = 2 * size + 12
    return 2 + max(1, -(-serial_type.bit_length() // 7))


def _local_size(payload: int) -> int:
    """Return how many bytes of a row are in the leaf of the B-tree."""
    largest = PAGE_SIZE - 35
    if payload <= largest:
        return payload
    smallest = (PAGE_SIZE - 12) * 32 // 255 - 23
    local = smallest + (payload - smallest) % (PAGE_SIZE - _LINK_SIZE)
    return local if local <= largest else smallest


def _add_checksum(checksum: tuple[int, int], content: bytes, byte_order: str) -> tuple[int, int]:
    first, second = checksum
    words = struct.unpack(f"{byte_order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
