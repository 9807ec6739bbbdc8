"""The manual page, made from the parsers: ``python -m waiter.cli.manual > waiter/cli/waiter.1``."""

from __future__ import annotations

import argparse

from waiter.cli.commands import COMMANDS, top
from waiter.cli.parser import Parser
from waiter.console.streams import write_result


def page() -> str:
    """Give the page in the language of man(7)."""
    parser = top()
    lines = [
        '.\\" Made by "python -m waiter.cli.manual" from the parsers.',
        '.TH WAITER 1 "" waiter "User Commands"',
        ".SH NAME",
        "waiter \\- wait for Gcore Cloud tasks",
        ".SH SYNOPSIS",
        *(f"{_escaped(str(make().usage))}\n.br" for make in COMMANDS.values()),
        ".SH DESCRIPTION",
        _escaped(parser.summary),
        *_examples(parser),
    ]
    for name, make in COMMANDS.items():
        lines += [f".SH WAITER {name.upper()}", *_command(make())]
    return "\n".join(lines) + "\n"


def _command(parser: Parser) -> list[str]:
    lines = [_escaped(parser.summary), *_examples(parser)]
    for title, actions in parser.groups():
        shown = [action for action in actions if "--help" not in action.option_strings]
        if shown:
            lines += [f".SS {_escaped(title)}", *(_argument(action) for action in shown)]
    if parser.epilog:
        lines += [".PP", *_verbatim(parser.epilog)]
    return lines


def _argument(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar)
    name = f"{', '.join(action.option_strings)} {value}".strip()
    return f".TP\n.B {_escaped(name)}\n{_escaped(str(action.help))}"


def _examples(parser: Parser) -> list[str]:
    return [".PP", *_verbatim(parser.examples)]


def _verbatim(text: str) -> list[str]:
    return [".nf", *(_escaped(line) for line in text.splitlines()), ".fi"]


def _escaped(text: str) -> str:
    # groff_char(7): a bare minus sign may become a hyphen, and a dot or a quote at the begin of a line is a request.
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped


def main() -> None:
    """Print the page."""
    write_result(page())


if __name__ == "__main__":  # pragma: no cover - by hand
    main()
