"""``waiter status``: poll each task once."""

from __future__ import annotations

import argparse
import sys

from waiter.cli import options
from waiter.cli.output.formats import FORMATS
from waiter.cli.output.result import TaskResult
from waiter.cli.output.writer import ResultWriter
from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS
from waiter.cli.task_input import read_task_ids
from waiter.console import stderr
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode, combined_exit_code
from waiter.console.log_format import start_log
from waiter.console.streams import is_terminal, write_stderr
from waiter.errors import TaskError, WaiterError
from waiter.wait import Waiter


def make_parser() -> Parser:
    """Return the parser of ``waiter status``."""
    parser = Parser(
        "status",
        "[OPTIONS] TASK_ID... | -",
        summary=COMMANDS["status"],
        examples="waiter status 26986bc0-748a-4448-b836-0a2aa465eb06\nwaiter status TASK_ID -o text --query 'tasks[0].state'",
        epilog="The exit code is 0 if every task was found and none is in ERROR, otherwise that of waiter wait.",
    )
    options.add_tasks(parser)
    options.add_result(parser, FORMATS)
    options.add_log(parser)
    options.add_connection(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Poll, print the result, and return the exit code."""
    ids = read_task_ids(args.task_ids, getattr(sys.stdin, "buffer", None))
    writer = ResultWriter(args, to_terminal=is_terminal(sys.stdout))
    start_log(args, write_stderr)
    if not ids:
        return writer.write([], code=ExitCode.FINISHED)
    with Waiter(**waiter_options(args)) as waiter:
        results = [_poll(waiter, task_id) for task_id in ids]
    code = writer.write(results, code=combined_exit_code(result.error for result in results))
    for result in results:
        if result.error and not result.task:
            fields = stderr.error_fields(result.error)
            stderr.error(stderr.describe(result.error), "status.failed", task_id=result.task_id, **fields)
    return code


def _poll(waiter: Waiter, task_id: str) -> TaskResult:
    try:
        task = waiter.status(task_id)
    except WaiterError as error:
        return TaskResult(task_id, error=error)
    return TaskResult(task_id, task, TaskError(task) if task.failed else None)
