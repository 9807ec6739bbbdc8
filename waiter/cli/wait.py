"""``waiter wait``: wait for tasks, print what they made, and run what comes next."""

from __future__ import annotations

import argparse
import gc
import shlex
import sys
import time
from queue import SimpleQueue
from typing import Any

from waiter.cli import follow, output
from waiter.cli.board import Board, Row
from waiter.cli.display import choose
from waiter.cli.input import read_ids
from waiter.cli.next_step import check_command, run_command
from waiter.cli.progress import NAMED
from waiter.cli.result import Result
from waiter.console import signals, stderr
from waiter.console.arguments import waiter_options
from waiter.console.exit_codes import ExitCode, combined_exit_code, is_still_running
from waiter.console.log_format import is_logged, start_log
from waiter.console.streams import is_terminal, write_stderr
from waiter.errors import ConfigurationError, TaskError, TaskNotFoundError
from waiter.outcome import Outcome
from waiter.wait import Waiter

MANY = 1000


def run(args: argparse.Namespace) -> int:
    """Wait as the arguments say and give the exit code."""
    problems: list[str] = []
    ids = _checked(problems, lambda: read_ids(args.task_ids, getattr(sys.stdin, "buffer", None)))
    result = _checked(problems, lambda: Result(args, to_terminal=is_terminal(sys.stdout)))
    _checked(problems, lambda: check_command(args.command, args.environ))
    inbox: follow.Inbox = SimpleQueue()
    waiter = _checked(problems, lambda: Waiter(**waiter_options(args), on_event=inbox.put)) if ids != [] else None
    if problems:
        raise ConfigurationError(*problems)
    if len(ids) > MANY:
        # To walk through what ten thousand waits hold takes a tenth of a second, so garbage is collected seldom.
        gc.freeze()
        gc.set_threshold(10_000, 20, 10)
    board = Board(ids, time.monotonic())
    code, last_words = _wait(args, waiter, board, inbox) if waiter else (int(ExitCode.FINISHED), [])
    endings = board.endings()
    try:
        code = int(result.give(endings, code=code))
    finally:
        for words in last_words:
            write_stderr(words)
    if code == ExitCode.FINISHED and args.command:
        return run_command(args.command, output.environment(args.environ, output.created(endings)))
    return code


def _checked(problems: list[str], make: Any) -> Any:  # noqa: ANN401 - whatever is made
    try:
        return make()
    except ConfigurationError as error:
        problems += error.problems
        return None


def _wait(args: argparse.Namespace, waiter: Waiter, board: Board, inbox: follow.Inbox) -> tuple[int, list[str]]:
    """Wait, and give the exit code and what is to be said after the result, so that a long one does not bury it."""
    start_log(args, inbox.put)
    progress = choose(args, board)
    # Who sees the result as text on the screen sees there how each task ended, and needs not read it twice.
    summary = not (is_terminal(sys.stdout) and (args.output or "text") == "text" and not args.command)
    try:
        thread = follow.start(waiter, list(board.rows), args.return_when, inbox)
        follow.follow(inbox, board, progress, tells=lambda outcome: _has_to_be_told(args, board, outcome, summary=summary))
        thread.join()
    except signals.Interrupted as interruption:
        progress.close(keep=summary)
        return interruption.exit_code, _take_leave(args, board, interruption)
    except BaseException:
        progress.close(keep=True)
        raise
    progress.close(keep=summary)
    waiter.close()
    return _conclude(args, board)


def _has_to_be_told(args: argparse.Namespace, board: Board, outcome: Outcome, *, summary: bool) -> bool:
    """Whether a bad end is told by neither the log nor the result, or by a result that may be long in coming."""
    logged = outcome.error is not None and is_logged(args, outcome.error)
    return not logged and (summary or _is_urgent(args, board, outcome))


def _is_urgent(args: argparse.Namespace, board: Board, outcome: Outcome) -> bool:
    lost = isinstance(outcome.error, TaskError | TaskNotFoundError)
    return lost and bool(board.open) and not follow.is_enough(outcome, args.return_when)


def _conclude(args: argparse.Namespace, board: Board) -> tuple[int, list[str]]:
    outcomes = [row.outcome for row in board.rows.values() if row.outcome]
    unfinished = [row for row in board.rows.values() if row.outcome is None or is_still_running(row.outcome.error)]
    return combined_exit_code(outcome.error for outcome in outcomes), _way_on(args, unfinished)


def _take_leave(args: argparse.Namespace, board: Board, interruption: signals.Interrupted) -> list[str]:
    unfinished = [row for row in board.rows.values() if row.task is None or not row.task.ended]
    named = ", ".join(f"{row.name} ({row.state})" for row in unfinished[:NAMED])
    more = f", and {len(unfinished) - NAMED} more" if len(unfinished) > NAMED else ""
    go_on = "this task goes on" if len(unfinished) == 1 else "these tasks go on"
    what = f"; {go_on}: {named}{more}" if unfinished else ""
    text = f"waiter: interrupted by {interruption.name}{what}"
    return [
        stderr.format_message("wait.interrupted", text, level="warning", signal=interruption.name),
        *_way_on(args, unfinished),
    ]


def _way_on(args: argparse.Namespace, unfinished: list[Row]) -> list[str]:
    if not unfinished:
        return []
    command = resumption(args, [row.task_id for row in unfinished])
    tasks = {row.task_id: row.state for row in unfinished}
    return [
        stderr.format_message(
            "wait.unfinished", f"waiter: to go on waiting: {command}", level="info", tasks=tasks, command=command
        )
    ]


def resumption(args: argparse.Namespace, task_ids: list[str]) -> str:
    """Give the command line that takes up the wait for these tasks, with the options of this one."""
    options = [word for word in args.argv if word not in {*args.task_ids, "-"}]
    command = ["--", *args.command] if args.command else []
    return shlex.join(["waiter", "wait", *options, *task_ids, *command])
