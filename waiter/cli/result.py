"""Which form the result takes, decided and checked before the wait begins."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from waiter.cli import output
from waiter.cli.output import Ending
from waiter.cli.streams import write
from waiter.cli.text import safe
from waiter.errors import ConfigurationError


class Result:
    """Prints what came of the tasks, as the arguments want it; raises ConfigurationError when that cannot work."""

    def __init__(self, args: argparse.Namespace, *, to_terminal: bool) -> None:
        self.form: str = args.output or ("text" if to_terminal else "json")
        # Standard output belongs to the command that runs after the wait, unless somebody wants both there.
        self._silent = args.output is None and getattr(args, "command", None) is not None
        self._query = _compile(args.query, self.form) if args.query else None
        self._file = output.github_file(args.environ) if self.form == "github" else None

    def give(self, endings: Sequence[Ending], *, success: bool) -> None:
        """Print the result, or put it where it belongs."""
        if self._silent:
            return
        if self._query:
            write(self._answer(self._query, output.as_data(endings)))
        elif self.form == "json":
            write(output.as_json(output.as_data(endings)))
        elif self.form == "text":
            write(output.as_text(endings))
        elif success:
            self._give_whole(endings)

    def _give_whole(self, endings: Sequence[Ending]) -> None:
        resources = output.created(endings)
        if self._file:
            with self._file.open("a", encoding="utf-8", newline="\n") as file:
                file.write(output.as_github(resources))
        else:
            write(output.as_ids(resources) if self.form == "ids" else output.as_env(resources))

    def _answer(self, query: Callable[[object], Any], data: object) -> str:
        found = query(data)
        if self.form == "json":
            return output.as_json(found)
        return "".join(f"{_bare(one)}\n" for one in (found if isinstance(found, list) else [found]) if one is not None)


def _compile(expression: str, form: str) -> Callable[[object], Any]:
    if form in {"env", "github"}:
        message = f"--query goes with --output text, json or ids, not {form}"
        raise ConfigurationError(message)
    import jmespath  # noqa: PLC0415 - for queries only

    try:
        compiled = jmespath.compile(expression)
    except (jmespath.exceptions.JMESPathError, ValueError) as error:
        message = f"--query: {safe(_one_line(error))}"
        raise ConfigurationError(message) from None

    def search(data: object) -> Any:  # noqa: ANN401 - whatever the expression makes of it
        try:
            return compiled.search(data)
        except (jmespath.exceptions.JMESPathError, ValueError, TypeError) as error:
            message = f"--query: {safe(_one_line(error))}"
            raise ConfigurationError(message) from None

    return search


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bare(value: object) -> str:
    import json  # noqa: PLC0415 - for queries only

    return safe(value) if isinstance(value, str) else json.dumps(value)
