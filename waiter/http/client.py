"""The blocking client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import httpx

from waiter.api.listings import ActivePage, TaskPage, read_active, read_history, read_page
from waiter.api.requests import ACKNOWLEDGE_PATH, TASK_PATH, TaskFilter, active_path, history_path, listing_path
from waiter.api.responses import Response, read_task
from waiter.config.settings import Settings
from waiter.errors import ConfigurationError
from waiter.http.blocking_pool import BlockingPool
from waiter.http.exchange import NETWORK_ERRORS, REFUSED_STATUSES, BaseClient, hide_cause, map_network_error
from waiter.http.httpx_transport import HttpxTransport
from waiter.http.route import find_route
from waiter.task import Task, TaskSnapshot

if TYPE_CHECKING:
    from waiter.api.resources import Resource, Target


class Client(BaseClient):
    """Sends requests and blocks until the responses are there; times are seconds."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError."""
        super().__init__(settings)
        if not isinstance(settings.client, httpx.Client | None):
            message = "client must be an httpx.Client here; an httpx.AsyncClient is for AsyncWaiter and waiter.aio"
            raise ConfigurationError(message)
        self._transport = BlockingPool(find_route(settings)) if settings.client is None else HttpxTransport(settings)

    def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:
        """Poll a task once; ``timeout`` bounds the whole request. Raises ApiError."""
        response = self._fetch(TASK_PATH.format(task_id=task_id), timeout)
        return self._server_clock.snapshot(read_task(response, task_id), now=self.settings.clock())

    def get_resource(self, target: Target, *, timeout: float) -> Resource:
        """Poll a resource once; None is a 404 that is awaited. Raises ApiError."""
        from waiter.api.resources import read_resource  # noqa: PLC0415 - only needed with ready

        return read_resource(self._fetch(target.path, timeout), target)

    def acknowledge(self, task_id: str, *, timeout: float) -> Task:
        """Acknowledge a task and return it. Raises ApiError."""
        return read_task(self._fetch(ACKNOWLEDGE_PATH.format(task_id=task_id), timeout, method="POST"), task_id)

    def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:
        """List the newest tasks of a type, ended or not. Raises ApiError."""
        response = self._fetch(history_path(task_type, limit=limit), timeout)
        return self._snapshots(read_history(response, task_type))

    def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:
        """List one page of the tasks that have not ended. Raises ApiError."""
        return read_active(self._fetch(active_path(limit=limit, offset=offset), timeout))

    def list_tasks(self, chosen: TaskFilter, *, limit: int, offset: int, timeout: float) -> TaskPage:
        """List one page of the tasks that a filter selects, newest first. Raises ApiError."""
        tasks, total = read_page(self._fetch(listing_path(chosen, limit=limit, offset=offset), timeout))
        return TaskPage(self._snapshots(tasks), total)

    def close(self) -> None:
        """Close the connections, unless the client is the user's."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, path: str, timeout: float, method: str = "GET") -> Response:
        """Send a request, and once more when the key was rejected and has changed since; both have one deadline."""
        key, url = self.settings.api_key, f"{self.settings.base_url}{path}"
        sent_at, deadline, sent = self.settings.clock(), time.monotonic() + timeout, key.header
        try:
            received = self._transport.request(method, path, {**self._headers, "Authorization": sent}, timeout)
            if received[0] in REFUSED_STATUSES and (header := key.refresh()) != sent:
                headers = {**self._headers, "Authorization": header}
                received = self._transport.request(method, path, headers, deadline - time.monotonic())
            return self._response(received, url, sent_at)
        except NETWORK_ERRORS as error:
            raise map_network_error(error, url, key) from hide_cause(error, key)
