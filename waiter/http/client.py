"""The only room that asks the API: authentication, time-outs and connections, blocking and awaited."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from waiter._version import __version__
from waiter.api.responses import (
    ActivePage,
    Answer,
    active_path,
    past_path,
    read_active,
    read_date,
    read_past,
    read_task,
    task_path,
)
from waiter.api.server_clock import ServerClock
from waiter.errors import ConfigurationError
from waiter.http.exchange import KEEPALIVE_EXPIRY, Auth, Body, map_network_errors
from waiter.task import Task, TaskSnapshot, decode_task

if TYPE_CHECKING:
    from waiter.config.settings import Settings
    from waiter.http.connection_pool import Pool

_PORTS = {"http": 80, "https": 443}
_HEADERS = {"Accept": "application/json", "User-Agent": f"gcore-waiter/{__version__}"}


class _BaseClient:
    """All that the two clients do alike: everything but the sending."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._auth = Auth(settings.api_key)
        self._server_clock = ServerClock()

    def _request(self, http: httpx.Client | httpx.AsyncClient, path: str, timeout: float) -> httpx.Request:
        return http.build_request(
            "GET",
            f"{self._settings.base_url}{path}",
            headers=_HEADERS,
            timeout=timeout,
            # The one is for the simulation, the other for the transport: a request sent twice has no more time than once.
            extensions={"total_timeout": timeout, "deadline": time.monotonic() + timeout},
        )

    def _answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes, url: str) -> Answer:
        key = self._settings.api_key
        shown = {name.lower(): key.hide(value) for name, value in headers}
        return Answer(status, shown, key.hide_in_bytes(body), url)

    def snapshot(self, body: bytes) -> TaskSnapshot:
        """Read a task as a listing has just shown it. Raises ValueError."""
        task = decode_task(body)
        return TaskSnapshot(task, self._server_clock.age(task.created_on, now=self._settings.clock()))

    def _active(self, answer: Answer, asked_at: float) -> ActivePage:
        page = read_active(answer)
        self._snapshots(answer, asked_at, [])
        return page

    def _snapshots(self, answer: Answer, asked_at: float, tasks: list[Task]) -> list[TaskSnapshot]:
        now = self._settings.clock()
        self._server_clock.observe(read_date(answer.headers), asked_at=asked_at, answered_at=now)
        return [TaskSnapshot(task, self._server_clock.age(task.created_on, now=now)) for task in tasks]


class Client(_BaseClient):
    """Asks the API and blocks until it answers; times are seconds."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._http: httpx.Client = settings.client or _make_client(settings)
        if not isinstance(self._http, httpx.Client):
            message = "client must be an httpx.Client here; an httpx.AsyncClient goes with AsyncWaiter and waiter.aio"
            raise ConfigurationError(message)

    def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:
        """Look at a task once; ``timeout`` bounds the whole request. Raises ApiError."""
        asked_at = self._settings.clock()
        answer = self._fetch(task_path(task_id), timeout)
        return self._snapshots(answer, asked_at, [read_task(answer, task_id)])[0]

    def get_past(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:
        """List the newest tasks of a type, ended or not. Raises ApiError."""
        asked_at = self._settings.clock()
        answer = self._fetch(past_path(task_type, limit=limit), timeout)
        return self._snapshots(answer, asked_at, read_past(answer, task_type))

    def get_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:
        """List a part of the tasks that have not ended. Raises ApiError."""
        asked_at = self._settings.clock()
        return self._active(self._fetch(active_path(limit=limit, offset=offset), timeout), asked_at)

    def close(self) -> None:
        """Close the connections, unless the client is the user's own."""
        if self._settings.client is None:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, path: str, timeout: float) -> Answer:
        request = self._request(self._http, path, timeout)
        body = Body(self._settings.clock() + timeout, self._settings.clock)
        with map_network_errors(str(request.url)):
            response = self._http.send(request, stream=True, auth=self._auth, follow_redirects=False)
            try:
                for chunk in response.iter_bytes():
                    body.add(chunk)
            finally:
                response.close()
        return self._answer(response.status_code, response.headers.items(), bytes(body), str(response.url))


