"""What the blocking and the awaited driver have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import inf

from waiter.errors import ApiError, ApiUnavailableError, ConfigurationError
from waiter.history import Histories, shared_histories
from waiter.pace import ONE_REFUSAL, NoTurnError, Pacer, Turn, shared_pacer
from waiter.plan import INSTANT, LAST_REQUEST_TIMEOUT, LONGEST_PAUSE, LONGEST_RETRY_AFTER, Plan
from waiter.refs import TaskRef, task_ids
from waiter.settings import Limits, Settings, limited


class Base:
    """What both waiters know: the settings, what was learned of the past, and the budget of requests."""

    def __init__(self, settings: Settings, histories: Histories | None = None, pacer: Pacer | None = None) -> None:
        self._settings = settings
        account = settings.base_url, settings.api_key.header
        is_private = bool(settings.client or settings.sleep)
        self._histories = histories or (Histories() if is_private else shared_histories(*account))
        self._pacer = pacer or (Pacer() if is_private else shared_pacer(*account))

    def _plan(self, ref: TaskRef, limits: Limits | None = None) -> Plan:
        ids = task_ids(ref)
        if len(ids) != 1:
            message = f"wait() takes one task, not {len(ids)}: wait_all() takes any number"
            raise ConfigurationError(message)
        return Plan(ids[0], limited(self._settings, limits or {}), self._histories)

    def _turns(self, plan: Plan) -> Iterator[float]:
        """The pauses until a request's turn comes; raises NoTurnError or ApiUnavailableError when it comes too late."""
        clock = self._settings.clock
        began = clock()
        silences = self._pacer.silences(began)

        def queued() -> float:
            return clock() - began - (self._pacer.silences(clock()) - silences)

        with Turn(self._pacer, self._settings.max_rps) as turn:
            while (pause := turn.pause(clock(), is_last=(left := plan.time_left) < INSTANT)) >= INSTANT:
                if left < INSTANT:
                    self._check_last_turn(plan, pause, queued())
                else:
                    pause = min(pause, left, self._outage_left(plan, began, queued()), LONGEST_PAUSE)
                yield pause
            turn.went(now := clock())
        plan.held_back(spent := queued(), now - began - spent)

    def _check_last_turn(self, plan: Plan, pause: float, queued: float) -> None:
        if pause > plan.time_left + LAST_REQUEST_TIMEOUT:
            plan.held_back(queued, silent=0.0)
            message = f"not asked: max_rps={self._settings.max_rps:g} leaves no turn for it in time ({plan.task_id})"
            raise NoTurnError(message)

    def _outage_left(self, plan: Plan, began: float, queued: float) -> float:
        """How long an outage may still go on while the server wants silence, which others may prolong for ever."""
        now, failing_since = self._settings.clock(), plan.failing_since
        if self._pacer.quiet(now) <= ONE_REFUSAL:
            return inf
        spent = now - queued
        if spent - min(began, failing_since) > self._settings.max_outage - INSTANT:
            message = f"not asked: the server wants to be left alone ({plan.task_id})"
            raise ApiUnavailableError(message)
        return failing_since + self._settings.max_outage - spent

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
