"""The commands: the parser of each, and where to find what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from waiter._version import __version__
from waiter.cli import options
from waiter.cli.parser import Parser, suggestion, typed
from waiter.console.formatting import parse_name

_CODES: Final = """\
exit codes:
  0    every task FINISHED
  1    a task ended in ERROR
  2    wrong usage or configuration
  3    refused: key or permission (401, 403)
  4    no such task (404)
  5    the API gave no usable answer for --max-outage
  6    stalled (--stall-timeout)
  70   a fault in waiter itself
  124  timed out; the task goes on
  130  SIGINT, 143 SIGTERM; the tasks go on
Of several tasks the lowest code other than 0 counts. A COMMAND that ran hands on its own code."""


def wait() -> Parser:
    """Make the parser of ``waiter wait``."""
    parser = Parser(
        "wait",
        "[OPTIONS] TASK_ID... | - [-- COMMAND [ARGUMENT...]]",
        summary="Wait until Gcore Cloud tasks end; print what they created, or say exactly why not.",
        examples=(
            "waiter wait 26986bc0-748a-4448-b836-0a2aa465eb06\n"
            "curl ... | waiter wait -                               # the API's own answer\n"
            "ID=$(waiter wait TASK_ID -o text --query 'created_resources.instances[0]')\n"
            'vars=$(waiter wait TASK_ID -o env) && eval "$vars"     # INSTANCES=...\n'
            "waiter wait TASK_ID --timeout 30m -- ./deploy.sh       # with INSTANCES=... in its environment"
        ),
        epilog=_CODES,
    )
    options.add_tasks(parser)
    options.add_return_when(options.add_limits(parser))
    options.add_pace(parser)
    options.add_result(parser)
    options.add_display(parser)
    options.add_connection(parser)
    return parser


def status() -> Parser:
    """Make the parser of ``waiter status``."""
    parser = Parser(
        "status",
        "[OPTIONS] TASK_ID... | -",
        summary="Look at tasks once, whatever their state.",
        examples="waiter status 26986bc0-748a-4448-b836-0a2aa465eb06\nwaiter status TASK_ID -o text --query 'tasks[0].state'",
        epilog="Exits with 0 when every task could be seen and none is in ERROR, otherwise as waiter wait does.",
    )
    options.add_tasks(parser)
    options.add_result(parser)
    options.add_log(parser)
    options.add_connection(parser)
    return parser


def history() -> Parser:
    """Make the parser of ``waiter history``."""
    parser = Parser(
        "history",
        "[OPTIONS] TASK_TYPE",
        summary="Show how long the last tasks of a type took, as the API remembers it, in one request.",
        examples="waiter history create_vm",
    )
    parser.add_argument("task_type", type=typed(parse_name), metavar="TASK_TYPE", help="such as create_vm")
    options.add_result(parser, outputs=("text", "json"), query=False)
    options.add_log(parser)
    options.add_connection(parser)
    return parser


def simulate() -> Parser:
    """Make the parser of ``waiter simulate``."""
    parser = Parser(
        "simulate",
        "[OPTIONS] [SCRIPT] [-- COMMAND [ARGUMENT...]]",
        summary="Serve a simulated Gcore Cloud over HTTP, to try waiter and to test pipelines without an account.",
        examples=(
            "waiter simulate\n"
            "waiter simulate cloud.toml --speed 10 --listen 127.0.0.1:8090\n"
            "waiter simulate cloud.toml -- make deploy              # with GCORE_BASE_URL and GCORE_API_KEY set"
        ),
        epilog="It is stopped by Ctrl-C or SIGTERM, with exit code 0; after a COMMAND it exits with the command's code.",
    )
    parser.add_argument(
        "script", nargs="?", metavar="SCRIPT", help="TOML or JSON file of tasks and faults; without it, three tasks"
    )
    options.add_simulation(parser)
    return parser


def demo() -> Parser:
    """Make the parser of ``waiter demo``."""
    return Parser(
        "demo",
        summary="Show in a few seconds what waiting looks like, against a simulated Gcore Cloud on this machine.",
        examples="waiter demo",
    )


def completion() -> Parser:
    """Make the parser of ``waiter completion``."""
    parser = Parser(
        "completion",
        "SHELL",
        summary="Print a completion script for a shell.",
        examples=(
            "waiter completion bash > ~/.local/share/bash-completion/completions/waiter\n"
            "waiter completion zsh > ~/.zfunc/_waiter               # with ~/.zfunc in fpath\n"
            "waiter completion fish > ~/.config/fish/completions/waiter.fish"
        ),
    )
    shells = ("bash", "zsh", "fish", "powershell")
    parser.add_argument("shell", choices=shells, metavar="SHELL", help=", ".join(shells))
    return parser


def sidecar() -> Parser:
    """Make the parser of ``waiter sidecar``."""
    from waiter.cli.sidecar import make_parser  # noqa: PLC0415 - it has a file of its own

    return make_parser()


COMMANDS: Final[dict[str, Callable[[], Parser]]] = {
    "wait": wait,
    "status": status,
    "history": history,
    "sidecar": sidecar,
    "simulate": simulate,
    "demo": demo,
    "completion": completion,
}


def top() -> Parser:
    """Make the parser of ``waiter`` itself, with every command below it."""
    parser = Parser(
        "",
        "COMMAND [OPTIONS]",
        summary="waiter tells you the moment a Gcore Cloud task ends, hands you what it made, or says exactly why not.",
        examples=(
            "export GCORE_API_KEY='1234$abcdef'      # in single quotes: the shell would eat the $abcdef\n"
            "waiter wait 26986bc0-748a-4448-b836-0a2aa465eb06\n"
            "waiter demo                             # needs no account"
        ),
        epilog="waiter COMMAND --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"waiter {__version__}", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=argparse.ArgumentParser)
    for name, make in COMMANDS.items():
        child = make()
        commands.add_parser(name, parents=[child], add_help=False, help=child.summary, usage=child.usage)
    return parser


def reject(word: str) -> str:
    """Say what is wrong with a word that is no command."""
    if len(word) >= 32:  # noqa: PLR2004 - the digits of a UUID
        return f"{word!r} is no command: did you mean waiter wait {word}?"
    return f"{word!r} is no command{suggestion(word, COMMANDS)}"
