"""The parser: arguments, their environment variables, and usage errors with suggestions."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NoReturn

from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import printable
from waiter.console.streams import write_stderr

_YES = {"1", "true", "yes", "on"}
_NO = {"", "0", "false", "no", "off"}
_NO_KEY = "there is no --api-key, because every user can read command lines: set GCORE_API_KEY, or use --api-key-file"

# Options of gh, hcloud, kubectl, aws and az for what waiter does in another way.
_OTHER_TOOLS = {
    "--format": "did you mean --output?",
    "--jq": "did you mean --query? It takes JMESPath",
    "--json": "did you mean --output json?",
    "--no-color": "set NO_COLOR=1",
    "--no-colour": "set NO_COLOR=1",
    "--project": "a task ID needs no project",
    "--project-id": "a task ID needs no project",
    "--region": "a task ID needs no region",
    "--silent": "did you mean --quiet?",
    "--verbose": "did you mean --log-level debug?",
    "-v": "did you mean --log-level debug, or waiter --version?",
    "-f": "IDs of a file are read from standard input: waiter wait - < FILE",
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows examples first, reads ``WAITER_<OPTION>`` variables, and suggests similar options.

    A command may follow after ``--`` if the usage says so.
    """

    def __init__(self, name: str, arguments: str = "", *, summary: str, examples: str, epilog: str = "") -> None:
        prog = f"waiter {name}".rstrip()
        super().__init__(
            prog=prog, usage=f"{prog} {arguments}".rstrip(), epilog=epilog, allow_abbrev=False, formatter_class=_Formatter
        )
        self.summary = summary
        self.examples = examples
        self.takes_command = "[-- COMMAND" in arguments

    def format_help(self) -> str:
        """Return the text of ``--help``."""
        examples = "".join(f"  {line}\n" for line in self.examples.splitlines())
        return f"{self.summary}\n\nexamples:\n{examples}\n{super().format_help()}"

    def parse(self, argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
        """Return the parsed arguments, with missing ones from ``WAITER_<OPTION>``; a usage error exits with 2."""
        # Plain parsing does not allow an option between two IDs.
        if not {"-h", "--help"} & set(argv):
            self._use_environment(environ, {word.partition("=")[0] for word in argv})
        args, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            self.reject_arguments(unknown)
        return args

    def reject_arguments(self, unknown: Sequence[str]) -> NoReturn:
        """Report the first unknown option, with a similar one, or the first superfluous argument, and exit with 2."""
        word = unknown[0].partition("=")[0]
        if not word.startswith("-"):
            self.error(f"one argument too many: {printable(unknown[0])}")
        if word == "--api-key":
            self.error(_NO_KEY)
        if word in _OTHER_TOOLS:
            self.error(f"unknown option {printable(word)}: {_OTHER_TOOLS[word]}")
        known = self._option_string_actions
        short = ", ".join(sorted(flag for flag in known if not flag.startswith("--")))
        hint = suggestion(word, known) if word.startswith("--") else f": the short options are {short}"
        self.error(f"unknown option {printable(word)}{hint}")

    def error(self, message: str) -> NoReturn:
        """Report a usage error and the command that shows help, and exit with 2."""
        self.exit_with_usage(f"{self.prog}: {message}\ntry: {self.prog} --help\n", message)

    def exit_with_usage(self, page: str, error: str) -> NoReturn:
        """Write a page or, with a JSON log, only the error, and exit with 2."""
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
        """Return the options that have an environment variable."""
        return [action for action in self._actions if action.option_strings and action.default is not argparse.SUPPRESS]

    def all_actions(self) -> Iterator[argparse.Action]:
        """Yield the arguments of this parser and of its commands."""
        for action in self._actions:
            yield action
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no accessor
                for child in action.choices.values():
                    yield from child._actions  # noqa: SLF001 - argparse has no accessor

    def groups(self) -> Iterable[tuple[str, list[argparse.Action]]]:
        """Return the titles of the groups in the help, each with its arguments."""
        return [(str(group.title), group._group_actions) for group in self._action_groups]  # noqa: SLF001 - argparse has no accessor

    def _use_environment(self, environ: Mapping[str, str], used: AbstractSet[str]) -> None:
        for action in self.options():
            name = variable(action)
            if environ.get(name) and not self._alternatives(action) & used:
                try:
                    action.default = _convert(action, environ[name])
                except ValueError as error:
                    self.error(f"{name}: {error}")

    def _alternatives(self, action: argparse.Action) -> set[str]:
        """Return the options that exclude each other, this one included: one on the command line overrides the environment."""
        groups = (group._group_actions for group in self._mutually_exclusive_groups)  # noqa: SLF001 - argparse has no accessor
        return {flag for group in groups if action in group for other in group for flag in other.option_strings}


class Several(argparse.Action):
    """Collect the values of an option that may be repeated; the first one replaces those of the environment."""

    def __call__(self, _: object, namespace: argparse.Namespace, value: object, __: object = None) -> None:
        """Add a value."""
        given, values = getattr(namespace, self.dest), value if isinstance(value, list) else [value]
        setattr(namespace, self.dest, values if given is self.default else [*given, *values])


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        # "-o, --output FORMAT", not "-o FORMAT, --output FORMAT" as before Python 3.13.
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, str(action.metavar))}"


def variable(action: argparse.Action) -> str:
    """Return the environment variable of an option: ``WAITER_MAX_OUTAGE`` for ``--max-outage``."""
    return _variable(action.option_strings[-1])


def _variable(option: str) -> str:
    return "WAITER_" + option.lstrip("-").replace("-", "_").upper()


def typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return an argparse ``type`` that shows the message of the ValueError that ``read`` raises."""

    def convert(text: str) -> Any:  # noqa: ANN401 - depends on read
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``: did you mean <word>?`` for the most similar known word; empty if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed for usage errors

    near = get_close_matches(word, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the arguments before ``--`` and the command after it, which is None without ``--``."""
    if "--" not in argv:
        return list(argv), None
    at = list(argv).index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def option_value(option: str, argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the value of an option before parsing: the format of usage errors depends on it."""
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
    if isinstance(action, Several):
        return [_convert_value(action, part) for part in text.split(",")]
    return _convert_value(action, text)


def _convert_value(action: argparse.Action, text: str) -> object:
    try:
        value = action.type(text) if callable(action.type) else text
    except argparse.ArgumentTypeError as error:
        raise ValueError(error) from None
    if action.choices is not None and value not in action.choices:
        message = f"{text!r} is none of {', '.join(action.choices)}"
        raise ValueError(message)
    return value
