"""``--query``: a JMESPath expression, applied to the JSON of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from waiter.cli.output.formats import FORMATS, json_text
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError

Query: TypeAlias = Callable[[object], Any]


class QueryError(Exception):
    """The query failed on the data; the message is one printable line."""


def compile_query(expression: str, format_name: str) -> Query:
    """Return the query as a function; raises ConfigurationError if it is invalid or does not fit the output format."""
    if not FORMATS[format_name].takes_query:
        message = f"--query goes with --output text, json or ids, not {format_name}"
        raise ConfigurationError(message)
    import jmespath  # noqa: PLC0415 - only needed for queries

    try:
        compiled = jmespath.compile(expression)
        unknown = set(_functions(compiled.parsed)) - jmespath.functions.Functions.FUNCTION_TABLE.keys()
    except (jmespath.exceptions.JMESPathError, ValueError, RecursionError) as error:
        message = f"--query: {printable(_first_line(error))}"
        raise ConfigurationError(message) from None
    if unknown:
        message = f"--query: Unknown function: {printable(', '.join(f'{name}()' for name in sorted(unknown)))}"
        raise ConfigurationError(message)
    return compiled.search


def _functions(node: Any) -> Iterator[str]:  # noqa: ANN401 - jmespath's tree
    """Yield the names of the functions that a parsed expression calls: jmespath checks them only when they run."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        yield from _functions(child)


def run_query(query: Query, data: object, format_name: str) -> str:
    """Return the output of a query: JSON, or one bare value a line; raises QueryError."""
    try:
        found = query(data)
        if format_name == "json":
            return json_text(found)
        return "".join(f"{_bare(one)}\n" for one in (found if isinstance(found, list) else [found]) if one is not None)
    except Exception as error:  # jmespath raises many types, and none of them may hide how the tasks ended
        raise QueryError(printable(_first_line(error))) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bare(value: object) -> str:
    import json  # noqa: PLC0415 - only needed for queries

    return printable(value) if isinstance(value, str) else json.dumps(value)
