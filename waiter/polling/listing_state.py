"""The state of a listing that is repeated until it succeeds once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waiter import errors
from waiter.api.requests import TASKS_PATH
from waiter.polling.limits import MAX_REQUEST_TIMEOUT, REQUEST_TIMEOUT
from waiter.polling.poll_state import PollState
from waiter.polling.reporter import EventContext, Reporter
from waiter.ratelimit.reservation import Delay
from waiter.timing import EPSILON, FINAL_REQUEST_TIMEOUT

if TYPE_CHECKING:
    from waiter.config.settings import Settings
    from waiter.task import TaskSnapshot


class ListingState(PollState):
    """The state of one listing of tasks. Its events have ``path`` in the place of the ID of a task."""

    __slots__ = ()

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, Reporter(TASKS_PATH, settings.on_event, settings.log, "path"))

    @property
    def request_timeout(self) -> float:
        """How many seconds each request may take: a page of a listing is longer than a task."""
        left = self.time_left
        return min(MAX_REQUEST_TIMEOUT, left + REQUEST_TIMEOUT if left >= EPSILON else FINAL_REQUEST_TIMEOUT)

    def record_start(self) -> None:
        """Record that the listing is requested now."""
        self.record_delay(Delay())

    def record_listing(self, listed: list[TaskSnapshot]) -> list[TaskSnapshot]:
        """Record that the listing has succeeded, and return it."""
        self._has_ended = True
        if self._outage.failures:
            self._end_outage(self._now())
        return listed

    def _interval(self, *_: object) -> float:  # pragma: no cover
        raise AssertionError  # a listing that has succeeded is not repeated

    def _stall_error(self, *_: object) -> errors.WaiterError:  # pragma: no cover
        raise AssertionError  # as above

    def _report(self, name: str, **fields: object) -> None:
        self._reporter.report(name, fields, EventContext(None, None, None, None))

    def _timeout_error(self, now: float) -> errors.WaiterError:
        unseen = errors.NotReady(None, "the list of tasks", None)
        waited = round(now - self._started_at, 3)
        return errors.TaskTimeoutError(TASKS_PATH, waited=waited, last_task=None, last_error=self._error, not_ready=[unseen])

    def _not_found_error(self, *_: object) -> errors.WaiterError:  # pragma: no cover
        raise AssertionError  # a listing that is not found is an invalid response

    def _subject(self) -> str:  # pragma: no cover
        raise AssertionError  # only a state that is a context manager is asked

    def _note(self) -> str:
        return ""
