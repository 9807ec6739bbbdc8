"""``--query``: a JMESPath expression, applied to the JSON of the result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jmespath

from waiter.cli.output.formats import FORMATS, json_text
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class QueryError(Exception):
    """The query failed on the data; the message is one printable line."""


class Query:
    """A query and the output format of its result; raises ConfigurationError if it is invalid or does not fit the format."""

    def __init__(self, expression: str, format_name: str) -> None:
        compiled = _compile(expression, "--query")
        self._search: Callable[[object], Any] = compiled.search
        self._format_name = format_name
        self._render_variables = FORMATS[format_name].render_variables
        if self._render_variables and not _names_are_given(compiled.parsed):
            message = f"--query with --output {format_name} must name its values: '{{NAME: created_resources.instances[0]}}'"
            raise ConfigurationError(message)

    def run(self, data: object) -> tuple[str, bool]:
        """Return the output, and whether the result, or one of the named values, is null; raises QueryError."""
        try:
            found = self._search(data)
            if self._render_variables:
                text = self._render_variables({name: _joined(value) for name, value in found.items()})
                return text, None in found.values()
            if self._format_name == "json":
                return json_text(found), found is None
            values = found if isinstance(found, list) else [found]
            return "".join(f"{_bare(one)}\n" for one in values if one is not None), found is None
        except Exception as error:  # jmespath raises many types, and none of them may hide how the tasks ended
            raise QueryError(printable(_first_line(error))) from error


def find_value(expression: str, option: str) -> Callable[[object], Any]:
    """Return a function that finds the value of a JMESPath expression, None where the expression does not fit the data.

    Raises ConfigurationError that names the option.
    """
    search: Callable[[object], Any] = _compile(expression, option).search

    def find(data: object) -> Any:  # noqa: ANN401 - any JSON
        try:
            return search(data)
        except Exception:  # noqa: BLE001 - jmespath raises many types, and the next poll may show other data
            return None

    return find


def _compile(expression: str, option: str) -> Any:  # noqa: ANN401 - jmespath's type
    try:
        compiled = jmespath.compile(expression)
        unknown = set(_functions(compiled.parsed)) - jmespath.functions.Functions.FUNCTION_TABLE.keys()
    except (jmespath.exceptions.JMESPathError, ValueError, RecursionError) as error:
        message = f"{option}: {printable(_first_line(error))}"
        raise ConfigurationError(message) from None
    if unknown:
        message = f"{option}: Unknown function: {printable(', '.join(f'{name}()' for name in sorted(unknown)))}"
        raise ConfigurationError(message)
    return compiled


def _functions(node: Any) -> Iterator[str]:  # noqa: ANN401 - jmespath's tree
    """Yield the names of the functions that a parsed expression calls: jmespath checks them only when they run."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        yield from _functions(child)


def _names_are_given(node: Any) -> bool:  # noqa: ANN401 - jmespath's tree
    """Return whether the result has names that stand in the expression, so that no response of the API can set ``PATH``."""
    return node["type"] == "multi_select_dict" and all(_NAME.fullmatch(child["value"]) for child in node["children"])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _joined(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return ",".join(_bare(one) for one in values if one is not None)


def _bare(value: object) -> str:
    return printable(value) if isinstance(value, str) else json.dumps(value)
