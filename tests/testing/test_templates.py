"""Paths with placeholders, and JSON that is filled in."""

from __future__ import annotations

import pytest

from waiter.testing.templates import compile_path, fill, names_in


@pytest.mark.parametrize(
    ("pattern", "path", "captured"),
    [
        ("/a/*/c", "/a/b/c", {}),
        ("/a/*", "/a/b/c", {}),
        ("/a/*", "/b", None),
        ("/a/{x}/{y}", "/a/1/2", {"x": "1", "y": "2"}),
        ("/a/{x}", "/a/1/2", None),
        ("/a.b/{x}:do", "/a.b/1:do", {"x": "1"}),
        ("/a.b", "/acb", None),
        ("{x}*", "1/2", {"x": "1"}),
    ],
)
def test_path_matches_and_captures(pattern: str, path: str, captured: dict[str, str] | None) -> None:
    """`*` matches any text, `{name}` one segment, and everything else itself."""
    match = compile_path(pattern).fullmatch(path)
    assert captured == (match.groupdict() if match else None)


def test_names_are_found_at_any_depth() -> None:
    """The placeholders of all strings are found, in keys' values and lists."""
    template = {"a": ["{x[0]} and {y}", 1, None], "b": {"c": "{z}", "d": "{{no}}"}, "{key}": True}
    assert sorted(names_in(template)) == ["x", "y", "z"]


def test_placeholders_become_values() -> None:
    """A whole placeholder becomes the value, one inside text or with an index its text."""
    values = {"x": ["1", "2"], "y": 3}
    template = {"whole": "{x}", "index": "{x[1]}", "text": "a {y} {{b}}", "list": ["{y}", 4, None], "key": {"{x}": True}}
    assert fill(template, values) == {
        "whole": ["1", "2"],
        "index": "2",
        "text": "a 3 {b}",
        "list": [3, 4, None],
        "key": {"{x}": True},
    }


def test_index_beyond_the_end_raises() -> None:
    """An index beyond the list raises IndexError."""
    with pytest.raises(IndexError):
        fill(["{x[1]}"], {"x": ["1"]})
