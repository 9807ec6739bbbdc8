"""The budget of requests as one waiter sees it: who asks when, and what all hear of a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING

from waiter.errors import ApiError, ApiUnavailableError
from waiter.polling.wait_state import EPSILON, LAST_REQUEST_TIMEOUT, LONGEST_PAUSE
from waiter.ratelimit.limiter import ONE_REFUSAL, RateLimiter, RateLimitTimeoutError, Turn

if TYPE_CHECKING:
    from waiter.config.settings import Settings
    from waiter.polling.wait_state import WaitState


class Budget:
    """What one waiter may ask, out of what all of an account's may."""

    def __init__(self, limiter: RateLimiter, settings: Settings) -> None:
        self.limiter = limiter
        self._settings = settings

    @property
    def quiet(self) -> float:
        """For how many seconds nobody shall ask, because the server said so."""
        return self.limiter.quiet(self._settings.clock())

    def queue(self, plan: WaitState) -> Queue:
        """Queue up for one look."""
        return Queue(self.limiter, self._settings, plan)

    def jump_the_queue(self) -> None:
        """Take a turn for a request that stands for many, and so need not wait for it; those behind it do."""
        now = self._settings.clock()
        self.limiter.take(now, self._settings.max_rps)
        self.limiter.went(now)

    @contextmanager
    def heeding(self, *, listing: bool = False) -> Iterator[None]:
        """Let all waits hear of it when the server wants fewer requests; that it has no listing now says nothing of looks."""
        try:
            yield
        except ApiError as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS or (error.retry_after and not listing):
                self.limiter.refused(self._settings.clock(), self._settings.max_rps, error.silence)
            raise


class Queue(Turn):
    """One look's way through the queue: iterate over the pauses until its turn comes.

    Raises NoTurnError or ApiUnavailableError when that is too late. As a context manager it gives back a turn that is not used.
    """

    __slots__ = ("_began", "_plan", "_settings", "_silences")

    def __init__(self, limiter: RateLimiter, settings: Settings, plan: WaitState) -> None:
        super().__init__(limiter, settings.max_rps)
        self._settings = settings
        self._plan = plan
        self._began = settings.clock()
        self._silences = limiter.silences(self._began)

    def __iter__(self) -> Iterator[float]:
        return self

    def __next__(self) -> float:
        now, left = self._settings.clock(), self._plan.time_left
        pause = self.pause(now, is_last=left < EPSILON)
        queued = now - self._began - (self._limiter.silences(now) - self._silences)
        if pause < EPSILON:
            self.went(now)
            self._plan.held_back(queued, now - self._began - queued)
            raise StopIteration
        if left >= EPSILON:
            return min(pause, left, self._outage_left(now, queued), LONGEST_PAUSE)
        if pause > left + LAST_REQUEST_TIMEOUT:
            self._plan.held_back(queued, silent=0.0)
            message = f"not asked: max_rps={self._max_rps:g} leaves no turn for it in time ({self._plan.task_id})"
            raise RateLimitTimeoutError(message)
        return pause

    def _outage_left(self, now: float, queued: float) -> float:
        """How long an outage may still go on while the server wants silence, which others may prolong for ever."""
        failing_since, max_outage = self._plan.failing_since, self._settings.max_outage
        if self._limiter.quiet(now) <= ONE_REFUSAL:
            return inf
        spent = now - queued
        if spent - min(self._began, failing_since) > max_outage - EPSILON:
            message = f"not asked: the server wants to be left alone ({self._plan.task_id})"
            raise ApiUnavailableError(message)
        return failing_since + max_outage - spent
