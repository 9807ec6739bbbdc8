"""The tasks of the account, with how long each is likely to run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from waiter.cli.output.result import TaskResult
from waiter.cli.progress.model import ProgressModel, TaskRow
from waiter.errors import ApiError, TaskError
from waiter.polling.history_cache import history_of
from waiter.schedule.priors import prior

if TYPE_CHECKING:
    from waiter.api.requests import TaskFilter
    from waiter.schedule.history import History
    from waiter.task import TaskSnapshot
    from waiter.wait import Waiter

# The most frequent types of task, whose histories cost one request each.
MAX_HISTORIES = 10


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
    error = TaskError(row.task) if row.task and row.task.failed else None
    return TaskResult(
        row.task_id,
        row.task,
        row.outcome.error if row.outcome else error,
        age=row.since_created(now),
        time_left=row.time_left(now),
        estimate=row.estimate(now),
        is_listed=True,
    )
