"""The sidecar's client of the API: a refused key is an outage, because a key file can be replaced while waits are running."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from waiter.errors import ApiUnavailableError, AuthenticationError, PermissionDeniedError, TaskNotFoundError
from waiter.http.async_client import AsyncClient
from waiter.task import TaskSnapshot

if TYPE_CHECKING:
    from waiter.api.resources import Resource, Target


class SidecarClient(AsyncClient):
    """A client that raises ApiUnavailableError for 401 and 403, so that waits survive them for ``max_outage``.

    ``refused_with`` is the status of the last poll when the API refused the key with it, else None.
    """

    refused_with: int | None = None

    async def get_task(self, task_id: str, *, timeout: float) -> TaskSnapshot:  # noqa: ASYNC109 - like AsyncClient
        """Like AsyncClient.get_task, with a refusal as an outage."""
        with self._refusal_as_outage():
            return await super().get_task(task_id, timeout=timeout)

    async def get_resource(self, target: Target, *, timeout: float) -> Resource:  # noqa: ASYNC109 - like AsyncClient
        """Like AsyncClient.get_resource, with a refusal as an outage."""
        with self._refusal_as_outage():
            return await super().get_resource(target, timeout=timeout)

    def is_refused(self) -> bool:
        """Return whether the API refused the key at the last poll."""
        return self.refused_with is not None

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
