"""Responses from bytes, in any pieces, compared with h11."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter import InvalidResponseError
from waiter.http.network_errors import RemoteProtocolError
from waiter.http.response_reader import MAX_BODY, ResponseReader, TunnelReader

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def read(pieces: Sequence[bytes], reader: ResponseReader | None = None) -> ResponseReader:
    """Return the reader after the pieces and, if they are not a whole response, the end of the connection."""
    reader = reader or ResponseReader()
    for piece in pieces:
        if piece and not reader.is_complete:
            reader.feed(piece)
    if not reader.is_complete:
        reader.end()
    reader.close()
    return reader


def test_body_that_is_too_large_is_refused() -> None:
    """It is not kept in memory to its end."""
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_BODY)
    with pytest.raises(InvalidResponseError, match=f"more than {MAX_BODY} bytes"):
        reader.feed(b"x")


def test_incomplete_body_is_released() -> None:
    """The traceback of the error, which a wait keeps until its next poll, refers to the reader."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        reader = ResponseReader()
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_BODY)
        with pytest.raises(InvalidResponseError):
            reader.feed(b"x")
        reader.close()
        assert reader.body == b""
        assert tracemalloc.get_traced_memory()[0] - before < MAX_BODY / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("headers", [b"", b"Content-Length: 9\r\n", b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"])
def test_response_to_connect_ends_with_its_head(headers: bytes) -> None:
    """What follows is in the tunnel (RFC 9110, 9.3.6)."""
    reader = TunnelReader()
    read([b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 Connection established\r\n" + headers + b"\r\n"], reader)
    assert (reader.is_complete, reader.status, reader.reason, reader.body) == (True, 200, b"Connection established", b"")


def test_upgrade_is_refused() -> None:
    """The client asked for HTTP/1.1."""
    with pytest.raises(RemoteProtocolError, match="asks for another protocol"):
        read([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"])


def test_bytes_after_a_response_end_the_connection() -> None:
    """They belong to no request."""
    assert [read([OK + extra]).can_keep_alive for extra in (b"", b"x", OK)] == [True, False, False]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


tokens = st.text(alphabet="abcXYZ0189-_", min_size=1, max_size=8)
values = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
bodies = st.binary(max_size=60)


@st.composite
def responses(draw: st.DrawFn) -> tuple[int, list[tuple[str, str]], bytes, bytes]:
    """A status, headers, a body, and a valid response with them that has a length, chunks, or the end of the connection."""
    status = draw(st.sampled_from([200, 201, 301, 404, 429, 503]))
    headers = [(f"X-{name}", value) for name, value in draw(st.lists(st.tuples(tokens, values), max_size=4))]
    body = draw(bodies)
    framing = draw(st.sampled_from(["length", "chunks", "end"]))
    encoded = body
    if framing == "length":
        headers.append(("Content-Length", str(len(body))))
    elif framing == "chunks":
        headers.append(("Transfer-Encoding", "chunked"))
        pieces = [piece for piece in cut(body, draw(st.lists(st.integers(0, 60), max_size=3))) if piece]
        encoded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    lines = [f"HTTP/1.1 {status} Reason", *(f"{name}: {value}" for name, value in headers), "", ""]
    return status, headers, body, "\r\n".join(lines).encode() + encoded


def read_with_h11(pieces: Sequence[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, [], b""
    for piece in [*(piece for piece in pieces if piece), b""]:
        connection.receive_data(piece)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body
    raise AssertionError


@given(responses(), st.lists(st.integers(0, 400), max_size=12))
def test_responses_in_any_pieces_are_read_as_by_h11(
    response: tuple[int, list[tuple[str, str]], bytes, bytes], places: list[int]
) -> None:
    """Where the network cuts the bytes makes no difference."""
    status, headers, body, encoded = response
    pieces = cut(encoded, places)
    reader = read(pieces)
    assert (reader.status, reader.headers, reader.body) == (status, headers, body)
    assert read_with_h11(pieces) == (
        status,
        [(name.lower().encode(), value.encode()) for name, value in headers],
        body,
    )


@given(st.binary(max_size=120) | responses().map(lambda response: response[3]), st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_are_a_response_or_one_error(data: bytes, places: list[int]) -> None:
    """Nothing else is raised, and the pieces make no difference to the outcome."""

    def outcome(pieces: Sequence[bytes]) -> object:
        try:
            reader = read(pieces)
        except RemoteProtocolError:
            return None
        return reader.status, reader.headers, reader.body

    assert outcome(cut(data, places)) == outcome([data])


@given(responses(), st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_mutated_responses_are_a_response_or_one_error(
    response: tuple[int, list[tuple[str, str]], bytes, bytes], place: int, junk: bytes
) -> None:
    """A few bytes of junk anywhere raise nothing else."""
    data = response[3]
    place %= len(data)
    with suppress(RemoteProtocolError):
        assert read([data[:place] + junk + data[place + 1 :]]).status >= 200
