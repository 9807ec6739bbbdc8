"""One run of the command: which one, and what becomes of whatever goes wrong in it."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from waiter.cli import signals
from waiter.cli.commands import COMMANDS, reject, top
from waiter.cli.exits import Exit, exit_code
from waiter.cli.parser import split_command
from waiter.cli.streams import OutputError, complain, flush, say
from waiter.cli.text import explain, safe
from waiter.errors import WaiterError
from waiter.settings import command_environment


def run(argv: Sequence[str]) -> int:
    """Run the command that the arguments name and give its exit code."""
    environ = command_environment()
    try:
        with signals.raised():
            return _run(argv, environ)
    except SystemExit as leaving:
        # argparse leaves this way, after a mistake or a page of help.
        return int(leaving.code or 0)
    except signals.Interrupted as interruption:
        complain("interrupted")
        return interruption.exit_code
    except WaiterError as error:
        complain(explain(error))
        return exit_code(error)
    except OutputError as error:
        complain(str(error))
        return Exit.FAULT
    except Exception as fault:  # noqa: BLE001 - this is where faults end
        return _own_up(fault, debug="debug" in {environ.get("WAITER_LOG_LEVEL"), *argv})
    finally:
        flush()


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    own, command = split_command(argv)
    if not own or own[0] not in COMMANDS:
        _without_command(own)
    name, *rest = own
    parser = COMMANDS[name]()
    args = parser.parse(rest, environ)
    if command is not None and name not in {"wait", "simulate"}:
        parser.error("only waiter wait and waiter simulate take a command after --")
    if command == []:
        parser.error("a command must follow --")
    args.command, args.argv, args.environ = command, rest, environ
    module: Any = import_module(f"waiter.cli.{name}")
    gc.enable()
    return module.run(args)  # type: ignore[no-any-return]


def _without_command(argv: Sequence[str]) -> NoReturn:
    parser = top()
    if not argv:
        parser.exit(Exit.USAGE, parser.format_help())
    word = safe(argv[0])
    if not word.startswith("-"):
        parser.error(reject(word))
    if word in {"-h", "--help", "--version"}:
        parser.parse_args([word])
    parser.refuse([word])


def _own_up(fault: Exception, *, debug: bool) -> int:
    why = safe(" ".join(str(fault).split()))
    more = "" if debug else "; WAITER_LOG_LEVEL=debug tells where"
    complain(f"a fault in waiter itself: {type(fault).__name__}: {why}{more}")
    if debug:
        import traceback  # noqa: PLC0415 - for faults only

        say("".join(traceback.format_exception(fault)))
    return Exit.FAULT
