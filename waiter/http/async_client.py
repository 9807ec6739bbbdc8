"""The awaited client, for asyncio and trio, and one that awaits the blocking client."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from waiter.api.listings import ActivePage, read_active, read_history
from waiter.api.requests import acknowledge_path, active_path, history_path, task_path
from waiter.api.responses import Response, read_task
from waiter.config.settings import Settings
from waiter.errors import ConfigurationError
from waiter.http.exchange import (
    KEEPALIVE_EXPIRY,
    NETWORK_ERRORS,
    REFUSED_STATUSES,
    BaseClient,
    Body,
    Received,
    check_open,
    hide_cause,
    map_network_error,
    without_coding,
)
from waiter.http.route import find_route, make_ssl_context
from waiter.task import Task, TaskSnapshot

if TYPE_CHECKING:
    from waiter.http.async_pool import AsyncPool
    from waiter.http.client import Client

OnExchange = Callable[[float, int | None], object]


class AsyncClient(BaseClient):
    """Like Client, awaited.

    ``on_exchange`` is called after each exchange with its seconds and the HTTP status of the response, or None without one.
    """

    def __init__(self, settings: Settings, on_exchange: OnExchange | None = None) -> None:
        """Raises ConfigurationError."""
        super().__init__(settings)
        self._on_exchange = on_exchange
        # httpx serves the user's clients and trio.
        self._pool = _make_pool(settings) if settings.client is None else None
        if not isinstance(settings.client, httpx.AsyncClient | None):
            message = "client must be an httpx.AsyncClient here; an httpx.Client is for Waiter and wait_for_task"
            raise ConfigurationError(message)

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        return self.settings.client or _make_http_client(self.settings)

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        sent_at = self.settings.clock()
        response = await self._fetch(task_path(task_id), timeout)
        task = read_task(response, task_id)
        now = self._observe(response, sent_at)
        return TaskSnapshot(task, self._server_clock.age(task.created_on, now=now))

    async def acknowledge(self, task_id: str, *, timeout: float) -> Task:  # noqa: ASYNC109 - like Client
        """Like Client.acknowledge, awaited."""
        return read_task(await self._fetch(acknowledge_path(task_id), timeout, method="POST"), task_id)

    async def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Like Client.list_history, awaited."""
        sent_at = self.settings.clock()
        response = await self._fetch(history_path(task_type, limit=limit), timeout)
        return self._snapshots(read_history(response, task_type), self._observe(response, sent_at))

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Like Client.list_active, awaited."""
        sent_at = self.settings.clock()
        response = await self._fetch(active_path(limit=limit, offset=offset), timeout)
        page = read_active(response)
        self._observe(response, sent_at)
        return page

    async def close(self) -> None:
        """Like Client.close, awaited."""
        if self._pool is not None and self._pool.is_usable:
            await self._pool.close()
        if self.settings.client is None and "_http" in vars(self):
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _fetch(self, path: str, timeout: float, method: str = "GET") -> Response:  # noqa: ASYNC109 - like Client
        """Like Client._fetch, awaited."""
        status, began = None, time.perf_counter()
        try:
            if self._pool is not None and self._pool.is_usable:
                async with self._pool.within(timeout):
                    response = await self._exchange(method, path, timeout)
            else:
                import anyio  # noqa: PLC0415 - it imports asyncio, which a blocking wait does not need

                with anyio.fail_after(timeout):
                    response = await self._exchange(method, path, timeout)
            status = response.status
        except NETWORK_ERRORS as error:
            key = self.settings.api_key
            raise map_network_error(error, f"{self.settings.base_url}{path}", key) from hide_cause(error, key)
        finally:
            if self._on_exchange is not None:
                self._on_exchange(time.perf_counter() - began, status)
        return response

    async def _exchange(self, method: str, path: str, timeout: float) -> Response:  # noqa: ASYNC109 - like Client
        key = self.settings.api_key
        status, headers, body = await self._send(method, path, sent := key.header, timeout)
        if status in REFUSED_STATUSES and (header := key.refresh()) != sent:
            status, headers, body = await self._send(method, path, header, timeout)
        return self._response(status, headers, body, f"{self.settings.base_url}{path}")

    async def _send(self, method: str, path: str, authorization: str, timeout: float) -> Received:  # noqa: ASYNC109 - like Client
        headers = {**self._headers, "Authorization": authorization}
        if self._pool is not None and self._pool.is_usable:
            return await self._pool.request(method, path, headers)
        check_open(self._http)
        url, extensions = f"{self.settings.base_url}{path}", {"deadline": time.monotonic() + timeout}
        request = self._http.build_request(method, url, headers=headers, timeout=timeout, extensions=extensions)
        body = Body(self.settings, timeout)
        response = await self._http.send(request, stream=True, auth=None, follow_redirects=False)
        received = response.headers.multi_items()
        if response.is_stream_consumed:
            body.add(response.content)
            return response.status_code, without_coding(received), bytes(body)
        try:
            async for chunk in response.aiter_raw():
                body.add(chunk)
        finally:
            await response.aclose()
        return response.status_code, received, bytes(body)


class ThreadedClient:
    """Like AsyncClient, over a blocking client: ``run`` awaits a blocking call. The blocking client is not closed."""

    def __init__(self, client: Client, run: Callable[..., Awaitable[Any]]) -> None:
        self._client = client
        self._run = run

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        return cast("TaskSnapshot", await self._run(self._client.get_task, task_id, timeout=timeout))

    async def acknowledge(self, task_id: str, *, timeout: float) -> Task:  # noqa: ASYNC109 - like Client
        """Like Client.acknowledge, awaited."""
        return cast("Task", await self._run(self._client.acknowledge, task_id, timeout=timeout))

    async def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Like Client.list_history, awaited."""
        return cast("list[TaskSnapshot]", await self._run(self._client.list_history, task_type, limit=limit, timeout=timeout))

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Like Client.list_active, awaited."""
        return cast("ActivePage", await self._run(self._client.list_active, limit=limit, offset=offset, timeout=timeout))

    def snapshot(self, body: bytes) -> TaskSnapshot:
        """Like Client.snapshot."""
        return self._client.snapshot(body)

    async def close(self) -> None:
        """Do nothing: the blocking client belongs to the caller."""


def _make_http_client(settings: Settings) -> httpx.AsyncClient:
    limits = httpx.Limits(keepalive_expiry=KEEPALIVE_EXPIRY)
    verify = make_ssl_context(settings) or ssl.create_default_context(capath="/")
    transport = httpx.AsyncHTTPTransport(verify=verify, limits=limits, proxy=settings.proxy)
    return httpx.AsyncClient(transport=transport, trust_env=False)


def _make_pool(settings: Settings) -> AsyncPool:
    from waiter.http.async_pool import AsyncPool  # noqa: PLC0415 - it imports asyncio, which a blocking wait does not need

    return AsyncPool(find_route(settings))
