"""An HTTP/1.1 response from bytes, without I/O: the same for the blocking and the awaited connection."""

from __future__ import annotations

import httptools

from waiter.errors import InvalidResponseError
from waiter.http.network_errors import RemoteProtocolError

MAX_HEAD = 100 * 1024
MAX_BODY = 16 * 2**20
# A status below this is interim: the response follows (RFC 9110, 15.2).
_FINAL = 200


class ResponseReader:
    """Reads one response; httptools, the parser of Node.js, calls the methods named on_...

    ``body`` is set when the reader of a complete response is closed: as it was sent, without its transfer coding.
    """

    def __init__(self) -> None:
        self.status = self.size = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.is_complete = self.can_keep_alive = False
        self._chunks: list[bytes] = []
        self._body_size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes | memoryview) -> None:
        """Read the next bytes of the connection. Raises RemoteProtocolError and InvalidResponseError.

        Bytes after the response belong to no request, so the connection is not kept.
        """
        self.size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            message = "the server asks for another protocol"
            raise RemoteProtocolError(message) from None
        except httptools.HttpParserError as error:
            self.can_keep_alive = False
            if not self.is_complete:
                raise RemoteProtocolError(str(error)) from None
        if not self.status and self.size > MAX_HEAD:
            message = f"more than {MAX_HEAD} bytes of headers"
            raise RemoteProtocolError(message)
        if self._body_size > MAX_BODY:
            raise body_too_large()

    def end(self) -> None:
        """Record the end of the connection, which ends a body without a length (RFC 9112, 6.3). Raises RemoteProtocolError."""
        if not self.status or not {"content-length", "transfer-encoding"}.isdisjoint(name.lower() for name, _ in self.headers):
            message = f"server disconnected after {self.size} bytes of the response"
            raise RemoteProtocolError(message)
        self.is_complete = True

    def close(self) -> None:
        """Set the body of a complete response, and release its pieces and the parser, which refers to this object.

        The error of an incomplete one refers to this object until the next poll, and would keep 32 MiB. Collecting the
        cycles of parsers would pause a loop with many waits.
        """
        if self.is_complete:
            self.body = b"".join(self._chunks)
        self._chunks.clear()
        del self._parser

    def on_message_begin(self) -> None:
        """Raise ValueError for a second response."""
        if self.is_complete:
            message = "more than one response"
            raise ValueError(message)
        self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Record a header."""
        if not self.status:  # fields after the body are trailers, not headers (RFC 9110, 6.5)
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Record the status of a final response."""
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self.status = status

    def on_body(self, chunk: bytes) -> None:
        """Record a piece of the body."""
        self._chunks.append(chunk)
        self._body_size += len(chunk)

    def on_message_complete(self) -> None:
        """Record the end of a final response."""
        if self.status:
            self.is_complete = True
            self.can_keep_alive = self._parser.should_keep_alive()


class TunnelReader(ResponseReader):
    """Reads the response of a proxy to CONNECT, which ends with its head when its status is 2xx (RFC 9110, 9.3.6)."""

    reason = b""

    def on_status(self, reason: bytes) -> None:
        """Record the reason phrase."""
        self.reason = reason

    def on_headers_complete(self) -> None:
        """Record the status and the end of the response."""
        super().on_headers_complete()
        self.is_complete = self.status > 0

    def on_message_complete(self) -> None:
        """Do nothing: the response ended with its head."""


def body_too_large() -> InvalidResponseError:
    """Return the error for a body of more than ``MAX_BODY`` bytes."""
    return InvalidResponseError(f"invalid response: more than {MAX_BODY} bytes")
