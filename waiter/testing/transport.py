"""The simulation as an httpx transport: no network access and no real sleeps."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Protocol

import httpx

from waiter.testing.response import RequestHandler, SimulatedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Generator, Iterator


class SimulatedHost(RequestHandler, Protocol):
    """What the transport needs of its cloud."""

    @property
    def base_url(self) -> str:
        """Return the URL of the only host that can be reached."""

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`."""

    def async_sleep(self, seconds: float) -> Awaitable[None]:
        """Sleep for `seconds`, awaited."""


@cache
def _host_of(url: str) -> str:
    return httpx.URL(url).host


class SimulatedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport for `httpx.Client` and `httpx.AsyncClient`.

    Time passes by the cloud's `sleep` and `async_sleep`. A fault raises the exception that httpx
    raises for it on a real network. A request to another host fails to connect.
    """

    def __init__(self, cloud: SimulatedHost) -> None:
        self._cloud = cloud

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response, or raise the network error."""
        request.read()
        time_limit = _TimeLimit(request)
        delivery = _deliver_head(self._respond(request), time_limit)
        while True:
            try:
                self._cloud.sleep(next(delivery))
            except StopIteration as delivered:
                return _make_response(delivered.value, time_limit, self._cloud)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response, or raise the network error, awaited."""
        await request.aread()
        time_limit = _TimeLimit(request)
        delivery = _deliver_head(self._respond(request), time_limit)
        while True:
            try:
                seconds = next(delivery)
            except StopIteration as delivered:
                return _make_response(delivered.value, time_limit, self._cloud)
            await self._cloud.async_sleep(seconds)

    def _respond(self, request: httpx.Request) -> SimulatedResponse:
        if request.url.host != _host_of(self._cloud.base_url):
            self._cloud.record_unexpected(f"{request.method} {request.url}: another host")
            message = f"{request.url.host} is not simulated"
            raise httpx.ConnectError(message, request=request)
        target = request.url.raw_path.decode("ascii")
        return self._cloud.respond(request.method, target, request.headers)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body as it arrives: between its parts (bytes) it sleeps (float, seconds)."""

    def __init__(self, response: SimulatedResponse, time_limit: _TimeLimit, cloud: SimulatedHost) -> None:
        self._response = response
        self._time_limit = time_limit
        self._cloud = cloud

    def __iter__(self) -> Iterator[bytes]:
        for part in _deliver_body(self._response, self._time_limit):
            if isinstance(part, bytes):
                yield part
            else:
                self._cloud.sleep(part)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in _deliver_body(self._response, self._time_limit):
            if isinstance(part, bytes):
                yield part
            else:
                await self._cloud.async_sleep(part)


class _TimeLimit:
    """The time-outs of a request: httpx's read time-out for each byte, and a total.

    A request with the extension "deadline", as waiter sends it, has one time-out for all its bytes.
    """

    def __init__(self, request: httpx.Request) -> None:
        read = request.extensions.get("timeout", {}).get("read")
        self.request = request
        self._read_timeout = math.inf if read is None else read
        self._total_left = self._read_timeout if "deadline" in request.extensions else math.inf

    def wait(self, seconds: float, *, receiving: bool = False) -> Iterator[float]:
        """Yield the sleep until data arrives, and raise ReadTimeout if a time-out ends first.

        While bytes are being received, only the total limits.
        """
        allowed = self._total_left if receiving else min(self._read_timeout, self._total_left)
        if min(seconds, allowed) == math.inf:
            message = f"{self.request.method} {self.request.url} has no read time-out and would hang for ever"
            raise AssertionError(message)
        self._total_left -= min(seconds, allowed)
        yield min(seconds, allowed)
        if seconds > allowed:
            message = "The read operation timed out"
            raise httpx.ReadTimeout(message, request=self.request)


def _deliver_head(response: SimulatedResponse, time_limit: _TimeLimit) -> Generator[float, None, SimulatedResponse]:
    """Yield the sleeps until the head of the response has arrived, or raise the network error."""
    if response.delivery == "refused":
        message = "[Errno 111] Connection refused"
        raise httpx.ConnectError(message, request=time_limit.request)
    if response.pause:
        yield from time_limit.wait(response.pause)
    if response.delivery == "reset":
        message = "[Errno 104] Connection reset by peer"
        raise httpx.ReadError(message, request=time_limit.request)
    if response.delivery == "drip_headers":
        yield from time_limit.wait(response.byte_interval)
        yield from time_limit.wait(response.byte_interval * (len(response.head) - 1), receiving=True)
    return response


def _deliver_body(response: SimulatedResponse, time_limit: _TimeLimit) -> Iterator[bytes | float]:
    """Yield the parts of the body and the sleeps before them, or raise the network error."""
    if response.delivery == "drip_body":
        for byte in response.body:
            yield from time_limit.wait(response.byte_interval)
            yield bytes([byte])
    elif response.delivery == "half":
        yield response.half
        message = (
            "peer closed connection without sending complete message body "
            f"(received {len(response.half)} bytes, expected {len(response.body)})"
        )
        raise httpx.RemoteProtocolError(message, request=time_limit.request)
    else:
        yield response.body


def _make_response(response: SimulatedResponse, time_limit: _TimeLimit, cloud: SimulatedHost) -> httpx.Response:
    return httpx.Response(
        response.status,
        headers=response.sent_headers,
        stream=_Body(response, time_limit, cloud),
        extensions={"http_version": b"HTTP/1.1"},
    )
