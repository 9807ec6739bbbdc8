"""The state of a wait for resources: those that a finished task created, or any other one.

Several resources are polled in rounds: each round polls every resource that is not ready, and only the pauses between rounds
follow the schedule. A round of n requests is worth n times the price of one, so the pauses grow with n.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from waiter import errors
from waiter.api.resources import reason_of
from waiter.polling.poll_state import PollState
from waiter.polling.reporter import EventContext
from waiter.ratelimit.reservation import QueueLimits
from waiter.schedule.backoff import strategy_delay
from waiter.schedule.hazard import MAX_AGE
from waiter.schedule.schedule import Schedule
from waiter.timing import FINAL_REQUEST_TIMEOUT

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.api.resources import Resource, Target
    from waiter.config.settings import Settings
    from waiter.polling.reporter import Reporter
    from waiter.task import Task


class ResourceSnapshot(NamedTuple):
    """A resource as one poll saw it; ``age`` is the seconds for which it may have been getting ready."""

    resource: Resource
    age: float


class ResourceWaitState(PollState):
    """The state of the wait for some resources; ``target`` is the one to poll next. All times are monotonic seconds.

    ``task`` is the finished task that created them, if one did, and ``age`` the seconds since it ended.
    """

    __slots__ = ("_age", "_began_at", "_failure", "_is_mid_round", "_pending", "_round", "_task")

    def __init__(
        self, targets: Iterable[Target], settings: Settings, reporter: Reporter, *, task: Task | None = None, age: float = 0.0
    ) -> None:
        super().__init__(settings, reporter)
        self._task = task
        self._age, self._began_at = age, self._started_at
        # The status of each resource that is not ready, as last seen.
        self._pending: dict[Target, str | None] = dict.fromkeys(targets)
        self._round = deque(self._pending)
        self._is_mid_round = False
        self._failure: errors.ResourceError | None = None

    def within(self, *, started_at: float, deadline: float) -> ResourceWaitState:
        """Return this state as a part of a wait that began before and ends at the deadline."""
        self._started_at, self._deadline = started_at, deadline
        return self

    # What a poll needs.

    @property
    def target(self) -> Target:
        """The resource to poll next."""
        return self._round[0]

    @property
    def queue_limits(self) -> QueueLimits:
        """How long the next poll may be delayed by the limiter."""
        return QueueLimits(self.target.label, self._deadline, self._outage.since, self._settings.max_outage)

    # What happened.

    def record_snapshot(self, resource: Resource) -> ResourceSnapshot:
        """Record what a poll of ``target`` has shown, report what it changes, and turn to the next resource."""
        now, target = self._now(), self._round.popleft()
        if self._outage.failures:
            self._end_outage(now)
        self._seen_at = now
        status, before = target.check.status(resource), self._pending[target]
        if status != before:
            self._pending[target], self._changed_at = status, now
            self._report_change("resource.state_changed", target, old=before, new=status)
        match target.check.assess(resource):
            case "ready":
                del self._pending[target]
                self._changed_at = now
                self._report_change("resource.ready", target)
            case "failed":
                self._failure = self._fail(target, resource, status or "no status")
        self._has_ended = self._failure is not None or not self._pending
        self._is_mid_round = bool(self._round)
        if not self._round:
            self._round.extend(self._pending)
        return ResourceSnapshot(resource, self._age + now - self._began_at)

    def check_result(self) -> None:
        """Raise ResourceError if a resource has failed."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def explained_errors(self) -> Iterator[None]:
        """Let an error of the API say, and carry as ``.task``, that the task is FINISHED and what it created."""
        try:
            yield
        except errors.ApiError as error:
            error.task = self._task
            if not str(error).endswith(self._note()):
                error.args = (f"{error}; the resource was not checked{self._note()}",)
            raise

    # What tenacity asks.

    def should_stop(self) -> bool:
        """Return whether the poll was the final one.

        A round that is under way when a limit passes is completed, so that every resource gets a final poll, for as long as a
        final poll may take.
        """
        if self._is_mid_round and self._error is None and self._now() < self._nearest_limit().at + FINAL_REQUEST_TIMEOUT:
            return False
        return super().should_stop()

    # Helpers.

    def _interval(self, call: RetryCallState, now: float) -> float:
        if self._is_mid_round:
            return 0.0
        schedule: Any = self._settings.wait
        if isinstance(schedule, Schedule) and len(self._pending) > 1:
            price = min(schedule.price * len(self._pending), MAX_AGE)
            schedule = Schedule(price=price, min_interval=schedule.min_interval)
        return strategy_delay(schedule(call)) - (now - self._seen_at)

    def _fail(self, target: Target, resource: Resource, status: str) -> errors.ResourceError:
        """Return the error for a resource that has failed, and report it."""
        reason = reason_of(resource)
        self._report_change("resource.failed", target, status=status, reason=reason)
        return errors.ResourceError(
            f"{status}: {reason}" if reason else status,
            task=self._task,
            kind=target.kind,
            resource_id=target.path if target.resource_id is None else target.resource_id,
            resource=resource,
        )

    def _report_change(self, name: str, target: Target, **fields: object) -> None:
        identity = {} if target.kind is None else {"kind": target.kind, "resource_id": target.resource_id}
        self._report(name, **identity, **fields, elapsed=round(self._now() - self._started_at, 3))

    def _report(self, name: str, **fields: object) -> None:
        self._reporter.report(name, fields, EventContext(self._task, None, None, None))

    def _not_ready(self) -> list[errors.NotReady]:
        return [
            errors.NotReady(target.kind, target.path if target.resource_id is None else target.resource_id, status)
            for target, status in self._pending.items()
        ]

    def _timeout_error(self, now: float) -> errors.WaiterError:
        waited, not_ready = round(now - self._started_at, 3), self._not_ready()
        name = "task.timed_out" if self._task else "resource.timed_out"
        self._report(name, waited=waited, not_ready=list(map(str, not_ready)))
        return errors.TaskTimeoutError(
            self._reporter.task_id, waited=waited, last_task=self._task, last_error=self._error, not_ready=not_ready
        )

    def _stall_error(self, now: float) -> errors.TaskStalledError:
        waited, not_ready = round(now - self._changed_at, 3), self._not_ready()
        self._report("task.stalled", waited=waited, not_ready=list(map(str, not_ready)))
        return errors.TaskStalledError(cast("Task", self._task), waited=waited, not_ready=not_ready)

    def _not_found_error(self, error: errors.TaskNotFoundError) -> errors.WaiterError:
        if self._task is None:
            return error
        return self._fail(self.target, None, "not found (404)")

    def _subject(self) -> str:
        return self._reporter.task_id

    def _note(self) -> str:
        return f"; the task is FINISHED ({self._task.id})" if self._task else ""
