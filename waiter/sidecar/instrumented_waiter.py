"""The waiter that serves all waits of the sidecar: the library's own, with its requests measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from waiter.aio import AsyncWaiter
from waiter.config.options import Options
from waiter.http.async_client import AsyncClient
from waiter.session import Session

RecordPoll = Callable[[float, int | None], object]


class InstrumentedWaiter(AsyncWaiter):
    """An AsyncWaiter that calls ``record_poll`` for each request."""

    def __init__(self, record_poll: RecordPoll, **options: Unpack[Options]) -> None:
        session = Session.open(options)
        self.timeout = session.settings.timeout
        self._open(session, AsyncClient(session.settings, on_exchange=record_poll))
