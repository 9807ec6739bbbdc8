"""The one waiter on which all waits of the sidecar go on: the library's own, with its requests measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from waiter.aio import AsyncWaiter
from waiter.config.settings import Options, Settings
from waiter.http.client import AsyncClient

if TYPE_CHECKING:
    from waiter.api.responses import Answer

Measure = Callable[[float, int | None], object]


class MeasuredClient(AsyncClient):
    """Tells the seconds and the HTTP status of each request; None is the status of one that got no answer."""

    def __init__(self, settings: Settings, measure: Measure) -> None:
        super().__init__(settings)
        self._measure = measure

    async def _fetch(self, path: str, timeout: float) -> Answer:  # noqa: ASYNC109 - like AsyncClient
        status = None
        asked_at = time.perf_counter()
        try:
            answer = await super()._fetch(path, timeout)
            status = answer.status
            return answer
        finally:
            self._measure(time.perf_counter() - asked_at, status)


class Looks(AsyncWaiter):
    """Like AsyncWaiter; ``measure`` is told of each request."""

    def __init__(self, measure: Measure, **options: Unpack[Options]) -> None:
        self._measure = measure
        super().__init__(**options)

    @property
    def timeout(self) -> float:
        """How long a wait may take, in seconds."""
        return self._settings.timeout

    def _connect(self, settings: Settings) -> AsyncClient:
        return MeasuredClient(settings, self._measure)
