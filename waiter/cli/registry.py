"""The list of commands. To add one, add a line here and a module of that name to ``commands``."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Final, Protocol, cast

from waiter._version import __version__
from waiter.cli.parser import Parser, suggestion

COMMANDS: Final = {
    "wait": "Wait until Gcore Cloud tasks end; print what they created, or why they did not.",
    "until": "Wait until a resource shows a value, such as the status ACTIVE, or is gone.",
    "list": "List the tasks of the account that have not ended, or others.",
    "status": "Poll tasks once, whatever their state.",
    "ack": "Acknowledge tasks, so that the API lists them as acknowledged.",
    "history": "Show how long the last tasks of a type took, from the API's list of tasks, in one request.",
    "sidecar": "Wait for tasks on behalf of other programs, over HTTP; accepted waits survive restarts.",
    "simulate": "Serve a simulated Gcore Cloud over HTTP, to try waiter and to test pipelines without an account.",
    "demo": "Show in a few seconds what waiting looks like, against a simulated Gcore Cloud on this machine.",
    "completion": "Print a completion script for a shell.",
}
# IDs of tasks are UUIDs.
_UUID_DIGITS = 32


class Command(Protocol):
    """A module of ``waiter.cli.commands``."""

    def make_parser(self) -> Parser:
        """Return the parser of the command."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""


def load_command(name: str) -> Command:
    """Import the module of a command."""
    return cast("Command", import_module(f"waiter.cli.commands.{name}"))


def top_parser(*, complete: bool = False) -> Parser:
    """Return the parser of ``waiter`` itself, whose help lists the commands.

    Only if ``complete`` do its commands have their options: that imports all of them, which takes long.
    """
    parser = Parser(
        "",
        "COMMAND [OPTIONS]",
        summary="waiter tells you the moment a Gcore Cloud task ends, hands you what it created, or says exactly why not.",
        examples=(
            "export GCORE_API_KEY='1234$abcdef'      # in single quotes: the shell would expand $abcdef\n"
            "waiter wait 26986bc0-748a-4448-b836-0a2aa465eb06\n"
            "waiter demo                             # needs no account"
        ),
        epilog="For the options of a command: waiter COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"waiter {__version__}", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=argparse.ArgumentParser)
    for name, summary in COMMANDS.items():
        if complete:
            child = load_command(name).make_parser()
            commands.add_parser(name, parents=[child], add_help=False, help=summary, usage=child.usage)
        else:
            commands.add_parser(name, add_help=False, help=summary)
    return parser


def unknown_command(word: str) -> str:
    """Return the message for a first word that is no command."""
    if len(word) >= _UUID_DIGITS:
        return f"{word!r} is no command: did you mean waiter wait {word}?"
    if word == "help":
        return f"{word!r} is no command: did you mean waiter --help, or waiter COMMAND --help?"
    return f"{word!r} is no command{suggestion(word, COMMANDS)}"
