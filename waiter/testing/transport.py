"""The simulation as an httpx transport: nothing touches the network, nothing sleeps for real."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Protocol

import httpx

from waiter.testing.answer import Answer, Answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Generator, Iterator


class Site(Answers, Protocol):
    """What the transport needs of its cloud."""

    @property
    def base_url(self) -> str:
        """The only host that there is."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def async_sleep(self, seconds: float) -> Awaitable[None]:
        """Like sleep, awaited."""


@cache
def _host(url: str) -> str:
    return httpx.URL(url).host


class SimulatedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport for `httpx.Client` and for `httpx.AsyncClient`.

    Time passes by the cloud's `sleep` and `async_sleep`; faults are the exceptions that httpx
    raises for the same thing on a real network. A request to any other host fails to connect.
    """

    def __init__(self, cloud: Site) -> None:
        self._cloud = cloud

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, or raise what the network would."""
        request.read()
        wait = _Patience(request)
        travel = _travel(self._answer(request), wait)
        while True:
            try:
                self._cloud.sleep(next(travel))
            except StopIteration as arrived:
                return _response(arrived.value, _Body(arrived.value, wait, self._cloud))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Like handle_request, awaited."""
        await request.aread()
        wait = _Patience(request)
        travel = _travel(self._answer(request), wait)
        while True:
            try:
                seconds = next(travel)
            except StopIteration as arrived:
                return _response(arrived.value, _Body(arrived.value, wait, self._cloud))
            await self._cloud.async_sleep(seconds)

    def _answer(self, request: httpx.Request) -> Answer:
        if request.url.host != _host(self._cloud.base_url):
            self._cloud.unexpected(f"{request.method} {request.url}: another host")
            message = f"{request.url.host} is not simulated"
            raise httpx.ConnectError(message, request=request)
        target = request.url.raw_path.decode("ascii")
        return self._cloud.answer(request.method, target, request.headers)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body as it arrives; a float is a sleep."""

    def __init__(self, answer: Answer, wait: _Patience, cloud: Site) -> None:
        self._answer = answer
        self._wait = wait
        self._cloud = cloud

    def __iter__(self) -> Iterator[bytes]:
        for part in _parts(self._answer, self._wait):
            if isinstance(part, bytes):
                yield part
            else:
                self._cloud.sleep(part)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in _parts(self._answer, self._wait):
            if isinstance(part, bytes):
                yield part
            else:
                await self._cloud.async_sleep(part)


class _Patience:
    """How long a request waits: for each byte, as httpx has it, and in all.

    The extension "total_timeout" (seconds) is that of waiter's own transport.
    """

    def __init__(self, request: httpx.Request) -> None:
        read = request.extensions.get("timeout", {}).get("read")
        self.request = request
        self._read = math.inf if read is None else read
        self._left = request.extensions.get("total_timeout", math.inf)

    def silence(self, seconds: float, *, bytewise: bool = False) -> Iterator[float]:
        """Sleep until something comes, or until patience ends; `bytewise`, something comes all the time."""
        allowed = self._left if bytewise else min(self._read, self._left)
        if min(seconds, allowed) == math.inf:
            message = f"{self.request.method} {self.request.url} has no read time-out and would hang for ever"
            raise AssertionError(message)
        self._left -= min(seconds, allowed)
        yield min(seconds, allowed)
        if seconds > allowed:
            message = "The read operation timed out"
            raise httpx.ReadTimeout(message, request=self.request)


def _travel(answer: Answer, wait: _Patience) -> Generator[float, None, Answer]:
    """The sleeps until the head of the answer is there, or the exception instead of it."""
    if answer.delivery == "refused":
        message = "[Errno 111] Connection refused"
        raise httpx.ConnectError(message, request=wait.request)
    if answer.pause:
        yield from wait.silence(answer.pause)
    if answer.delivery == "reset":
        message = "[Errno 104] Connection reset by peer"
        raise httpx.ReadError(message, request=wait.request)
    if answer.delivery == "drip_headers":
        yield from wait.silence(answer.pace)
        yield from wait.silence(answer.pace * (len(answer.head) - 1), bytewise=True)
    return answer


def _parts(answer: Answer, wait: _Patience) -> Iterator[bytes | float]:
    """The body, with the sleeps and the end that its delivery gives it."""
    if answer.delivery == "drip_body":
        for byte in answer.body:
            yield from wait.silence(answer.pace)
            yield bytes([byte])
    elif answer.delivery == "half":
        yield answer.half
        message = (
            "peer closed connection without sending complete message body "
            f"(received {len(answer.half)} bytes, expected {len(answer.body)})"
        )
        raise httpx.RemoteProtocolError(message, request=wait.request)
    else:
        yield answer.body


def _response(answer: Answer, body: _Body) -> httpx.Response:
    return httpx.Response(
        answer.status,
        headers=answer.wire_headers,
        stream=body,
        extensions={"http_version": b"HTTP/1.1"},
    )
