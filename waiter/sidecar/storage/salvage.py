"""Documents that can be recognized and checked one by one, also in a damaged database file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

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


def find_documents(data: bytes, magic: bytes = WAIT) -> Iterator[Document | None]:
    """Yield every document in the bytes of a file that begins with ``magic``; None stands for a damaged one.

    A document that does not fit in one page of the database is not contiguous, and counts as damaged.
    """
    start = data.find(magic)
    while start >= 0:
        try:
            yield _read(data, start, magic)
        except ValueError:
            yield None
        start = data.find(magic, start + len(magic))


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
