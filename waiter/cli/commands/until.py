"""``waiter until``: wait until a resource shows a value, or is gone, and print it."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from waiter.cli import options
from waiter.cli.output.formats import OutputFormat, json_text
from waiter.cli.output.writer import ResultWriter
from waiter.cli.parser import Parser
from waiter.cli.progress.choose import choose_progress
from waiter.cli.progress.model import ProgressModel, ResourceRow
from waiter.cli.registry import COMMANDS
from waiter.cli.telemetry import load_telemetry
from waiter.cli.wait_thread import Inbox, InboxReader, start_thread
from waiter.console import signals
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import exit_code
from waiter.console.formatting import printable
from waiter.console.log_format import is_logged, start_log
from waiter.console.stderr import format_message
from waiter.console.streams import is_terminal, write_stderr
from waiter.errors import ResourceError, WaiterError
from waiter.outcome import Outcome
from waiter.wait import Waiter

if TYPE_CHECKING:
    from waiter.api.resources import Condition, Resource

# The fields that show the status of a resource.
STATUS = "status || provisioning_status"


def _text(rows: Sequence[Any]) -> str:
    """Return a line with the value and the path."""
    return "".join(f"{row.state}  {row.task_id}\n" for row, _ in rows)


def _resource(rows: Sequence[Any]) -> Resource:
    """Return the resource itself."""
    resource: Resource = rows[0][1]
    return resource


FORMATS = {"text": OutputFormat(_text), "json": OutputFormat(lambda rows: json_text(_resource(rows)))}


def make_parser() -> Parser:
    """Return the parser of ``waiter until``."""
    parser = Parser(
        "until",
        "PATH (--field JMESPATH --is VALUE... | --gone) [--fails VALUE...] [OPTIONS]",
        summary=COMMANDS["until"],
        examples=(
            "waiter until /cloud/v1/images/{project_id}/{region_id}/ID --field status --is active --fails killed deleted\n"
            "waiter until /cloud/v1/volumes/7/76/ID --gone --fails 'error*' --timeout 10m\n"
            "waiter until /cloud/v1/instances/7/76/ID --field status --is SHUTOFF --query name -o text"
        ),
        epilog=(
            "The exit code is 0 when the value is one of --is, or the resource is gone; 1 for a value of --fails; 124 when it\n"
            "timed out; 4 if the resource is not found, except with --gone; 3 and 5 as for waiter wait.\n"
            "PATH is within the configured address of the API. {project_id} and {region_id} are filled in from\n"
            "GCORE_CLOUD_PROJECT_ID and GCORE_CLOUD_REGION_ID."
        ),
    )
    parser.add_argument("path", nargs="?", metavar="PATH", help="path of the resource, such as /cloud/v1/images/7/76/ID")
    options.add_condition(parser)
    options.add_limits(parser, stall=False)
    options.add_schedule(parser, learn=False)
    options.add_result(parser, FORMATS)
    options.add_progress(parser)
    options.add_telemetry(parser)
    options.add_connection(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Wait as the arguments say, print the resource, and return the exit code."""
    _require_path(args)
    condition = _condition(args)
    writer = ResultWriter(args, to_terminal=is_terminal(sys.stdout), formats=FORMATS, as_data=_resource)
    telemetry = load_telemetry(args)
    inbox: Inbox = SimpleQueue()
    with Waiter(**waiter_options(args), on_event=inbox.put) as waiter, telemetry():
        row = ResourceRow(waiter.resource_path(args.path), time.monotonic())
        try:
            error, resource = _wait(args, waiter, row, condition, inbox)
        except signals.Interrupted as interruption:
            text = f"waiter: interrupted by {interruption.name}; {row.name} is {row.state}"
            data = {"signal": interruption.name, "path": row.task_id, "value": row.state}
            write_stderr(format_message("wait.interrupted", text, level="warning", **data))
            return interruption.exit_code
        code = int(exit_code(error))
        return code if error and resource is None else int(writer.write([(row, resource)], code=code))


def _require_path(args: argparse.Namespace) -> None:
    """Exit with 2 if there is no path; an option that takes several values takes a path after them too."""
    if args.path is not None:
        return
    given = [value for value in [*(args.values or ()), *(args.fails or ())] if value.startswith(("/", "http"))]
    if not given:
        make_parser().error("the following arguments are required: PATH")
    path = given[0]
    command = shlex.join(["waiter", "until", path, *(word for word in args.argv if word != path)])
    make_parser().error(f"PATH stands before options that take several values: {printable(command)}")


def _condition(args: argparse.Namespace) -> Condition:
    """Return the condition that the arguments describe; exit with 2 if there is none."""
    from waiter.api.resources import Condition  # noqa: PLC0415 - the parser, which completion needs, does without
    from waiter.cli.output.query import find_value  # noqa: PLC0415 - as above

    if not args.gone and not (args.field and args.values):
        make_parser().error("the following arguments are required: --field and --is, or --gone")
    find = find_value(args.field or STATUS, "--field")
    return Condition(find, args.values or (), args.fails or (), gone=args.gone)


def _wait(
    args: argparse.Namespace, waiter: Waiter, row: ResourceRow, condition: Condition, inbox: Inbox
) -> tuple[WaiterError | None, Resource]:
    """Wait, and return the error that ended the wait and the resource as last seen, None if it is gone or unknown."""
    found: list[Resource] = []

    def work() -> None:
        try:
            found.append(waiter.until(row.task_id, condition))
            inbox.put(Outcome(row.task_id))
        except WaiterError as error:
            found.append(error.resource if isinstance(error, ResourceError) else None)
            inbox.put(Outcome(row.task_id, error=error))

    start_log(args, inbox.put)
    model = ProgressModel([], row.changed_at)
    model.rows[row.task_id] = row
    progress = choose_progress(args, model)
    keep = not (is_terminal(sys.stdout) and (args.output or "text") == "text")
    try:
        thread = start_thread(work, inbox)
        InboxReader(
            inbox, model, progress, reports_error=lambda outcome: not (outcome.error and is_logged(args, outcome.error))
        ).read_until_done()
        thread.join()
    finally:
        progress.close(keep=keep)
    outcome = row.outcome
    assert outcome is not None  # noqa: S101 - the thread puts one before it ends
    return outcome.error, found[0]
