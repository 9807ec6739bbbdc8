"""``waiter ack``: acknowledge each task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waiter.cli.each_task import make_task_parser, request_each
from waiter.cli.output.result import TaskResult
from waiter.errors import WaiterError

if TYPE_CHECKING:
    from waiter.cli.parser import Parser
    from waiter.wait import Waiter


def make_parser() -> Parser:
    """Return the parser of ``waiter ack``."""
    return make_task_parser(
        "ack",
        examples="waiter ack 26986bc0-748a-4448-b836-0a2aa465eb06\nwaiter wait TASK_ID && waiter ack TASK_ID -o ids",
        epilog="The exit code is 0 if every task was acknowledged, whatever its state, otherwise that of waiter wait.",
    )


def run(args: argparse.Namespace) -> int:
    """Acknowledge, print the tasks, and return the exit code."""
    return request_each(args, _acknowledge, "ack.failed")


def _acknowledge(waiter: Waiter, task_id: str) -> TaskResult:
    try:
        return TaskResult(task_id, waiter.acknowledge(task_id))
    except WaiterError as error:
        return TaskResult(task_id, error=error)
