"""The parser: arguments, their environment variables, and mistakes that are answered with the right word."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NoReturn

from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import printable
from waiter.console.streams import write_stderr

_YES = {"1", "true", "yes", "on"}
_NO = {"", "0", "false", "no", "off"}
_NO_KEY = "there is no --api-key, since all can read a command line: set GCORE_API_KEY, or use --api-key-file"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows examples first, knows its environment, and suggests the option that was meant."""

    def __init__(self, name: str, takes: str = "", *, summary: str, examples: str, epilog: str = "") -> None:
        prog = f"waiter {name}".rstrip()
        super().__init__(
            prog=prog, usage=f"{prog} {takes}".rstrip(), epilog=epilog, allow_abbrev=False, formatter_class=_Formatter
        )
        self.summary = summary
        self.examples = examples

    def format_help(self) -> str:
        """Give the page of ``--help``."""
        examples = "".join(f"  {line}\n" for line in self.examples.splitlines())
        return f"{self.summary}\n\nexamples:\n{examples}\n{super().format_help()}"

    def parse(self, argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
        """Read the arguments, and what they leave out from ``WAITER_<OPTION>``; a mistake exits with 2."""
        # An option between two IDs is what intermixed parsing allows and the plain one does not.
        if not {"-h", "--help"} & set(argv):
            self._take_defaults(environ, {word.partition("=")[0] for word in argv})
        args, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            self.refuse(unknown)
        return args

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say which option is not known, and which one may be meant, or what is too much, and exit with 2."""
        word = unknown[0].partition("=")[0]
        if not word.startswith("-"):
            self.error(f"one argument too many: {printable(unknown[0])}")
        if word == "--api-key":
            self.error(_NO_KEY)
        self.error(f"unknown option {printable(word)}{suggestion(word, self._option_string_actions)}")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with 2."""
        self.refuse_with(f"{self.prog}: {message}\ntry: {self.prog} --help\n", message)

    def refuse_with(self, page: str, error: str) -> NoReturn:
        """Show a page, or to programs only what is wrong, and exit with 2."""
        write_stderr(
            stderr.format_message(
                "waiter.misused",
                page.removesuffix("\n"),
                error=error,
                help=f"{self.prog} --help",
                exit_code=int(ExitCode.USAGE),
            )
        )
        raise SystemExit(ExitCode.USAGE)

    def options(self) -> list[argparse.Action]:
        """Give the options that have an environment variable."""
        return [action for action in self._actions if action.option_strings and action.default is not argparse.SUPPRESS]

    def groups(self) -> Iterable[tuple[str, list[argparse.Action]]]:
        """Give the titles of the help page's groups, each with its arguments."""
        return [(str(group.title), group._group_actions) for group in self._action_groups]  # noqa: SLF001 - no other way

    def _take_defaults(self, environ: Mapping[str, str], given: AbstractSet[str]) -> None:
        for action in self.options():
            name = variable(action)
            if environ.get(name) and not self._one_of(action) & given:
                try:
                    action.default = _convert(action, environ[name])
                except ValueError as error:
                    self.error(f"{name}: {error}")

    def _one_of(self, action: argparse.Action) -> set[str]:
        """Give the options of which one at most counts, this one among them: that of the command line, if there is one."""
        groups = (group._group_actions for group in self._mutually_exclusive_groups)  # noqa: SLF001 - no other way
        return {flag for group in groups if action in group for other in group for flag in other.option_strings}


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        # "-o, --output FORMAT", not "-o FORMAT, --output FORMAT" as before Python 3.13.
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, str(action.metavar))}"


def variable(action: argparse.Action) -> str:
    """Name the environment variable of an option: ``--max-outage`` is ``WAITER_MAX_OUTAGE``."""
    return _variable(action.option_strings[-1])


def _variable(option: str) -> str:
    return "WAITER_" + option.lstrip("-").replace("-", "_").upper()


def typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a reader that raises ValueError into a ``type`` whose message reaches the user."""

    def convert(text: str) -> Any:  # noqa: ANN401 - whatever it reads
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def suggestion(word: str, known: Iterable[str]) -> str:
    """Say which of the known words may be meant; empty when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    near = get_close_matches(word, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Part the arguments from the command after ``--``; None when there is no ``--``."""
    if "--" not in argv:
        return list(argv), None
    at = list(argv).index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def asked_for(option: str, argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Give the value of an option before anything has been parsed: how to speak of a mistake depends on it."""
    own, _ = split_command(argv)
    for at, word in reversed(list(enumerate(own))):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else "".join(own[at + 1 : at + 2])
    return environ.get(_variable(option))


def _convert(action: argparse.Action, text: str) -> object:
    if action.nargs == 0:
        if text.lower() not in _YES | _NO:
            message = f"neither yes nor no: {text!r}"
            raise ValueError(message)
        return text.lower() in _YES
    try:
        value = action.type(text) if callable(action.type) else text
    except argparse.ArgumentTypeError as error:
        raise ValueError(error) from None
    if action.choices is not None and value not in action.choices:
        message = f"{text!r} is none of {', '.join(action.choices)}"
        raise ValueError(message)
    return value
