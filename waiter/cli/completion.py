"""``waiter completion``: what makes a shell know the options."""

from __future__ import annotations

import argparse

import shtab

from waiter.cli.commands import top
from waiter.console.exit_codes import ExitCode
from waiter.console.streams import write_result


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    write_result(shtab.complete(top(), shell=args.shell) + "\n")
    return ExitCode.FINISHED
