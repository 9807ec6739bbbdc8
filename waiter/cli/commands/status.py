"""``waiter status``: poll each task once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waiter.cli import options
from waiter.cli.each_task import request_each
from waiter.cli.output.formats import FORMATS
from waiter.cli.output.result import TaskResult
from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS
from waiter.errors import TaskError, WaiterError

if TYPE_CHECKING:
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
    return request_each(args, _poll, "status.failed")


def _poll(waiter: Waiter, task_id: str) -> TaskResult:
    try:
        task, age = (snapshot := waiter.snapshot(task_id)).task, snapshot.age
    except WaiterError as error:
        return TaskResult(task_id, error=error)
    return TaskResult(task_id, task, TaskError(task) if task.failed else None, age)
