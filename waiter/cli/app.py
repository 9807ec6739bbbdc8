"""One run of the command: which one, and what becomes of whatever goes wrong in it."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from waiter.cli.commands import COMMANDS, reject, top
from waiter.cli.parser import asked_for, split_command
from waiter.config.settings import command_environment
from waiter.console import signals, stderr
from waiter.console.exit_codes import ExitCode, exit_code
from waiter.console.formatting import printable
from waiter.console.streams import OutputError, flush_stdout
from waiter.errors import WaiterError


def run(argv: Sequence[str]) -> int:
    """Run the command that the arguments name and give its exit code."""
    environ = command_environment()
    stderr.use_json(asked_for("--log-format", argv, environ) == "json")
    try:
        return _run(argv, environ)
    except SystemExit as leaving:
        # argparse leaves this way, after a mistake or a page of help.
        return int(leaving.code or 0)
    except signals.Interrupted as interruption:
        return _obey(interruption)
    except WaiterError as error:
        return _refuse(error)
    except Exception as fault:  # noqa: BLE001 - this is where faults end
        if interruption_behind := signals.interruption_behind(fault):
            return _obey(interruption_behind)
        _own_up(fault, debug=asked_for("--log-level", argv, environ) == "debug")
        return ExitCode.FAULT
    finally:
        flush_stdout()


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    own, command = split_command(argv)
    if not own or own[0] not in COMMANDS:
        _without_command(own)
    name, *rest = own
    parser = COMMANDS[name]()
    if command is not None and name not in {"wait", "simulate"}:
        parser.error("only waiter wait and waiter simulate take a command after --")
    args = parser.parse(rest, environ)
    if command == []:
        parser.error("a command must follow --")
    args.command, args.argv, args.environ = command, rest, environ
    module: Any = import_module(f"waiter.cli.{name}")
    gc.enable()
    with signals.raise_on_signals():
        return module.run(args)  # type: ignore[no-any-return]


def _without_command(argv: Sequence[str]) -> NoReturn:
    parser = top()
    if not argv:
        parser.refuse_with(parser.format_help(), "there is no command")
    word = printable(argv[0])
    if not word.startswith("-"):
        parser.error(reject(word))
    if word in {"-h", "--help", "--version"}:
        parser.parse_args([word])
    parser.refuse([word])


def _obey(interruption: signals.Interrupted) -> int:
    stderr.error("interrupted", "wait.interrupted", level="warning", signal=interruption.name)
    return interruption.exit_code


def _refuse(error: WaiterError) -> int:
    stderr.error(stderr.describe(error), "waiter.failed", **stderr.error_fields(error))
    return exit_code(error)


def _own_up(fault: Exception, *, debug: bool) -> None:
    if isinstance(fault, OutputError):
        stderr.error(str(fault), "result.not_written")
        return
    error = f"{type(fault).__name__}: {printable(' '.join(str(fault).split()))}"
    said = f"a fault in waiter itself: {error}"
    if not debug:
        stderr.error(f"{said}; WAITER_LOG_LEVEL=debug tells where", "waiter.fault", error=error)
        return
    import traceback  # noqa: PLC0415 - for faults only

    where = "".join(traceback.format_exception(fault))
    stderr.error(f"{said}\n{where}", "waiter.fault", error=error, exception=where)
