"""``waiter status``: one look at each task."""

from __future__ import annotations

import argparse
import sys

from waiter.cli.input import read_ids
from waiter.cli.output import Ending
from waiter.cli.result import Result
from waiter.console import stderr
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode, combined_exit_code
from waiter.console.log_format import start_log
from waiter.console.streams import is_terminal, write_stderr
from waiter.errors import TaskError, WaiterError
from waiter.wait import Waiter


def run(args: argparse.Namespace) -> int:
    """Look, print what there is, and give the exit code."""
    ids = read_ids(args.task_ids, getattr(sys.stdin, "buffer", None))
    result = Result(args, to_terminal=is_terminal(sys.stdout))
    start_log(args, write_stderr)
    if not ids:
        return result.give([], code=ExitCode.FINISHED)
    with Waiter(**waiter_options(args)) as waiter:
        endings = [_look(waiter, task_id) for task_id in ids]
    code = result.give(endings, code=combined_exit_code(ending.error for ending in endings))
    for ending in endings:
        if ending.error and not ending.task:
            stderr.error(
                stderr.describe(ending.error), "look.failed", task_id=ending.task_id, **stderr.error_fields(ending.error)
            )
    return code


def _look(waiter: Waiter, task_id: str) -> Ending:
    try:
        task = waiter.status(task_id)
    except WaiterError as error:
        return Ending(task_id, error=error)
    return Ending(task_id, task, TaskError(task) if task.failed else None)
