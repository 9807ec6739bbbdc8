"""Documents that can be recognized and checked one by one, also in a damaged database file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

# Begins every document; no JSON contains these bytes.
MAGIC = b"\xfaWAIT\xfa\x01\n"
_HEADER = struct.Struct(">QII")
_REVISION = struct.Struct(">Q")


class Document(NamedTuple):
    """The content of a row; of two documents for one wait, the one with the higher revision is valid."""

    revision: int
    content: bytes


def seal(document: Document) -> bytes:
    """Return a document with a header: magic bytes, revision, length and checksum."""
    return MAGIC + _HEADER.pack(document.revision, len(document.content), _checksum(document)) + document.content


def unseal(sealed: bytes) -> Document:
    """Return a document without its header. Raises ValueError when it is damaged."""
    return _read(sealed, 0)


def find_documents(data: bytes) -> Iterator[Document | None]:
    """Yield every document in the bytes of a file; None stands for a damaged one.

    A document that does not fit in one page of the database is not contiguous, and counts as damaged.
    """
    start = data.find(MAGIC)
    while start >= 0:
        try:
            yield _read(data, start)
        except ValueError:
            yield None
        start = data.find(MAGIC, start + len(MAGIC))


def _read(data: bytes, start: int) -> Document:
    begin = start + len(MAGIC) + _HEADER.size
    if data[start : start + len(MAGIC)] != MAGIC or len(data) < begin:
        message = "not a document"
        raise ValueError(message)
    revision, length, checksum = _HEADER.unpack_from(data, start + len(MAGIC))
    document = Document(revision, data[begin : begin + length])
    if len(document.content) != length or _checksum(document) != checksum:
        message = "wrong checksum"
        raise ValueError(message)
    return document


def _checksum(document: Document) -> int:
    return zlib.crc32(document.content, zlib.crc32(_REVISION.pack(document.revision)))
