"""Durations, and foreign text for display."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.console.formatting import display_width, fit, format_duration, parse_duration, parse_id, printable, with_short_ids


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5s", 1.5),
        ("30m", 1800),
        ("1h30m", 5400),
        ("2h", 7200),
        ("1h1m1s", 3661),
        ("3d04h", 273_600),
        ("0", 0),
    ],
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    """The unit may be omitted for seconds."""
    assert parse_duration(text) == seconds


def test_none_is_infinite() -> None:
    """``none`` disables a limit."""
    assert parse_duration("none") == float("inf")


@pytest.mark.parametrize("text", ["", "3 parsecs", "-1", "1s1h", "h", "m30", "1e3", "\x1b[2J"])
def test_invalid_durations_are_refused(text: str) -> None:
    """The message shows the text, with control characters escaped once, and the accepted forms."""
    with pytest.raises(ValueError, match=rf"^not a duration: {re.escape(repr(text))} \(write 90, 90s, 30m, 1h30m or none\)$"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10_000_000))
def test_formatted_durations_can_be_parsed(seconds: int) -> None:
    """The result differs by less than the unit that the text omits."""
    unit = 3600 if seconds >= 172_740 else 60 if seconds >= 3600 else 0
    assert abs(parse_duration(format_duration(seconds)) - seconds) <= unit


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "\u0661", "9" * 19])
def test_ids_are_numbers(text: str) -> None:
    """A project and a region are numbers of at most 64 bits."""
    with pytest.raises(ValueError, match="not an ID"):
        parse_id(text)
    assert parse_id("0123") == 123


def test_long_ids_are_shortened() -> None:
    """Only UUIDs are."""
    assert with_short_ids("volume 726ecfcc-7fd0-4e30-a86e-7892524aa483, cluster a-b") == "volume 726ecfcc, cluster a-b"


@given(st.text())
def test_foreign_text_becomes_printable(text: str) -> None:
    """Any text becomes one line of printable characters, which can be cut to a width."""
    assert printable(text).isprintable()
    assert display_width(fit(printable(text), 10, "~")) <= 10


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("\u0e19\u0e49\u0e33", 2),
        ("\u0928\u0941", 1),
        ("\u1112\u1161\u11ab", 2),
        ("\U0001f680", 2),
        ("\u2764\ufe0f", 2),
        ("\u2614\ufe0f", 2),
        ("1\ufe0f\u20e3", 2),
        ("\ufe0fa", 1),
        ("\U0001f1e9\U0001f1ea", 2),
    ],
    ids=["thai", "devanagari", "jamo", "emoji", "heart", "umbrella", "keycap", "selector", "flag"],
)
def test_marks_take_no_column_and_emoji_two(text: str, columns: int) -> None:
    """As terminals show them, so that the columns of a table line up."""
    assert display_width(text) == columns


def test_width_of_wide_and_combining_characters() -> None:
    """A CJK character takes two columns, a combining accent none; no half of a wide character is left."""
    assert [display_width(text) for text in ("abc", "\u4efb\u52a1", "e\u0301")] == [3, 4, 1]
    assert [fit("\u4efb\u52a1\u4efb", width, "~") for width in (6, 5, 4, 1)] == [
        "\u4efb\u52a1\u4efb",
        "\u4efb\u52a1~",
        "\u4efb~",
        "~",
    ]
