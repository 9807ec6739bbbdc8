"""The tasks of resources that are given by their paths or URLs: one request for each says which task holds it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from waiter.cli.progress.model import ProgressModel, ResourceRow
from waiter.cli.task_input import is_resource_ref, task_ids_of
from waiter.cli.wait_thread import Inbox, run_with_progress
from waiter.console import stderr
from waiter.console.formatting import printable

if TYPE_CHECKING:
    from waiter.api.resources import Resource
    from waiter.cli.output.writer import ResultWriter
    from waiter.wait import Waiter


def request_tasks(waiter: Waiter, refs: Sequence[str], *, creators: bool) -> list[str]:
    """Return the IDs of the tasks, with one request for each resource. Raises ConfigurationError and ApiError."""
    return _replace_resources(waiter, refs, waiter.resource, creators=creators)


def await_tasks(args: argparse.Namespace, waiter: Waiter, refs: Sequence[str], inbox: Inbox, writer: ResultWriter) -> list[str]:
    """Return the IDs of the tasks; an outage is survived as by a wait, within the same time-out.

    Raises ConfigurationError, TaskTimeoutError and ApiError.
    """
    from waiter.api.resources import ResourceKind  # noqa: PLC0415 - only needed for paths

    model = ProgressModel([], time.monotonic())

    def fetch(path: str) -> Resource:
        found: list[Resource] = []
        model.rows = {path: ResourceRow(path, time.monotonic())}
        # A kind without a status is ready once it exists.
        run_with_progress(lambda: found.append(waiter.until(path, ResourceKind(path))), args, model, inbox, writer)
        return found[0]

    ids = _replace_resources(waiter, refs, fetch, creators=args.creator)
    waiter.reduce_timeout(time.monotonic() - model.started_at)
    return ids


def _replace_resources(waiter: Waiter, refs: Sequence[str], fetch: Callable[[str], Resource], *, creators: bool) -> list[str]:
    # All of them are checked before the first request.
    paths = {ref: waiter.resource_path(ref) for ref in refs if is_resource_ref(ref)}
    ids: list[str] = []
    for ref in refs:
        found = task_ids_of(fetch(paths[ref]), ref, creators=creators) if ref in paths else [ref]
        if not found:
            stderr.info(f"no task holds {printable(ref)}")
        ids += found
    return list(dict.fromkeys(ids))
