"""Sealed documents: found in any bytes, and checked one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.sidecar.storage.pages import DamagedDatabase
from waiter.sidecar.storage.salvage import EVENT, WAIT, Document, find_documents, seal, unseal

DOCUMENTS = st.builds(Document, st.integers(0, 2**64 - 1), st.binary(max_size=50))


@given(DOCUMENTS)
def test_sealed_document_is_unsealed(document: Document) -> None:
    """Revision and content are as before."""
    assert unseal(seal(document)) == document


@given(DOCUMENTS, st.data())
def test_flipped_bit_is_found(document: Document, data: st.DataObject) -> None:
    """A damaged document is never taken for a valid one."""
    sealed = bytearray(seal(document))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match=r"not a document|wrong checksum"):
        unseal(bytes(sealed))


def test_documents_are_found_in_other_bytes() -> None:
    """A truncated document is None."""
    first, second = Document(1, b"{}"), Document(2, b"[]")
    data = b"page" + seal(first) + b"\0" * 9 + seal(second)[:-1] + b"?" + seal(second) + WAIT
    assert list(find_documents(DamagedDatabase(data))) == [first, None, second, None]


def test_kinds_of_documents_are_distinguished() -> None:
    """A wait is never read as an event."""
    damaged = DamagedDatabase(seal(Document(1, b"{}")) + seal(Document(2, b"x"), EVENT))
    assert [list(find_documents(damaged, magic)) for magic in (WAIT, EVENT)] == [[Document(1, b"{}")], [Document(2, b"x")]]
    with pytest.raises(ValueError, match="not a document"):
        unseal(seal(Document(1, b"{}")), EVENT)
