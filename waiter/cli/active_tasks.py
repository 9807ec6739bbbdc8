"""The tasks of the account that are active now, as tasks to wait for."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from waiter.api.requests import ACTIVE_STATES
from waiter.cli.task_list import described_filter, list_through_outage
from waiter.config.settings import DEFAULT_MAX_OUTAGE
from waiter.config.task_filter import DEFAULT_LIMIT, resolve_filter
from waiter.console import stderr
from waiter.console.arguments import filter_options
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError

if TYPE_CHECKING:
    from waiter.cli.progress.model import Problem, ProgressModel
    from waiter.wait import Waiter


def add_active_tasks(args: argparse.Namespace, waiter: Waiter, model: ProgressModel) -> None:
    """Add the active tasks of the account to the model; an outage is survived as by a wait, up to its time-out.

    Raises ConfigurationError for more tasks than a listing may have, and ApiError.
    """
    chosen = resolve_filter(ACTIVE_STATES, **filter_options(args))
    max_outage = DEFAULT_MAX_OUTAGE if args.max_outage is None else args.max_outage
    if args.timeout is not None:
        max_outage = min(max_outage, args.timeout)

    reported: list[Problem] = []

    def report(problem: Problem) -> None:
        if not args.quiet and not reported:
            stderr.info(printable(problem.describe(time.monotonic())))
        reported.append(problem)

    snapshots = list_through_outage(lambda: waiter.list_snapshots(chosen, DEFAULT_LIMIT + 1), max_outage, report)
    if len(snapshots) > DEFAULT_LIMIT:
        message = f"more than {DEFAULT_LIMIT} tasks are active: use --project, --region or --type"
        raise ConfigurationError(message)
    if not snapshots and not model.rows:
        stderr.info(f"no task found{described_filter(chosen)}")
    now = time.monotonic()
    for snapshot in snapshots:
        if snapshot.task.id not in model.rows:
            model.add(snapshot.task.id, now).record_snapshot(snapshot, now)
