"""Requests over httpx clients of the user. The other requests go over waiter's pools."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from waiter.errors import WaiterError
from waiter.http.exchange import Received
from waiter.http.response_reader import MAX_BODY, body_too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waiter.config.settings import Settings


class HttpxTransport:
    """Sends requests over a blocking httpx client of the user, which is not closed."""

    def __init__(self, settings: Settings) -> None:
        self._http: httpx.Client = settings.client
        self._base_url = settings.base_url
        self._clock = settings.clock

    def request(self, method: str, path: str, headers: Mapping[str, str], timeout: float) -> Received:
        """Send a request without a body and return the response. Raises httpx.RequestError; WaiterError if it is closed."""
        request = _build_request(self._http, method, f"{self._base_url}{path}", headers, timeout)
        body = _Body(self._clock, timeout)
        response = self._http.send(request, stream=True, auth=None, follow_redirects=False)
        if response.is_stream_consumed:  # by an event hook of the client, or by a mock
            body.add(response.content)
            return body.received(response, is_decoded=True)
        try:
            for chunk in response.iter_raw():
                body.add(chunk)
        finally:
            response.close()
        return body.received(response)

    def close(self) -> None:
        """Do nothing: the client belongs to the user."""


class AsyncHttpxTransport:
    """Like HttpxTransport, awaited."""

    def __init__(self, settings: Settings) -> None:
        self._http: httpx.AsyncClient = settings.client
        self._base_url = settings.base_url
        self._clock = settings.clock

    async def request(self, method: str, path: str, headers: Mapping[str, str], timeout: float) -> Received:  # noqa: ASYNC109 - like HttpxTransport
        """Like HttpxTransport.request, awaited."""
        import anyio  # noqa: PLC0415 - slow to load, and unused by waiter's own connections

        with anyio.fail_after(timeout):
            request = _build_request(self._http, method, f"{self._base_url}{path}", headers, timeout)
            body = _Body(self._clock, timeout)
            response = await self._http.send(request, stream=True, auth=None, follow_redirects=False)
            if response.is_stream_consumed:
                body.add(response.content)
                return body.received(response, is_decoded=True)
            try:
                async for chunk in response.aiter_raw():
                    body.add(chunk)
            finally:
                await response.aclose()
            return body.received(response)

    async def close(self) -> None:
        """Do nothing: the client belongs to the user."""


class _Body:
    """The body of a response, limited in size, and in time between its chunks."""

    def __init__(self, clock: Callable[[], float], timeout: float) -> None:
        self._clock = clock
        self._until = clock() + timeout
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Append a chunk. Raises InvalidResponseError when the body is too large, ReadTimeout when it takes too long."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_BODY:
            raise body_too_large()
        if self._clock() > self._until:
            message = "the whole response took too long"
            raise httpx.ReadTimeout(message)

    def received(self, response: httpx.Response, *, is_decoded: bool = False) -> Received:
        """Return the response with this body; ``is_decoded`` if it was read as a whole, which decodes its content coding."""
        headers = response.headers.multi_items()
        if is_decoded:
            headers = [(name, value) for name, value in headers if name.lower() != "content-encoding"]
        return response.status_code, headers, b"".join(self._chunks)


def _build_request(
    http: httpx.Client | httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], timeout: float
) -> httpx.Request:
    if http.is_closed:
        message = "the httpx client is closed"
        raise WaiterError(message)
    if timeout <= 0:
        message = "no time is left for the request"
        raise httpx.ConnectTimeout(message)
    # The simulation reads the deadline: one time-out for all bytes of the response.
    extensions = {"deadline": time.monotonic() + timeout}
    return http.build_request(method, url, headers=headers, timeout=timeout, extensions=extensions)
