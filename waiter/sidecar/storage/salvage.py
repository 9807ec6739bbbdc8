"""Documents that can be recognized and checked one by one, also in a damaged database file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from waiter.sidecar.storage.pages import DamagedDatabase, PageReader, read_row

# The bytes that a document begins with, by what it contains; no JSON contains them.
WAIT = b"\xfaWAIT\xfa\x01\n"
EVENT = b"\xfaEVNT\xfa\x01\n"
DELIVERY = b"\xfaHOOK\xfa\x01\n"
_HEADER = struct.Struct(">QII")
_REVISION = struct.Struct(">Q")


class Document(NamedTuple):
    """The content of a row; of two documents with one ID, the one with the higher revision is valid.

    The revision of an event is its number.
    """

    revision: int
    content: bytes


def seal(document: Document, magic: bytes = WAIT) -> bytes:
    """Return a document with a header: magic bytes, revision, length and checksum."""
    return magic + _HEADER.pack(document.revision, len(document.content), _checksum(document)) + document.content


def unseal(sealed: bytes, magic: bytes = WAIT) -> Document:
    """Return a document without its header. Raises ValueError when it is damaged."""
    return _read(sealed, 0, magic)


def find_documents(damaged: DamagedDatabase, magic: bytes = WAIT) -> Iterator[Document | None]:
    """Yield every document in a damaged database that begins with ``magic``; None stands for one that cannot be read.

    A document may be contiguous, or continue in overflow pages as in a row of the database. Pages that are known to have been
    replaced do not count: they may have documents that were deleted.
    """
    for content in damaged.contents():
        start = content.data.find(magic)
        while start >= 0:
            if not content.is_replaced(start):
                try:
                    yield _read(content.data, start, magic)
                except ValueError:
                    yield _read_in_pages(content.data, start, magic, content.readers_of(start))
            start = content.data.find(magic, start + len(magic))


def _read_in_pages(content: bytes, start: int, magic: bytes, readers: Iterable[PageReader]) -> Document | None:
    begin = start + len(magic) + _HEADER.size
    if len(content) < begin:
        return None
    _, length, _ = _HEADER.unpack_from(content, start + len(magic))
    for read_page in readers:
        sealed = read_row(content, start, begin - start + length, read_page)
        if sealed is not None:
            with suppress(ValueError):
                return unseal(sealed, magic)
    return None


def _read(data: bytes, start: int, magic: bytes) -> Document:
    begin = start + len(magic) + _HEADER.size
    if data[start : start + len(magic)] != magic or len(data) < begin:
        message = "not a document"
        raise ValueError(message)
    revision, length, checksum = _HEADER.unpack_from(data, start + len(magic))
    document = Document(revision, data[begin : begin + length])
    if len(document.content) != length or _checksum(document) != checksum:
        message = "wrong checksum"
        raise ValueError(message)
    return document


def _checksum(document: Document) -> int:
    return zlib.crc32(document.content, zlib.crc32(_REVISION.pack(document.revision)))
