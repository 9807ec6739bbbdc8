"""One run of the command: choose it, run it, and turn every error into an exit code."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import NoReturn

from waiter.cli.exec_command import CommandError
from waiter.cli.parser import option_value, split_command
from waiter.cli.registry import COMMANDS, load_command, top_parser, unknown_command
from waiter.config.settings import copy_environment
from waiter.console import signals, stderr
from waiter.console.exit_codes import ExitCode, exit_code
from waiter.console.formatting import printable
from waiter.console.streams import OutputError, flush_stdout
from waiter.errors import WaiterError


def run(argv: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit code."""
    environ = copy_environment()
    stderr.use_json(option_value("--log-format", argv, environ) == "json")
    try:
        return _run(argv, environ)
    except SystemExit as leaving:
        # argparse exits after a usage error and after --help.
        return int(leaving.code or 0)
    except signals.Interrupted as interruption:
        return _report_interruption(interruption)
    except WaiterError as error:
        code = error.exit_code if isinstance(error, CommandError) else exit_code(error)
        stderr.error(stderr.describe(error), "waiter.failed", **{**stderr.error_fields(error), "exit_code": int(code)})
        return code
    except Exception as fault:  # noqa: BLE001 - the last handler
        if (wrapped := signals.interruption_behind(fault)) is not None:
            return _report_interruption(wrapped)
        _report_fault(fault, debug=option_value("--log-level", argv, environ) == "debug")
        return ExitCode.FAULT
    finally:
        flush_stdout()


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    own, command = split_command(argv)
    if not own or own[0] not in COMMANDS:
        _reject_first_word(own)
    name, *rest = own
    module = load_command(name)
    parser = module.make_parser()
    if command is not None and not parser.takes_command:
        parser.error("only waiter wait and waiter simulate take a command after --")
    args = parser.parse(rest, environ)
    if command == []:
        parser.error("a command must follow --")
    args.command, args.argv, args.environ = command, rest, environ
    gc.enable()
    with signals.raise_on_signals():
        try:
            return module.run(args)
        except signals.Interrupted:
            # Here the time for this is limited.
            flush_stdout()
            raise
        except WaiterError:
            # Where a callback drops the exception of a signal, a request fails.
            signals.raise_received()
            raise


def _reject_first_word(argv: Sequence[str]) -> NoReturn:
    parser = top_parser()
    if not argv:
        parser.exit_with_usage(parser.format_help(), "there is no command")
    word = printable(argv[0])
    if not word.startswith("-"):
        parser.error(unknown_command(word))
    if word in {"-h", "--help", "--version"}:
        parser.parse_args([word])
    parser.reject_arguments([word])


def _report_interruption(interruption: signals.Interrupted) -> int:
    stderr.write_message("interrupted", "wait.interrupted", level="warning", signal=interruption.name)
    return interruption.exit_code


def _report_fault(fault: Exception, *, debug: bool) -> None:
    if isinstance(fault, OutputError):
        stderr.error(str(fault), "result.not_written")
        return
    error = f"{type(fault).__name__}: {printable(' '.join(str(fault).split()))}"
    message = f"a fault in waiter itself: {error}"
    if not debug:
        stderr.error(f"{message}; WAITER_LOG_LEVEL=debug shows where", "waiter.fault", error=error)
        return
    import traceback  # noqa: PLC0415 - only needed for faults

    trace = "".join(traceback.format_exception(fault))
    stderr.error(f"{message}\n{trace}", "waiter.fault", error=error, exception=trace)
