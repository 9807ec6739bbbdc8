"""``waiter status``: poll each task once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waiter.cli.each_task import make_task_parser, request_each
from waiter.cli.output.result import TaskResult
from waiter.errors import TaskError, WaiterError

if TYPE_CHECKING:
    from waiter.cli.parser import Parser
    from waiter.wait import Waiter


def make_parser() -> Parser:
    """Return the parser of ``waiter status``."""
    return make_task_parser(
        "status",
        examples="waiter status 26986bc0-748a-4448-b836-0a2aa465eb06\nwaiter status TASK_ID -o text --query 'tasks[0].state'",
        epilog="The exit code is 0 if every task was found and none is in ERROR, otherwise that of waiter wait.",
    )


def run(args: argparse.Namespace) -> int:
    """Poll, print the result, and return the exit code."""
    return request_each(args, _poll, "status.failed")


def _poll(waiter: Waiter, task_id: str) -> TaskResult:
    try:
        task, age = (snapshot := waiter.snapshot(task_id)).task, snapshot.age
    except WaiterError as error:
        return TaskResult(task_id, error=error)
    return TaskResult(task_id, task, TaskError(task) if task.failed else None, age)
