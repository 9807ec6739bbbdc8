"""``waiter completion``: what makes a shell know the options."""

from __future__ import annotations

import argparse

import shtab

from waiter.cli.commands import top
from waiter.console.exit_codes import Exit
from waiter.console.streams import write


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    write(shtab.complete(top(), shell=args.shell) + "\n")
    return Exit.FINISHED
