"""Paths with placeholders, and JSON that is filled in with IDs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def compile_path(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for a path: `*` matches any text, `{name}` captures one segment."""
    parts = _PLACEHOLDER.split(pattern)
    texts = [re.escape(text).replace(r"\*", ".*") for text in parts[::2]]
    captures = [f"(?P<{name}>[^/]+)" for name in parts[1::2]] + [""]
    return re.compile("".join(text + capture for text, capture in zip(texts, captures, strict=True)))


def names_in(template: object) -> Iterator[str]:
    """Yield the names of all placeholders in the strings of a JSON value; ValueError for an unpaired brace."""
    if isinstance(template, str):
        for _, field, _, _ in Formatter().parse(template):
            if field is not None:
                yield re.split(r"[.\[]", field, maxsplit=1)[0]
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from names_in(value)
    elif isinstance(template, (list, tuple)):
        for value in template:
            yield from names_in(value)


def fill(template: object, values: Mapping[str, Any]) -> object:
    """Return a JSON value with the placeholders in its strings replaced.

    A string that is one placeholder ("{instances}") becomes the value itself, a list for example;
    inside other text, and with an index ("{instances[0]}"), it becomes text. Raises IndexError for
    an index beyond the end of a list.
    """
    if isinstance(template, str):
        whole = _PLACEHOLDER.fullmatch(template)
        return values[whole[1]] if whole else template.format_map(values)
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [fill(value, values) for value in template]
    return template
