"""The tasks of the account that are active now, as tasks to wait for."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from waiter.api.requests import ACTIVE_STATES, TASKS_PATH
from waiter.cli.progress.model import ListingRow, ProgressModel
from waiter.cli.task_list import described_filter
from waiter.cli.wait_thread import Inbox, run_with_progress
from waiter.config.task_filter import DEFAULT_LIMIT, resolve_filter
from waiter.console import stderr
from waiter.console.arguments import filter_options
from waiter.errors import ConfigurationError

if TYPE_CHECKING:
    from waiter.api.requests import TaskFilter
    from waiter.cli.output.writer import ResultWriter
    from waiter.task import TaskSnapshot
    from waiter.wait import Waiter


def add_active_tasks(
    args: argparse.Namespace, waiter: Waiter, model: ProgressModel, inbox: Inbox, writer: ResultWriter
) -> None:
    """Add the active tasks of the account to the model; an outage is survived as by a wait, within the same time-out.

    Raises ConfigurationError for more tasks than a listing may have, TaskTimeoutError and ApiError.
    """
    chosen = resolve_filter(ACTIVE_STATES, **filter_options(args))
    began_at = time.monotonic()
    snapshots = _list(args, waiter, chosen, inbox, writer)
    if len(snapshots) > DEFAULT_LIMIT:
        message = f"more than {DEFAULT_LIMIT} tasks are active: use --project, --region or --type"
        raise ConfigurationError(message)
    if not snapshots:
        stderr.info(f"no task found{described_filter(chosen)}")
    now = time.monotonic()
    waiter.reduce_timeout(now - began_at)
    for snapshot in snapshots:
        model.add(snapshot.task.id, now).record_snapshot(snapshot, now)


def _list(
    args: argparse.Namespace, waiter: Waiter, chosen: TaskFilter, inbox: Inbox, writer: ResultWriter
) -> list[TaskSnapshot]:
    """Return the tasks that a filter selects; the listing has progress and events as a wait has them."""
    listed: list[TaskSnapshot] = []
    model = ProgressModel([], time.monotonic())
    model.rows[TASKS_PATH] = ListingRow(TASKS_PATH, model.started_at)
    run_with_progress(lambda: listed.extend(waiter.await_listing(chosen, DEFAULT_LIMIT + 1)), args, model, inbox, writer)
    return listed
