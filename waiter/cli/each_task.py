"""One request for each task: what ``waiter status`` and ``waiter ack`` share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from waiter.cli import options
from waiter.cli.output.formats import FORMATS
from waiter.cli.output.result import TaskResult
from waiter.cli.output.writer import ResultWriter
from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS
from waiter.cli.task_input import is_resource_ref, read_task_ids
from waiter.cli.wait_thread import MAX_REQUESTS
from waiter.console import stderr
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode, combined_exit_code
from waiter.console.log_format import start_log
from waiter.console.signals import raise_received
from waiter.console.streams import is_terminal, write_stderr
from waiter.wait import Waiter


def make_task_parser(name: str, *, examples: str, epilog: str) -> Parser:
    """Return the parser of such a command."""
    parser = Parser(name, "[OPTIONS] TASK_ID... | -", summary=COMMANDS[name], examples=examples, epilog=epilog)
    options.add_tasks(parser)
    options.add_result(parser, FORMATS)
    options.add_log(parser)
    options.add_connection(parser)
    return parser


def request_each(args: argparse.Namespace, request: Callable[[Waiter, str], TaskResult], failure: str) -> int:
    """Send a request for each task, print the results, and return the exit code; ``failure`` names the event of an error."""
    ids = read_task_ids(args.task_ids, getattr(sys.stdin, "buffer", None), creators=args.creator)
    writer = ResultWriter(args, to_terminal=is_terminal(sys.stdout))
    start_log(args, write_stderr)
    if not ids:
        return writer.write([], code=ExitCode.FINISHED)
    with Waiter(**waiter_options(args)) as waiter:
        if any(map(is_resource_ref, ids)):
            from waiter.cli.resource_input import request_tasks  # noqa: PLC0415 - only needed for resources

            ids = request_tasks(waiter, ids, creators=args.creator)
        results = _request_together(lambda task_id: request(waiter, task_id), ids)
        raise_received()
    code = writer.write(results, code=combined_exit_code(result.error for result in results))
    for result in results:
        if result.error and not result.task:
            fields = stderr.error_fields(result.error)
            stderr.error(stderr.describe(result.error), failure, task_id=result.task_id, **fields)
    return code


def _request_together(request: Callable[[str], TaskResult], ids: list[str]) -> list[TaskResult]:
    """Return the results in the order of the IDs; a few requests are under way together."""
    if len(ids) == 1:
        return [request(ids[0])]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only needed for several tasks

    pool = ThreadPoolExecutor(MAX_REQUESTS)
    try:
        return list(pool.map(request, ids))
    finally:
        # A signal does not wait for requests under way.
        pool.shutdown(wait=False, cancel_futures=True)
