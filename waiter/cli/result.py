"""Which form the result takes, decided and checked before the wait begins."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from waiter.cli import output
from waiter.cli.output import Ending
from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import printable
from waiter.console.streams import OutputError, write_result
from waiter.errors import ConfigurationError


class QueryError(Exception):
    """The query cannot be answered from the data; its text is one harmless line."""


class Result:
    """Prints what came of the tasks, as the arguments want it; raises ConfigurationError when that cannot work."""

    def __init__(self, args: argparse.Namespace, *, to_terminal: bool) -> None:
        self.form: str = args.output or ("text" if to_terminal else "json")
        # Standard output belongs to the command that runs after the wait, unless somebody wants both there.
        self._silent = args.output is None and getattr(args, "command", None) is not None
        self._query = _compile(args.query, self.form) if args.query else None
        self._file = output.github_file(args.environ) if self.form == "github" else None

    def give(self, endings: Sequence[Ending], *, code: int) -> int:
        """Print the result, or put it where it belongs; gives the exit code, which a trouble here changes only from 0."""
        try:
            return self._give_or_all(endings, code)
        except OutputError as error:
            stderr.error(str(error), "result.not_written")
            return code or ExitCode.FAULT

    def _give_or_all(self, endings: Sequence[Ending], code: int) -> int:
        try:
            self._give(endings, success=code == ExitCode.FINISHED)
        except QueryError as error:
            stderr.error(f"--query: {error}; so here is the whole result", "result.not_found", query_error=str(error))
            write_result(output.as_json(output.as_data(endings)))
            return code or ExitCode.USAGE
        return code

    def _give(self, endings: Sequence[Ending], *, success: bool) -> None:
        if self._silent:
            return
        if self._query:
            write_result(self._answer(self._query, output.as_data(endings)))
        elif self.form == "json":
            write_result(output.as_json(output.as_data(endings)))
        elif self.form == "text":
            write_result(output.as_text(endings))
        elif success:
            self._give_whole(endings)

    def _give_whole(self, endings: Sequence[Ending]) -> None:
        resources = output.created(endings)
        if self._file:
            try:
                with self._file.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(output.as_github(resources))
            except OSError as error:
                message = f"cannot write to GITHUB_OUTPUT: {error.strerror}"
                raise OutputError(message) from error
        else:
            write_result(output.as_ids(resources) if self.form == "ids" else output.as_env(resources))

    def _answer(self, query: Callable[[object], Any], data: object) -> str:
        try:
            found = query(data)
            if self.form == "json":
                return output.as_json(found)
            return "".join(f"{_bare(one)}\n" for one in (found if isinstance(found, list) else [found]) if one is not None)
        except Exception as error:  # whatever jmespath makes of it, how the tasks ended must not be lost
            raise QueryError(printable(_one_line(error))) from error


def _compile(expression: str, form: str) -> Callable[[object], Any]:
    if form in {"env", "github"}:
        message = f"--query goes with --output text, json or ids, not {form}"
        raise ConfigurationError(message)
    import jmespath  # noqa: PLC0415 - for queries only

    try:
        compiled = jmespath.compile(expression)
        unknown = set(_functions(compiled.parsed)) - jmespath.functions.Functions.FUNCTION_TABLE.keys()
    except (jmespath.exceptions.JMESPathError, ValueError, RecursionError) as error:
        message = f"--query: {printable(_one_line(error))}"
        raise ConfigurationError(message) from None
    if unknown:
        message = f"--query: Unknown function: {printable(', '.join(f'{name}()' for name in sorted(unknown)))}"
        raise ConfigurationError(message)
    return compiled.search


def _functions(node: Any) -> Iterator[str]:  # noqa: ANN401 - jmespath's tree
    """Give the names of the functions that a parsed expression calls, which jmespath itself looks up only when it runs."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        yield from _functions(child)


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bare(value: object) -> str:
    import json  # noqa: PLC0415 - for queries only

    return printable(value) if isinstance(value, str) else json.dumps(value)
