"""The tasks of the account, with how long each is likely to run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec
from tenacity import Future, RetryCallState, Retrying, retry_if_exception_type

from waiter.cli.output.result import TaskResult
from waiter.cli.progress.model import Problem, ProgressModel, TaskRow
from waiter.errors import ApiError, ApiUnavailableError, InvalidResponseError, TaskError
from waiter.polling.history_cache import history_of
from waiter.schedule.backoff import backoff
from waiter.schedule.priors import prior

if TYPE_CHECKING:
    from waiter.api.requests import TaskFilter
    from waiter.schedule.history import History
    from waiter.task import TaskSnapshot
    from waiter.wait import Waiter

_Listed = TypeVar("_Listed")

# The most frequent types of task, whose histories cost one request each.
MAX_HISTORIES = 10


def list_through_outage(request: Callable[[], _Listed], max_outage: float, report: Callable[[Problem], None]) -> _Listed:
    """Return what a request gives, and repeat one that fails for up to ``max_outage`` seconds; report each failure.

    Raises ApiUnavailableError when that time is over, and every other ApiError immediately.
    """
    began = time.monotonic()

    def delay(call: RetryCallState) -> float:
        wanted = max(backoff(call.attempt_number), _error_of(call).blocked_for)
        return min(wanted, max(0.0, began + max_outage - time.monotonic()))

    def give_up(call: RetryCallState) -> _Listed:
        error = _error_of(call)
        message = f"no usable answer for {time.monotonic() - began:.0f} s: {error}"
        raise ApiUnavailableError(message, status=error.status, request_id=error.request_id, url=error.url)

    return Retrying(
        retry=retry_if_exception_type((ApiUnavailableError, InvalidResponseError)),
        wait=delay,
        stop=lambda _: time.monotonic() >= began + max_outage,
        before_sleep=lambda call: report(Problem(str(_error_of(call)), _error_of(call).status, began + max_outage)),
        retry_error_callback=give_up,
    )(request)


def _error_of(call: RetryCallState) -> ApiError:
    return cast("ApiError", cast("Future", call.outcome).exception())


def make_model(snapshots: Iterable[TaskSnapshot]) -> ProgressModel:
    """Return a model of listed tasks, in the order of the listing."""
    now = time.monotonic()
    model = ProgressModel([], now)
    for snapshot in snapshots:
        model.add(snapshot.task.id, now).record_snapshot(snapshot, now)
    return model


def fetch_histories(waiter: Waiter, snapshots: Iterable[TaskSnapshot], *, ask: bool) -> dict[str, History]:
    """Return how long tasks of the types of these active tasks took: usually and, to ``ask`` the API, in this account."""
    tasks = (snapshot.task for snapshot in snapshots)
    of_type = Counter(task.task_type for task in tasks if not task.ended and task.task_type)
    known = {task_type: history for task_type in of_type if (history := prior(task_type))}
    frequent = [task_type for task_type, _ in of_type.most_common(MAX_HISTORIES)]
    return known | _request_histories(waiter, frequent) if ask and frequent else known


def _request_histories(waiter: Waiter, task_types: list[str]) -> dict[str, History]:
    """Request the histories of several types together; one that cannot be had is missing."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only needed for a listing that has tasks

    pool = ThreadPoolExecutor(len(task_types))
    try:
        return dict(filter(None, pool.map(lambda task_type: _request_history(waiter, task_type), task_types)))
    finally:
        # A signal does not wait for requests under way.
        pool.shutdown(wait=False, cancel_futures=True)


def _request_history(waiter: Waiter, task_type: str) -> tuple[str, History] | None:
    try:
        history = history_of(waiter.past(task_type))
    except ApiError:
        return None
    known = prior(task_type)
    return task_type, msgspec.structs.replace(history, usual=known.usual) if known else history


def described_filter(chosen: TaskFilter) -> str:
    """Return which tasks a filter selects, in parentheses: `` (NEW or RUNNING, project 5)``; empty for all."""
    parts = [
        " or ".join(chosen.states),
        *(f"project {project_id}" for project_id in chosen.project_ids),
        *(f"region {region_id}" for region_id in chosen.region_ids),
        f"type {chosen.task_type}" if chosen.task_type else "",
    ]
    text = ", ".join(filter(None, parts))
    return f" ({text})" if text else ""


def results_of(model: ProgressModel) -> list[TaskResult]:
    """Return the listed tasks, with ages and estimates of now."""
    now = time.monotonic()
    return [result_of(row, now) for row in model.rows.values()]


def result_of(row: TaskRow, now: float) -> TaskResult:
    """Return one listed task with its age and the time left."""
    return TaskResult(
        row.task_id,
        row.task,
        TaskError(row.task) if row.task and row.task.failed else None,
        age=row.since_created(now),
        time_left=row.time_left(now),
        estimate=row.estimate(now),
        is_listed=True,
    )
