"""``waiter wait``: wait for tasks, print what they created, and run the command after ``--``."""

from __future__ import annotations

import argparse
import gc
import shlex
import sys
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from waiter.cli import options
from waiter.cli.exec_command import exec_command, require_command
from waiter.cli.output.formats import FORMATS, command_environment
from waiter.cli.output.writer import ResultWriter
from waiter.cli.parser import Parser
from waiter.cli.progress.choose import choose_progress
from waiter.cli.progress.lines import MAX_NAMED, closing_summary
from waiter.cli.progress.model import ProgressModel, TaskRow
from waiter.cli.registry import COMMANDS
from waiter.cli.task_input import is_resource_ref, read_task_ids
from waiter.cli.telemetry import load_telemetry
from waiter.cli.wait_thread import Inbox, InboxReader, is_sufficient, start_wait_thread
from waiter.console import signals
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode, combined_exit_code, exit_code_table, is_still_running
from waiter.console.init_process import reaping_orphans
from waiter.console.log_format import is_logged, log_format, start_log
from waiter.console.stderr import format_message
from waiter.console.streams import is_terminal, wants_color, write_stderr
from waiter.errors import ConfigurationError, ResourceError, TaskError, TaskNotFoundError, WaiterError
from waiter.outcome import Outcome
from waiter.wait import Waiter

# From here on garbage is collected seldom: traversing the objects of ten thousand waits takes a tenth of a second.
MANY_TASKS = 1000