class AsyncClient(_BaseClient):
    """Like Client, awaited."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # Proxies and clients of the user's own are httpx's business, and so is trio.
        self._pool = _make_pool(settings) if settings.client is None and settings.proxy is None else None
        if not isinstance(settings.client, httpx.AsyncClient | None):
            message = "client must be an httpx.AsyncClient here; an httpx.Client goes with Waiter and wait_for_task"
            raise ConfigurationError(message)

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        return self._settings.client or _make_async_client(self._settings)

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        asked_at = self._settings.clock()
        answer = await self._fetch(task_path(task_id), timeout)
        return self._snapshots(answer, asked_at, [read_task(answer, task_id)])[0]

    async def get_past(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Like Client.get_past, awaited."""
        asked_at = self._settings.clock()
        answer = await self._fetch(past_path(task_type, limit=limit), timeout)
        return self._snapshots(answer, asked_at, read_past(answer, task_type))

    async def get_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Like Client.get_active, awaited."""
        asked_at = self._settings.clock()
        return self._active(await self._fetch(active_path(limit=limit, offset=offset), timeout), asked_at)

    async def close(self) -> None:
        """Like Client.close, awaited."""
        if self._pool is not None and self._pool.is_of_use:
            await self._pool.close()
        if self._settings.client is None and "_http" in vars(self):
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _fetch(self, path: str, timeout: float) -> Answer:  # noqa: ASYNC109 - like Client
        if self._pool is not None and self._pool.is_of_use:
            return await self._fetch_from(self._pool, path, timeout)
        import anyio  # noqa: PLC0415 - it brings asyncio, which a blocking wait never needs

        request = self._request(self._http, path, timeout)
        body = Body(self._settings.clock() + timeout, self._settings.clock)
        with map_network_errors(str(request.url)), anyio.fail_after(timeout):
            response = await self._http.send(request, stream=True, auth=self._auth, follow_redirects=False)
            try:
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
            finally:
                await response.aclose()
        return self._answer(response.status_code, response.headers.items(), bytes(body), str(response.url))

    async def _fetch_from(self, pool: Pool, path: str, timeout: float) -> Answer:  # noqa: ASYNC109 - like Client
        key = self._settings.api_key
        with map_network_errors(f"{self._settings.base_url}{path}"):
            async with pool.within(timeout):
                answer = await self._ask(pool, path, timeout, sent := key.header)
                if answer.status == httpx.codes.UNAUTHORIZED:
                    key.read_again()
                    if key.header != sent:
                        return await self._ask(pool, path, timeout, key.header)
                return answer

    async def _ask(self, pool: Pool, path: str, timeout: float, key: str) -> Answer:  # noqa: ASYNC109 - like Client
        body = Body(self._settings.clock() + timeout, self._settings.clock)
        status, headers = await pool.get(path, _HEADERS | {"Authorization": key}, body.add)
        return self._answer(status, headers, body.decoded(headers), f"{self._settings.base_url}{path}")


class ThreadedClient:
    """Like AsyncClient, over a blocking one: ``run`` awaits a blocking call. It closes nothing."""

    def __init__(self, client: Client, run: Callable[..., Awaitable[Any]]) -> None:
        self._client = client
        self._run = run

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        return cast("TaskSnapshot", await self._run(self._client.get_task, task_id, timeout=timeout))

    async def get_past(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Like Client.get_past, awaited."""
        return cast("list[TaskSnapshot]", await self._run(self._client.get_past, task_type, limit=limit, timeout=timeout))

    async def get_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Like Client.get_active, awaited."""
        return cast("ActivePage", await self._run(self._client.get_active, limit=limit, offset=offset, timeout=timeout))

    def snapshot(self, body: bytes) -> TaskSnapshot:
        """Like Client.sighting."""
        return self._client.snapshot(body)

    async def close(self) -> None:
        """Leave the connections to whom they belong."""


def _make_client(settings: Settings) -> httpx.Client:
    from waiter.http.deadline_transport import Transport  # noqa: PLC0415 - httpcore takes long to load, and an import may not be followed by a wait

    transport = Transport(ssl_context=_ssl_context(settings), proxy=settings.proxy, keepalive_expiry=KEEPALIVE_EXPIRY)
    return httpx.Client(transport=transport, trust_env=False)


def _make_async_client(settings: Settings) -> httpx.AsyncClient:
    limits = httpx.Limits(keepalive_expiry=KEEPALIVE_EXPIRY)
    verify = _ssl_context(settings) or ssl.create_default_context(capath="/")
    transport = httpx.AsyncHTTPTransport(verify=verify, limits=limits, proxy=settings.proxy)
    return httpx.AsyncClient(transport=transport, trust_env=False)


def _make_pool(settings: Settings) -> Pool:
    from waiter.http.connection_pool import Pool, Server  # noqa: PLC0415 - it brings asyncio, which a blocking wait never needs

    url = httpx.URL(settings.base_url)
    host, netloc, path = (part.decode("ascii") for part in (url.raw_host, url.netloc, url.raw_path))
    return Pool(Server(host, url.port or _PORTS[url.scheme], netloc, path, _ssl_context(settings)))


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    # Reading the bundle of certificates takes longer than a look, so plain http does without it.
    if not settings.base_url.startswith("https:"):
        return None
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        message = f"the certificates of {settings.certificates} cannot be read: {error.strerror or error}"
        raise ConfigurationError(message) from error
