"""The only room that asks the API: authentication, time-outs and connections, blocking and awaited."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import httpx

from waiter._version import __version__
from waiter.api import Answer, past_path, read_date, read_task, read_tasks, task_path
from waiter.errors import ApiUnavailableError, ConfigurationError, InvalidResponseError
from waiter.server_clock import ServerClock
from waiter.task import Sighting, Task
from waiter.transport import KEEPALIVE_EXPIRY, Transport

if TYPE_CHECKING:
    from waiter.settings import ApiKey, Settings

LARGEST_BODY = 16 * 2**20
HttpClient = TypeVar("HttpClient", httpx.Client, httpx.AsyncClient)


class _Auth(httpx.Auth):
    """Sends the key, and once more when it was refused and its file holds another one by now."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        sent = request.headers["Authorization"] = self._key.header
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        self._key.read_again()
        if self._key.header != sent:
            request.headers["Authorization"] = self._key.header
            yield request


class _Caller(Generic[HttpClient]):
    """All that the two clients do alike: everything but the sending."""

    def __init__(self, settings: Settings, http: HttpClient) -> None:
        self._settings = settings
        self._http: HttpClient = http
        self._auth = _Auth(settings.api_key)
        self._server_clock = ServerClock()

    def _request(self, path: str, timeout: float) -> httpx.Request:
        return self._http.build_request(
            "GET",
            f"{self._settings.base_url}{path}",
            headers={"Accept": "application/json", "User-Agent": f"gcore-waiter/{__version__}"},
            timeout=timeout,
            extensions={"total_timeout": timeout},
        )

    def _answer(self, response: httpx.Response, body: bytes) -> Answer:
        key = self._settings.api_key
        headers = {name.lower(): key.hide(value) for name, value in response.headers.items()}
        return Answer(response.status_code, headers, key.hide_in_bytes(body), str(response.url))

    def _sightings(self, answer: Answer, asked_at: float, tasks: list[Task]) -> list[Sighting]:
        now = self._settings.clock()
        self._server_clock.observe(read_date(answer.headers), asked_at=asked_at, answered_at=now)
        return [Sighting(task, self._server_clock.age(task.created_on, now=now)) for task in tasks]


class _Body:
    """The bytes of an answer as they arrive, not endless and not for ever."""

    def __init__(self, until: float, settings: Settings) -> None:
        self._until = until
        self._clock = settings.clock
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


@contextmanager
def _faults_of(request: httpx.Request) -> Iterator[None]:
    """Turn every fault of the network into one error."""
    try:
        yield
    except (httpx.TransportError, TimeoutError) as error:
        message = f"no answer: {_fault(error)}"
        raise ApiUnavailableError(message, url=str(request.url)) from error
    except httpx.RequestError as error:
        message = f"not what the API describes: {_fault(error)}"
        raise InvalidResponseError(message, url=str(request.url)) from error


def _fault(error: Exception) -> str:
    return ": ".join(filter(None, [type(error).__name__, str(error)]))


class Client(_Caller[httpx.Client]):
    """Asks the API and blocks until it answers; times are seconds."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.client or _make_client(settings))
        if not isinstance(self._http, httpx.Client):
            message = "client must be an httpx.Client here; an httpx.AsyncClient goes with AsyncWaiter and waiter.aio"
            raise ConfigurationError(message)

    def get_task(self, task_id: str, *, timeout: float) -> Sighting:
        """Look at a task once; ``timeout`` bounds the whole request. Raises ApiError."""
        asked_at = self._settings.clock()
        answer = self._fetch(task_path(task_id), timeout)
        return self._sightings(answer, asked_at, [read_task(answer, task_id)])[0]

    def get_past(self, task_type: str, *, limit: int, timeout: float) -> list[Sighting]:
        """List the newest tasks of a type, ended or not. Raises ApiError."""
        asked_at = self._settings.clock()
        answer = self._fetch(past_path(task_type, limit=limit), timeout)
        return self._sightings(answer, asked_at, read_tasks(answer))

    def close(self) -> None:
        """Close the connections, unless the client is the user's own."""
        if self._settings.client is None:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, path: str, timeout: float) -> Answer:
        request = self._request(path, timeout)
        body = _Body(self._settings.clock() + timeout, self._settings)
        with _faults_of(request):
            response = self._http.send(request, stream=True, auth=self._auth, follow_redirects=False)
            try:
                for chunk in response.iter_bytes():
                    body.add(chunk)
            finally:
                response.close()
        return self._answer(response, bytes(body))


class AsyncClient(_Caller[httpx.AsyncClient]):
    """Like Client, awaited."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.client or _make_async_client(settings))
        if not isinstance(self._http, httpx.AsyncClient):
            message = "client must be an httpx.AsyncClient here; an httpx.Client goes with Waiter and wait_for_task"
            raise ConfigurationError(message)

    async def get_task(self, task_id: str, *, timeout: float) -> Sighting:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        asked_at = self._settings.clock()
        answer = await self._fetch(task_path(task_id), timeout)
        return self._sightings(answer, asked_at, [read_task(answer, task_id)])[0]

    async def get_past(self, task_type: str, *, limit: int, timeout: float) -> list[Sighting]:  # noqa: ASYNC109 - like Client
        """Like Client.get_past, awaited."""
        asked_at = self._settings.clock()
        answer = await self._fetch(past_path(task_type, limit=limit), timeout)
        return self._sightings(answer, asked_at, read_tasks(answer))

    async def close(self) -> None:
        """Like Client.close, awaited."""
        if self._settings.client is None:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _fetch(self, path: str, timeout: float) -> Answer:  # noqa: ASYNC109 - like Client
        import anyio  # noqa: PLC0415 - it brings asyncio, which a blocking wait never needs

        request = self._request(path, timeout)
        body = _Body(self._settings.clock() + timeout, self._settings)
        with _faults_of(request), anyio.fail_after(timeout):
            response = await self._http.send(request, stream=True, auth=self._auth, follow_redirects=False)
            try:
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
            finally:
                await response.aclose()
        return self._answer(response, bytes(body))


def _make_client(settings: Settings) -> httpx.Client:
    transport = Transport(ssl_context=_ssl_context(settings), proxy=settings.proxy)
    return httpx.Client(transport=transport, trust_env=False)


def _make_async_client(settings: Settings) -> httpx.AsyncClient:
    limits = httpx.Limits(keepalive_expiry=KEEPALIVE_EXPIRY)
    verify = _ssl_context(settings) or ssl.create_default_context(capath="/")
    transport = httpx.AsyncHTTPTransport(verify=verify, limits=limits, proxy=settings.proxy)
    return httpx.AsyncClient(transport=transport, trust_env=False)


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    # Reading the bundle of certificates takes longer than a look, so plain http does without it.
    return httpx.create_ssl_context() if settings.base_url.startswith("https:") else None
