"""What the blocking and the awaited driver have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from waiter.errors import ApiError, ApiUnavailableError, ConfigurationError
from waiter.history import Histories, shared_histories
from waiter.pace import Pacer, Turn, shared_pacer
from waiter.plan import INSTANT, LONGEST_RETRY_AFTER, SHORTEST_REQUEST_TIMEOUT, Plan
from waiter.settings import Settings, TaskRef, task_ids


class Base:
    """What both waiters know: the settings, what was learned of the past, and the budget of requests."""

    def __init__(self, settings: Settings, histories: Histories | None = None, pacer: Pacer | None = None) -> None:
        self._settings = settings
        account = settings.base_url, settings.api_key.header
        is_private = bool(settings.client or settings.sleep)
        self._histories = histories or (Histories() if is_private else shared_histories(*account))
        self._pacer = pacer or (Pacer() if is_private else shared_pacer(*account))

    def _plan(self, ref: TaskRef) -> Plan:
        ids = task_ids(ref)
        if len(ids) != 1:
            message = f"wait() takes one task, not {len(ids)}: wait_all() takes any number"
            raise ConfigurationError(message)
        return Plan(ids[0], self._settings, self._histories)

    def _turns(self, plan: Plan) -> Iterator[float]:
        """The pauses until a request's turn comes; raises ApiUnavailableError when it comes too late."""
        turn = Turn(self._pacer, self._settings.max_rps)
        while True:
            left = plan.time_left
            is_last = left < INSTANT
            pause = turn.pause(self._settings.clock(), is_last=is_last)
            if pause < INSTANT:
                self._pacer.went(self._settings.clock())
                return
            if is_last and pause > left + SHORTEST_REQUEST_TIMEOUT:
                message = f"not asked: max_rps={self._settings.max_rps:g} leaves no turn for it in time ({plan.task_id})"
                raise ApiUnavailableError(message)
            pause = pause if is_last else min(pause, left)
            yield pause
            plan.held_back(pause)

    def _jump_the_queue(self) -> None:
        """Take a turn for a request that stands for many, and so need not wait for it; those behind it do."""
        now = self._settings.clock()
        self._pacer.take(now, self._settings.max_rps)
        self._pacer.went(now)

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Let all waits hear of it when the server wants fewer requests."""
        try:
            yield
        except ApiError as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS or error.retry_after:
                silence = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)
                self._pacer.refused(self._settings.clock(), self._settings.max_rps, silence)
            raise
