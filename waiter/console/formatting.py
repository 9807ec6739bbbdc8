"""Text that is fit to be shown: foreign text made harmless, times and numbers read and written as people write them."""

from __future__ import annotations

import re
from math import inf, isfinite, nan

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)


def safe(text: object) -> str:
    r"""Show foreign text without letting it act on a terminal or break a line: ``\x1b`` becomes four characters."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(text))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def plain(text: object) -> str:
    """Show foreign text in characters that are one column wide on every terminal."""
    return safe(text).encode("ascii", "backslashreplace").decode()


def read_duration(text: str) -> float:
    """Read ``90``, ``90s``, ``30m`` or ``1h30m`` as seconds, and ``none`` as for ever; raises ValueError."""
    if text == "none":
        return float("inf")
    found = _DURATION.fullmatch(text)
    if not text or not found:
        message = f"not a duration: {safe(text)!r} (write 90, 90s, 30m, 1h30m or none)"
        raise ValueError(message)
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    return sum(float(part) * unit for part, unit in parts if part)


def read_interval(text: str) -> float:
    """Read a duration above 0 and not for ever, as seconds; raises ValueError."""
    seconds = read_duration(text) if text != "none" else nan
    if 0 < seconds < inf:
        return seconds
    message = f"not an interval: {text!r} (write 5, 0.5, 5s or 1m30s)"
    raise ValueError(message)


def read_name(text: str) -> str:
    """Read what is neither empty nor unreadable; raises ValueError."""
    if text.strip() and text.isascii():
        return text
    message = f"not a name: {text!r}"
    raise ValueError(message)


def read_number(text: str) -> float:
    """Read a number above 0, such as ``0.5``; raises ValueError."""
    number = _number(text)
    if number > 0:
        return number
    message = f"not a number above 0: {safe(text)!r}"
    raise ValueError(message)


def read_share(text: str) -> float:
    """Read a number from 0 to 1; raises ValueError."""
    number = _number(text)
    if 0 <= number <= 1:
        return number
    message = f"not a number from 0 to 1: {safe(text)!r}"
    raise ValueError(message)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return nan
    return number if isfinite(number) else nan


def duration(seconds: float) -> str:
    """Write seconds as people do: ``8s``, ``2m05s``, ``1h05m``.

    >>> duration(125), duration(3900)
    ('2m05s', '1h05m')
    """
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"