def make_parser() -> Parser:
    """Return the parser of ``waiter wait``."""
    parser = Parser(
        "wait",
        "[OPTIONS] TASK_ID... | - | --active [-- COMMAND [ARGUMENT...]]",
        summary=COMMANDS["wait"],
        examples=(
            "waiter wait 26986bc0-748a-4448-b836-0a2aa465eb06\n"
            "curl ... | waiter wait -                               # the API's own response\n"
            "waiter wait --active --project 1234                    # all that are active now\n"
            "ID=$(waiter wait TASK_ID -o text --query 'created_resources.instances[0]')\n"
            'vars=$(waiter wait TASK_ID -o env) && eval "$vars"     # INSTANCES=...\n'
            "waiter wait TASK_ID --timeout 30m -- ./deploy.sh       # with INSTANCES=... in its environment"
        ),
        epilog=(
            f"{exit_code_table()}"
            "Of several tasks, the lowest code other than 0 counts. After a COMMAND, the code is the command's."
        ),
    )
    options.add_tasks(parser, required=False)
    options.add_active(parser)
    limits = options.add_limits(parser)
    options.add_return_when(limits)
    options.add_ready(limits)
    options.add_ack(limits)
    options.add_schedule(parser)
    options.add_result(parser, FORMATS)
    options.add_progress(parser)
    options.add_telemetry(parser)
    options.add_connection(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Wait as the arguments say and return the exit code."""
    _check_usage(args)
    errors: list[ConfigurationError] = []
    ids = _collect(errors, lambda: read_task_ids(args.task_ids, getattr(sys.stdin, "buffer", None), creators=args.creator))
    writer = _collect(errors, lambda: ResultWriter(args, to_terminal=is_terminal(sys.stdout)))
    _collect(errors, lambda: require_command(args.command, args.environ))
    telemetry = _collect(errors, lambda: load_telemetry(args))
    inbox: Inbox = SimpleQueue()
    waiter: Any = (
        _collect(errors, lambda: Waiter(**waiter_options(args), on_event=inbox.put)) if ids != [] or args.active else None
    )
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigurationError(*(problem for error in errors for problem in error.problems))
    start_log(args, inbox.put)
    try:
        model = _find_tasks(args, waiter, ids, inbox, writer)
    except (WaiterError, signals.Interrupted):
        writer.write_end_of_events()
        raise
    if len(model.rows) > MANY_TASKS:
        gc.freeze()
        gc.set_threshold(10_000, 20, 10)
    # The command replaces this process only after telemetry was exported.
    with telemetry(), reaping_orphans():
        code, last_lines = _wait(args, waiter, model, inbox, writer) if model.rows else (int(ExitCode.FINISHED), [])
        results = model.results()
        try:
            code = int(writer.write(results, code=code))
        finally:
            for line in last_lines:
                write_stderr(line)
    if code == ExitCode.FINISHED and args.command:
        return exec_command(args.command, command_environment(args.environ, results))
    return code


def _check_usage(args: argparse.Namespace) -> None:
    """Exit with 2 if there is nothing to wait for, if IDs stand beside --active, or a filter beside IDs."""
    if args.active and args.task_ids:
        make_parser().error("--active stands for the IDs of all active tasks: leave out either --active or TASK_ID")
    if args.active:
        if options.first_given(args.argv, ["--creator"]):
            make_parser().error("--creator goes with a resource: --active waits for tasks")
        return
    if not args.task_ids:
        make_parser().error("the following arguments are required: TASK_ID, - or --active")
    if given := options.first_given(args.argv, options.FILTERS):
        make_parser().error(f"{given} goes with --active: a task ID needs none")


def _find_tasks(args: argparse.Namespace, waiter: Waiter, ids: list[str], inbox: Inbox, writer: ResultWriter) -> ProgressModel:
    """Return a model of the tasks to wait for; those of resources and those that are active are requested."""
    if any(map(is_resource_ref, ids)):
        from waiter.cli.resource_input import await_tasks  # noqa: PLC0415 - only needed for resources

        ids = await_tasks(args, waiter, ids, inbox, writer)
    model = ProgressModel(ids, time.monotonic())
    if args.active:
        from waiter.cli.active_tasks import add_active_tasks  # noqa: PLC0415 - only needed with --active

        add_active_tasks(args, waiter, model, inbox, writer)
    return model


def _collect(errors: list[ConfigurationError], make: Any) -> Any:  # noqa: ANN401 - returns what make returns
    try:
        return make()
    except ConfigurationError as error:
        errors.append(error)
        return None


def _wait(
    args: argparse.Namespace, waiter: Waiter, model: ProgressModel, inbox: Inbox, writer: ResultWriter
) -> tuple[int, list[str]]:
    """Wait, and return the exit code and the lines to write after the result, which may be too long to see them before."""
    progress = choose_progress(args, model)
    # The result as text on the terminal shows how each task ended, so nothing else has to.
    keep = not (is_terminal(sys.stdout) and (args.output or "text") == "text" and not args.command)

    def reports_error(outcome: Outcome) -> bool:
        logged = outcome.error is not None and is_logged(args, outcome.error)
        return not logged and (keep or _precedes_result(args, model, outcome))

    reader = InboxReader(inbox, model, progress, reports_error=reports_error, write_event=writer.write_event)
    try:
        thread = start_wait_thread(waiter, list(model.rows), args.return_when, inbox, args.ack)
        reader.read_until_done()
        thread.join()
    except signals.Interrupted as interruption:
        progress.close(keep=keep)
        reader.read_rest()
        writer.write_interrupted_waits()
        return interruption.exit_code, interruption_message(args, model, interruption)
    except BaseException:
        progress.close(keep=True)
        raise
    progress.close(keep=keep)
    waiter.close()
    outcomes = [row.outcome for row in model.rows.values() if row.outcome]
    unfinished = [row for row in model.rows.values() if row.outcome is None or is_still_running(row.outcome.error)]
    summary = _closing_summary(args, model)
    return combined_exit_code(outcome.error for outcome in outcomes), [*resume_hint(args, unfinished), *summary]


def _closing_summary(args: argparse.Namespace, model: ProgressModel) -> list[str]:
    """Return the line that sums up several tasks, if there is progress as text."""
    if len(model.rows) == 1 or args.quiet or args.progress == "none" or log_format(args) != "none":
        return []
    return [f"waiter: {closing_summary(model, color=wants_color(args.environ))}\n"]


def _precedes_result(args: argparse.Namespace, model: ProgressModel, outcome: Outcome) -> bool:
    """Return whether this is a failure that the result will show only later, because other tasks are still awaited."""
    is_final = isinstance(outcome.error, TaskError | ResourceError | TaskNotFoundError)
    return is_final and bool(model.pending) and not is_sufficient(outcome, args.return_when)


def interruption_message(args: argparse.Namespace, model: ProgressModel, interruption: signals.Interrupted) -> list[str]:
    """Return the lines that name the signal, the tasks that are still running, and the command that resumes the wait."""
    running = [row for row in model.rows.values() if row.task is None or not row.task.ended]
    not_ready = [row for row in model.rows.values() if row.is_getting_ready]
    unfinished = [*running, *not_ready]
    named = ", ".join(f"{row.name} ({row.state})" for row in unfinished[:MAX_NAMED])
    more = f", and {len(unfinished) - MAX_NAMED} more" if len(unfinished) > MAX_NAMED else ""
    what = "still running" if running else "not ready"
    those = f"this task is {what}" if len(unfinished) == 1 else f"these tasks are {what}"
    tasks = f"; {those}: {named}{more}" if unfinished else ""
    text = f"waiter: interrupted by {interruption.name}{tasks}"
    message = format_message("wait.interrupted", text, level="warning", signal=interruption.name)
    return [message, *resume_hint(args, unfinished)]


def resume_hint(args: argparse.Namespace, unfinished: Sequence[TaskRow]) -> list[str]:
    """Return the line with the command that resumes the wait; empty if no task is unfinished."""
    if not unfinished:
        return []
    command = resume_command(args, [row.task_id for row in unfinished])
    tasks = {row.task_id: row.state for row in unfinished}
    return [format_message("wait.unfinished", f"waiter: to resume: {command}", level="info", tasks=tasks, command=command)]


def resume_command(args: argparse.Namespace, task_ids: Sequence[str]) -> str:
    """Return the command line that waits for these tasks with the options of this one."""
    given = [word for word in _without_filters(args.argv) if word not in {*args.task_ids, "-"}]
    command = ["--", *args.command] if args.command else []
    return shlex.join(["waiter", "wait", *given, *task_ids, *command])


def _without_filters(argv: Sequence[str]) -> list[str]:
    """Return the arguments without --active and its filters: a wait is resumed for the same tasks, by their IDs."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in options.FILTERS:
            if not equals:
                next(words, None)
        elif name != "--active":
            kept.append(word)
    return kept
