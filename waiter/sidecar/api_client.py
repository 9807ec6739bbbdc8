"""The sidecar's client of the API: a refused key is an outage, because a key file can be replaced while waits are running."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from waiter.config.settings import Settings
from waiter.errors import ApiUnavailableError, AuthenticationError, PermissionDeniedError, TaskNotFoundError
from waiter.http.async_client import AsyncClient, OnExchange
from waiter.task import TaskSnapshot

if TYPE_CHECKING:
    from waiter.api.resources import Resource, Target


_NO_ANSWER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class SidecarClient(AsyncClient):
    """A client that raises ApiUnavailableError for 401 and 403, so that waits survive them for ``max_outage``.

    ``refused_with`` is the status of the last poll when the API refused the key with it, else None.
    """

    refused_with: int | None = None

    def __init__(self, settings: Settings, record_poll: OnExchange) -> None:
        """Raises ConfigurationError."""
        super().__init__(settings, self._record_exchange)
        self._record_poll = record_poll
        self._first_failure: float | None = None
        self._last_failure = 0.0

    def _record_exchange(self, seconds: float, status: int | None) -> None:
        now = self.settings.clock()
        if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NO_ANSWER:
            self._first_failure = now if self._first_failure is None else self._first_failure
            self._last_failure = now
        else:
            self._first_failure = None
        self._record_poll(seconds, status)

    def outage(self) -> float:
        """Return the seconds from the first to the last of the polls in a row that had no usable answer, 0 if the last had."""
        return 0.0 if self._first_failure is None else self._last_failure - self._first_failure

    def key_age(self) -> float:
        """Return the seconds since the present key was read for the first time."""
        return time.monotonic() - self.settings.api_key.changed_at

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like AsyncClient
        """Like AsyncClient.get_task, with a refusal as an outage."""
        with self._refusal_as_outage():
            return await super().get_task(task_id, timeout=timeout)

    async def get_resource(self, target: Target, *, timeout: float) -> Resource:  # noqa: ASYNC109 - like AsyncClient
        """Like AsyncClient.get_resource, with a refusal as an outage."""
        with self._refusal_as_outage():
            return await super().get_resource(target, timeout=timeout)

    def key_fingerprint(self) -> str:
        """Read the key file again, if there is one, and return a hash that identifies the key."""
        return hashlib.sha256(self.settings.api_key.refresh().encode()).hexdigest()[:16]

    @contextmanager
    def _refusal_as_outage(self) -> Iterator[None]:
        try:
            yield
            self.refused_with = None
        except (AuthenticationError, PermissionDeniedError) as error:
            self.refused_with = error.status
            if error.status == HTTPStatus.FORBIDDEN:
                # After a 401 the client itself has read the file again.
                self.settings.api_key.refresh()
            raise ApiUnavailableError(
                str(error), status=error.status, request_id=error.request_id, url=error.url, retry_after=error.retry_after
            ) from error
        except TaskNotFoundError:
            self.refused_with = None
            raise
