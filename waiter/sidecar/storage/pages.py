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
_LOG_HEADER = struct.Struct(">I20xII")
_FRAME_HEADER = struct.Struct(">II8sII")
_FRAME_SIZE = _FRAME_HEADER.size + PAGE_SIZE

PageReader = Callable[[int], bytes | None]


class _Frame(NamedTuple):
    """The header of a frame: ``salts`` are the same for all frames that were written since the log was emptied."""

    page: int
    pages_after_commit: int
    salts: bytes
    checksum: tuple[int, int]


class DamagedDatabase:
    """The bytes of a database file and of its write-ahead log."""

    def __init__(self, database: bytes, log: bytes = b"") -> None:
        self.database = database
        self.log = log

    def contents(self) -> Iterator[tuple[bytes, Callable[[int], Iterator[PageReader]]]]:
        """Yield the bytes of each file, with a function that returns how to read the pages that belong to an offset in it."""
        yield self.database, lambda _: iter((self._database_page, self._newest_page))
        yield self.log, self._readers_of_frame

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
            magic, *first = _LOG_HEADER.unpack_from(self.log)
            before = self._frames[frame - 1].checksum if frame else (first[0], first[1])
            start = _LOG_HEADER.size + frame * _FRAME_SIZE
            content = self.log[start : start + 8] + self._frame_page(frame)
            self._intact[frame] = _add_checksum(before, content, ">" if magic & 1 else "<") == self._frames[frame].checksum
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
