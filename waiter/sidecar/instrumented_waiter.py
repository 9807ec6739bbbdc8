"""The waiter that serves all waits of the sidecar: the library's own, with its requests measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from waiter.aio import AsyncWaiter
from waiter.config.settings import Options, Settings
from waiter.http.client import AsyncClient
from waiter.session import Session

if TYPE_CHECKING:
    from waiter.api.responses import Answer

RecordPoll = Callable[[float, int | None], object]


class InstrumentedClient(AsyncClient):
    """Reports the seconds and the HTTP status of each request; the status is None when there was no response."""

    def __init__(self, settings: Settings, record_poll: RecordPoll) -> None:
        super().__init__(settings)
        self._record_poll = record_poll

    async def _fetch(self, path: str, timeout: float) -> Answer:  # noqa: ASYNC109 - like AsyncClient
        status = None
        started_at = time.perf_counter()
        try:
            answer = await super()._fetch(path, timeout)
            status = answer.status
            return answer
        finally:
            self._record_poll(time.perf_counter() - started_at, status)


class InstrumentedWaiter(AsyncWaiter):
    """An AsyncWaiter that calls ``record_poll`` for each request."""

    def __init__(self, record_poll: RecordPoll, **options: Unpack[Options]) -> None:
        session = Session.open(options)
        self.timeout = session.settings.timeout
        self._open(session, InstrumentedClient(session.settings, record_poll))
