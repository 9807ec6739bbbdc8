"""The awaited client, for asyncio and trio, and one that awaits the blocking client."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from waiter.api.listings import ActivePage, TaskPage, read_active, read_history, read_page
from waiter.api.requests import ACKNOWLEDGE_PATH, TASK_PATH, TaskFilter, active_path, history_path, listing_path
from waiter.api.responses import Response, read_task
from waiter.config.settings import Settings
from waiter.errors import ConfigurationError
from waiter.http.async_pool import AsyncPool, runs_under_asyncio
from waiter.http.exchange import NETWORK_ERRORS, REFUSED_STATUSES, BaseClient, hide_cause, map_network_error
from waiter.http.httpx_transport import AsyncHttpxTransport
from waiter.http.route import find_route
from waiter.task import Task, TaskSnapshot

if TYPE_CHECKING:
    from waiter.api.resources import Resource, Target
    from waiter.http.client import Client
    from waiter.http.threaded_pool import ThreadedPool

OnExchange = Callable[[float, int | None], object]


class AsyncClient(BaseClient):
    """Like Client, awaited.

    ``on_exchange`` is called after each exchange with its seconds and the HTTP status of the response, or None without one.
    """

    def __init__(self, settings: Settings, on_exchange: OnExchange | None = None) -> None:
        """Raises ConfigurationError."""
        super().__init__(settings)
        if not isinstance(settings.client, httpx.AsyncClient | None):
            message = "client must be an httpx.AsyncClient here; an httpx.Client is for Waiter and wait_for_task"
            raise ConfigurationError(message)
        self._on_exchange = on_exchange
        self._route = find_route(settings) if settings.client is None else None

    @cached_property
    def _transport(self) -> AsyncPool | ThreadedPool | AsyncHttpxTransport:
        """The way of all requests, which depends on whether the first of them is sent under asyncio."""
        if self._route is None:
            return AsyncHttpxTransport(self.settings)
        if runs_under_asyncio():
            return AsyncPool(self._route)
        from waiter.http.threaded_pool import ThreadedPool  # noqa: PLC0415 - asyncio does not need its imports

        return ThreadedPool(self._route)

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        response = await self._fetch(TASK_PATH.format(task_id=task_id), timeout)
        return self._server_clock.snapshot(read_task(response, task_id), now=self.settings.clock())

    async def get_resource(self, target: Target, *, timeout: float) -> Resource:  # noqa: ASYNC109 - like Client
        """Like Client.get_resource, awaited."""
        from waiter.api.resources import read_resource  # noqa: PLC0415 - only needed with ready

        return read_resource(await self._fetch(target.path, timeout), target)

    async def acknowledge(self, task_id: str, *, timeout: float) -> Task:  # noqa: ASYNC109 - like Client
        """Like Client.acknowledge, awaited."""
        return read_task(await self._fetch(ACKNOWLEDGE_PATH.format(task_id=task_id), timeout, method="POST"), task_id)

    async def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Like Client.list_history, awaited."""
        response = await self._fetch(history_path(task_type, limit=limit), timeout)
        return self._snapshots(read_history(response, task_type))

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Like Client.list_active, awaited."""
        return read_active(await self._fetch(active_path(limit=limit, offset=offset), timeout))

    async def list_tasks(self, chosen: TaskFilter, *, limit: int, offset: int, timeout: float) -> TaskPage:  # noqa: ASYNC109 - like Client
        """Like Client.list_tasks, awaited."""
        tasks, total = read_page(await self._fetch(listing_path(chosen, limit=limit, offset=offset), timeout))
        return TaskPage(self._snapshots(tasks), total)

    async def close(self) -> None:
        """Like Client.close, awaited."""
        if "_transport" in vars(self):
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _fetch(self, path: str, timeout: float, method: str = "GET") -> Response:  # noqa: ASYNC109 - like Client
        """Like Client._fetch, awaited."""
        key, url = self.settings.api_key, f"{self.settings.base_url}{path}"
        sent_at, deadline, sent = self.settings.clock(), time.monotonic() + timeout, key.header
        began, status = time.perf_counter(), None
        try:
            received = await self._transport.request(method, path, {**self._headers, "Authorization": sent}, timeout)
            if received[0] in REFUSED_STATUSES and (header := key.refresh()) != sent:
                headers = {**self._headers, "Authorization": header}
                received = await self._transport.request(method, path, headers, deadline - time.monotonic())
            response = self._response(received, url, sent_at)
            status = response.status
        except NETWORK_ERRORS as error:
            raise map_network_error(error, url, key) from hide_cause(error, key)
        finally:
            if self._on_exchange is not None:
                self._on_exchange(time.perf_counter() - began, status)
        return response


class ThreadedClient:
    """Like AsyncClient, over a blocking client: ``run`` awaits a blocking call. The blocking client is not closed."""

    def __init__(self, client: Client, run: Callable[..., Awaitable[Any]]) -> None:
        self._client = client
        self._run = run

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like Client
        """Like Client.get_task, awaited."""
        return cast("TaskSnapshot", await self._run(self._client.get_task, task_id, timeout=timeout))

    async def get_resource(self, target: Target, *, timeout: float) -> Resource:  # noqa: ASYNC109 - like Client
        """Like Client.get_resource, awaited."""
        return cast("Resource", await self._run(self._client.get_resource, target, timeout=timeout))

    async def acknowledge(self, task_id: str, *, timeout: float) -> Task:  # noqa: ASYNC109 - like Client
        """Like Client.acknowledge, awaited."""
        return cast("Task", await self._run(self._client.acknowledge, task_id, timeout=timeout))

    async def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:  # noqa: ASYNC109 - like Client
        """Like Client.list_history, awaited."""
        return cast("list[TaskSnapshot]", await self._run(self._client.list_history, task_type, limit=limit, timeout=timeout))

    async def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:  # noqa: ASYNC109 - like Client
        """Like Client.list_active, awaited."""
        return cast("ActivePage", await self._run(self._client.list_active, limit=limit, offset=offset, timeout=timeout))

    async def list_tasks(self, chosen: TaskFilter, *, limit: int, offset: int, timeout: float) -> TaskPage:  # noqa: ASYNC109 - like Client
        """Like Client.list_tasks, awaited."""
        page = await self._run(self._client.list_tasks, chosen, limit=limit, offset=offset, timeout=timeout)
        return cast("TaskPage", page)

    def decode_snapshot(self, body: bytes) -> TaskSnapshot:
        """Like Client.decode_snapshot."""
        return self._client.decode_snapshot(body)

    async def close(self) -> None:
        """Do nothing: the blocking client belongs to the caller."""
