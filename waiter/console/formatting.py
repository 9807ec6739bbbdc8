"""Escape foreign text for display; parse and format durations and numbers."""

from __future__ import annotations

import re
from math import inf, isfinite, nan

_UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
# It shows the character before it as an emoji, which takes two columns: https://unicode.org/reports/tr51/
_EMOJI_SELECTOR = "\ufe0f"
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)


def printable(text: object) -> str:
    r"""Return foreign text with control characters escaped, so that it cannot act on a terminal: ``\x1b`` is 4 characters."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(text))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def display_width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes: wide characters and emoji two, marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - only needed for text that is not ASCII

    columns = last = 0
    for char in text:
        if char == _EMOJI_SELECTOR:
            columns, last = columns + (last == 1), 2
        # The vowels and final consonants of Hangul syllables that are written as several characters take no column either.
        elif category(char) not in {"Mn", "Me"} and not "\u1160" <= char <= "\u11ff":
            last = 2 if east_asian_width(char) in {"W", "F"} else 1
            columns += last
    return columns


def with_short_ids(text: str) -> str:
    """Return the text with the first eight digits of each UUID in it."""
    return _UUID.sub(r"\1", text)


def fit(text: str, width: int, more: str) -> str:
    """Return as much of the text as fits into the columns, with ``more`` at the end if something is cut."""
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return text + more


def parse_duration(text: str) -> float:
    """Return the seconds in ``90``, ``90s``, ``30m`` or ``1h30m``, infinity for ``none``; raises ValueError."""
    if text == "none":
        return float("inf")
    found = _DURATION.fullmatch(text)
    if not text or not found:
        message = f"not a duration: {text!r} (write 90, 90s, 30m, 1h30m or none)"
        raise ValueError(message)
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    return sum(float(part) * unit for part, unit in parts if part)


def parse_interval(text: str) -> float:
    """Return the seconds in a duration that is positive and finite; raises ValueError."""
    seconds = parse_duration(text) if text != "none" else nan
    if 0 < seconds < inf:
        return seconds
    message = f"not an interval: {text!r} (write 5, 0.5, 5s or 1m30s)"
    raise ValueError(message)


def parse_name(text: str) -> str:
    """Return a name, which is ASCII and not blank; raises ValueError."""
    if text.strip() and text.isascii():
        return text
    message = f"not a name: {text!r}"
    raise ValueError(message)


def parse_id(text: str) -> int:
    """Return the ID of a project or a region, a number; raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) < len(str(2**63)):
        return int(text)
    message = f"not an ID: {text!r} (a number)"
    raise ValueError(message)


def parse_number(text: str) -> float:
    """Return a positive number, such as ``0.5``; raises ValueError."""
    number = _number(text)
    if number > 0:
        return number
    message = f"not a number above 0: {text!r}"
    raise ValueError(message)


def parse_share(text: str) -> float:
    """Return a number from 0 to 1; raises ValueError."""
    number = _number(text)
    if 0 <= number <= 1:
        return number
    message = f"not a number from 0 to 1: {text!r}"
    raise ValueError(message)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return nan
    return number if isfinite(number) else nan


def format_duration(seconds: float) -> str:
    """Format seconds as ``8s``, ``2m05s``, ``1h05m`` or, from two days on, ``3d04h``.

    >>> format_duration(125), format_duration(3900), format_duration(273_600)
    ('2m05s', '1h05m', '3d04h')
    """
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes}m{rest:02}s"
    hours = minutes // 60
    if hours < 48:  # noqa: PLR2004 - hours of two days
        return f"{hours}h{minutes % 60:02}m"
    return f"{hours // 24}d{hours % 24:02}h"
