"""The part of a client without I/O: headers, and responses and network errors as waiter's values."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from waiter._version import __version__
from waiter.api.responses import Response, parse_date
from waiter.api.server_clock import ServerClock
from waiter.errors import ApiError, ApiUnavailableError, InvalidResponseError
from waiter.http.response_reader import MAX_BODY, body_too_large
from waiter.task import Task, TaskSnapshot, decode_task

if TYPE_CHECKING:
    from waiter.config.api_key import ApiKey
    from waiter.config.settings import Settings

# Longer than most intervals between polls, so that these share a connection, and shorter than the usual 60 s of load balancers.
KEEPALIVE_EXPIRY = 55.0
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"gcore-waiter/{__version__}"}
# The key may have changed since it was read. A mounted secret that is replaced can be a 403 for a moment too.
REFUSED_STATUSES = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
# These statuses show that the API has accepted the key.
_ACCEPTED = {HTTPStatus.OK, HTTPStatus.NOT_FOUND}
NETWORK_ERRORS = (httpx.RequestError, OSError)

# The status, the headers and the body of a response.
Received = tuple[int, list[tuple[str, str]], bytes]


class BaseClient:
    """The part of a client that sends nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._server_clock = ServerClock()
        custom = {name.lower() for name in settings.headers}
        own = {name: value for name, value in HEADERS.items() if name.lower() not in custom}
        self._headers = {**own, **settings.headers}

    def _response(self, received: Received, url: str, sent_at: float) -> Response:
        """Return the response without its content coding and with the key masked; record its Date, and an accepted key.

        A server may use a content coding unasked. Raises InvalidResponseError and httpx.DecodingError.
        """
        status, headers, body = received
        key = self.settings.api_key
        if status in _ACCEPTED:
            key.accepted = True
        shown = key.hide_in_headers(headers)
        if (coding := shown.get("content-encoding", "identity").strip().lower()) != "identity":
            body = decode_body(body, coding)
        response = Response(status, shown, key.hide_in_bytes(body), url, key.hide)
        if status == HTTPStatus.OK:
            date = parse_date(shown.get("date", ""))
            self._server_clock.observe(date, sent_at=sent_at, received_at=self.settings.clock())
        return response

    def decode_snapshot(self, body: bytes) -> TaskSnapshot:
        """Return the snapshot of a task that a listing has just shown. Raises ValueError."""
        return self._server_clock.snapshot(decode_task(body), now=self.settings.clock())

    def _snapshots(self, tasks: Iterable[Task]) -> list[TaskSnapshot]:
        now = self.settings.clock()
        return [self._server_clock.snapshot(task, now=now) for task in tasks]


def decode_body(body: bytes, coding: str) -> bytes:
    """Return a body without its content coding, but decode no more than the largest body.

    Raises httpx.DecodingError and InvalidResponseError.
    """
    if coding not in {"gzip", "x-gzip", "deflate"}:
        message = f"it has the content coding {coding!r}, which was not asked for"
        raise httpx.DecodingError(message)
    try:
        decoded = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error
    if len(decoded) > MAX_BODY:
        raise body_too_large()
    return decoded


def map_network_error(error: Exception, url: str, key: ApiKey) -> ApiError:
    """Return the ApiError for one of the ``NETWORK_ERRORS``, whose text may quote bytes of the response."""
    subject = url.partition("?")[0].rpartition("/")[2]
    if isinstance(error, TimeoutError):
        return ApiUnavailableError(f"no response: timed out ({subject})", url=url)
    fault = key.hide(": ".join(filter(None, [type(error).__name__, str(error)])))
    if isinstance(error, httpx.TransportError | OSError):
        return ApiUnavailableError(f"no response: {fault} ({subject})", url=url)
    return InvalidResponseError(f"invalid response: {fault} ({subject})", url=url)


def hide_cause(error: Exception, key: ApiKey) -> Exception | None:
    """Return the error as the cause of another one, or None when its text has the key."""
    return error if key.hide(str(error)) == str(error) else None
