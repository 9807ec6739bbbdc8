"""One exchange in waiter's terms: the key goes along, the body is bounded, and every fault is one error."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import httpx

from waiter.config.api_key import ApiKey
from waiter.errors import ApiUnavailableError, InvalidResponseError

LARGEST_BODY = 16 * 2**20
# Longer than most gaps between looks, so that they share a connection, and shorter than what balancers allow (60 s is usual).
KEEPALIVE_EXPIRY = 55.0
_CODINGS = {"gzip", "x-gzip", "deflate"}


class Auth(httpx.Auth):
    """Sends the key, and once more when it was refused and its file holds another one by now."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request, and again with a newer key, under the deadline of the first."""
        sent = request.headers["Authorization"] = self._key.header
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        self._key.read_again()
        if self._key.header != sent:
            request.headers["Authorization"] = self._key.header
            yield request


class Body:
    """The bytes of an answer as they arrive, not endless and not for ever."""

    def __init__(self, until: float, clock: Callable[[], float]) -> None:
        self._until = until
        self._clock = clock
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Keep a chunk, unless that makes too much or too late."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > LARGEST_BODY:
            message = f"not what the API describes: more than {LARGEST_BODY} bytes"
            raise InvalidResponseError(message)
        if self._clock() > self._until:
            message = "the whole answer took too long"
            raise httpx.ReadTimeout(message)

    def __bytes__(self) -> bytes:
        return b"".join(self._chunks)

    def decoded(self, headers: list[tuple[str, str]]) -> bytes:
        """Give it without its content coding, which a server may use although nobody asked for one; raises httpx's errors."""
        for coding in [value.strip().lower() for name, value in headers if name.lower() == "content-encoding"]:
            if coding != "identity":
                coded, self._chunks, self._size = bytes(self), [], 0
                self.add(_decoded(coded, coding))
        return bytes(self)


def _decoded(coded: bytes, coding: str) -> bytes:
    """Undo a coding, and stop where the body is too large anyway."""
    if coding not in _CODINGS:
        message = f"it is coded as {coding!r}, which nobody asked for"
        raise httpx.DecodingError(message)
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(coded, LARGEST_BODY + 1)
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error


@contextmanager
def map_network_errors(url: str) -> Iterator[None]:
    """Turn every fault of the network into one error."""
    subject = url.partition("?")[0].rpartition("/")[2]
    try:
        yield
    except (httpx.TransportError, OSError) as error:
        message = f"no answer: {_fault(error)} ({subject})"
        raise ApiUnavailableError(message, url=url) from error
    except httpx.RequestError as error:
        message = f"not what the API describes: {_fault(error)} ({subject})"
        raise InvalidResponseError(message, url=url) from error


def _fault(error: Exception) -> str:
    return ": ".join(filter(None, [type(error).__name__, str(error)]))
