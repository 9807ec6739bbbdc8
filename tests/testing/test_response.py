"""A response as HTTP/1.1 sends it."""

from __future__ import annotations

from waiter.testing.response import SimulatedResponse


def test_head_is_the_status_line_and_headers() -> None:
    """The head is what HTTP/1.1 sends, for statuses with and without a phrase."""
    plain = SimulatedResponse(status=200, body=b"{}", headers={"Date": "today"})
    assert plain.head == b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\n"
    assert SimulatedResponse(status=204).head == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert SimulatedResponse(status=599).head == b"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n"
