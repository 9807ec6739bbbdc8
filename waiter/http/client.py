"""The blocking client."""

from __future__ import annotations

import time
from typing import Self

import httpx

from waiter.api.listings import ActivePage, read_active, read_history
from waiter.api.requests import active_path, history_path, task_path
from waiter.api.responses import Response, read_task
from waiter.config.settings import Settings
from waiter.errors import ConfigurationError
from waiter.http.exchange import (
    KEEPALIVE_EXPIRY,
    NETWORK_ERRORS,
    REJECTED,
    BaseClient,
    Body,
    Received,
    hide_cause,
    make_ssl_context,
    map_network_error,
)
from waiter.task import TaskSnapshot


class Client(BaseClient):
    """Sends requests and blocks until the responses are there; times are seconds."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError."""
        super().__init__(settings)
        self._http: httpx.Client = settings.client or _make_http_client(settings)
        if not isinstance(self._http, httpx.Client):
            message = "client must be an httpx.Client here; an httpx.AsyncClient is for AsyncWaiter and waiter.aio"
            raise ConfigurationError(message)

    def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:
        """Poll a task once; ``timeout`` bounds the whole request. Raises ApiError."""
        sent_at = self.settings.clock()
        response = self._fetch(task_path(task_id), timeout)
        task = read_task(response, task_id)
        now = self._observe(response, sent_at)
        return TaskSnapshot(task, self._server_clock.age(task.created_on, now=now))

    def list_history(self, task_type: str, *, limit: int, timeout: float) -> list[TaskSnapshot]:
        """List the newest tasks of a type, ended or not. Raises ApiError."""
        sent_at = self.settings.clock()
        response = self._fetch(history_path(task_type, limit=limit), timeout)
        return self._snapshots(read_history(response, task_type), self._observe(response, sent_at))

    def list_active(self, *, limit: int, offset: int, timeout: float) -> ActivePage:
        """List one page of the tasks that have not ended. Raises ApiError."""
        sent_at = self.settings.clock()
        response = self._fetch(active_path(limit=limit, offset=offset), timeout)
        page = read_active(response)
        self._observe(response, sent_at)
        return page

    def close(self) -> None:
        """Close the connections, unless the client is the user's."""
        if self.settings.client is None:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, path: str, timeout: float) -> Response:
        """Send a request, and once more when the key was rejected and has changed since; both have one deadline."""
        key, url = self.settings.api_key, f"{self.settings.base_url}{path}"
        deadline = time.monotonic() + timeout
        try:
            status, headers, body = self._send(url, sent := key.header, timeout, deadline)
            if status in REJECTED and (header := key.refresh()) != sent:
                status, headers, body = self._send(url, header, timeout, deadline)
        except NETWORK_ERRORS as error:
            raise map_network_error(error, url, key) from hide_cause(error, key)
        return self._response(status, headers, body, url)

    def _send(self, url: str, authorization: str, timeout: float, deadline: float) -> Received:
        request = self._http.build_request(
            "GET",
            url,
            headers={**self._headers, "Authorization": authorization},
            timeout=timeout,
            extensions={"deadline": deadline},
        )
        body = Body(self.settings, timeout)
        response = self._http.send(request, stream=True, auth=None, follow_redirects=False)
        headers = response.headers.multi_items()
        if response.is_stream_consumed:  # by an event hook of the user's client, or by a mock, which decode the body
            body.add(response.content)
            return response.status_code, headers, body.joined
        try:
            for chunk in response.iter_raw():
                body.add(chunk)
        finally:
            response.close()
        return response.status_code, headers, body.decode(headers)


def _make_http_client(settings: Settings) -> httpx.Client:
    from waiter.http.deadline_transport import Transport  # noqa: PLC0415 - httpcore is slow to import, and not always needed

    transport = Transport(ssl_context=make_ssl_context(settings), proxy=settings.proxy, keepalive_expiry=KEEPALIVE_EXPIRY)
    return httpx.Client(transport=transport, trust_env=False)
