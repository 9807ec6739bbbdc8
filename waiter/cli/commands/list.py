"""``waiter list``: the tasks of the account."""

from __future__ import annotations

import argparse
import sys

from waiter.api.requests import ACTIVE_STATES
from waiter.cli import options
from waiter.cli.output.table import LIST_FORMATS
from waiter.cli.output.writer import ResultWriter
from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS
from waiter.cli.task_list import described_filter, fetch_histories, make_model, results_of
from waiter.cli.watch import watch
from waiter.config.task_filter import DEFAULT_LIMIT, resolve_filter
from waiter.console import stderr
from waiter.console.arguments import filter_options, waiter_options
from waiter.console.exit_codes import ExitCode
from waiter.console.log_format import start_log
from waiter.console.streams import is_terminal, write_stderr
from waiter.wait import Waiter


def make_parser() -> Parser:
    """Return the parser of ``waiter list``."""
    parser = Parser(
        "list",
        "[OPTIONS]",
        summary=COMMANDS["list"],
        examples=(
            "waiter list --state ERROR --project 1234\n"
            "waiter list --watch                                    # until Ctrl-C\n"
            "waiter list --type create_vm -o ids | waiter wait -"
        ),
        epilog="The exit code is 0 whatever the states, otherwise that of waiter wait. Ctrl-C ends --watch with 130.",
    )
    group = options.OptionGroup(parser.add_argument_group("which tasks, newest first"))
    options.add_state(group)
    options.add_filters(group)
    options.add_no_learn(group)
    options.add_watch(parser)
    options.add_result(parser, LIST_FORMATS)
    options.add_log(parser)
    options.add_connection(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """List the tasks, print them, and return the exit code."""
    if not args.watch and (given := options.first_given(args.argv, options.WATCHING)):
        make_parser().error(f"{given} goes with --watch: without it, the tasks are listed once")
    writer = ResultWriter(args, to_terminal=is_terminal(sys.stdout), formats=LIST_FORMATS)
    start_log(args, write_stderr)
    states = () if args.all else args.state or ACTIVE_STATES
    chosen = resolve_filter(states, **filter_options(args))
    if args.watch:
        return watch(args, chosen)
    with Waiter(**waiter_options(args)) as waiter:
        model = make_model(snapshots := waiter.list_snapshots(chosen, DEFAULT_LIMIT + 1))
        if args.output != "ids":
            model.record_histories(fetch_histories(waiter, snapshots, ask=not args.no_learn))
    results = results_of(model)
    code = writer.write(results[:DEFAULT_LIMIT], code=ExitCode.FINISHED)
    if not results:
        stderr.info(f"no task found{described_filter(chosen)}")
    if len(results) > DEFAULT_LIMIT:
        stderr.warn(f"only the newest {DEFAULT_LIMIT} tasks are listed: use --state, --project, --region or --type")
    return code
