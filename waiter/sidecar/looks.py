"""The one waiter on which all waits of the sidecar go on: the library's own, with a deadline for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

import msgspec

from waiter.aio import AsyncWaiter
from waiter.client import AsyncClient
from waiter.plan import Plan
from waiter.settings import Options, Settings, TaskRef

if TYPE_CHECKING:
    from waiter.api import Answer

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
    """Like AsyncWaiter; ``seconds_left`` says how long a wait may go on, which may have begun before a restart."""

    def __init__(self, measure: Measure, seconds_left: Callable[[str], float], **options: Unpack[Options]) -> None:
        super().__init__(**options)
        self._client = MeasuredClient(self._settings, measure)
        self._seconds_left = seconds_left

    @property
    def timeout(self) -> float:
        """How long a wait may take, in seconds."""
        return self._settings.timeout

    def _plan(self, ref: TaskRef) -> Plan:
        plan = super()._plan(ref)
        settings = msgspec.structs.replace(self._settings, timeout=self._seconds_left(plan.task_id))
        return Plan(plan.task_id, settings, self._histories)
