"""``waiter completion``: print a completion script."""

from __future__ import annotations

import argparse

from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS, top_parser
from waiter.console.exit_codes import ExitCode
from waiter.console.streams import write_result

SHELLS = ("bash", "zsh", "fish", "powershell")


def make_parser() -> Parser:
    """Return the parser of ``waiter completion``."""
    parser = Parser(
        "completion",
        "SHELL",
        summary=COMMANDS["completion"],
        examples=(
            "waiter completion bash > ~/.local/share/bash-completion/completions/waiter\n"
            "waiter completion zsh > ~/.zfunc/_waiter               # with ~/.zfunc in fpath\n"
            "waiter completion fish > ~/.config/fish/completions/waiter.fish"
        ),
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415 - slow to import, and the help of waiter needs the parser only

    files = {"FILE": shtab.FILE, "SCRIPT": shtab.FILE, "DIR": shtab.DIRECTORY}
    parser = top_parser(complete=True)
    for action in parser.all_actions():
        if action.metavar in files:
            vars(action)["complete"] = files[action.metavar]  # shtab reads this attribute
    write_result(shtab.complete(parser, shell=args.shell) + "\n")
    return ExitCode.FINISHED
