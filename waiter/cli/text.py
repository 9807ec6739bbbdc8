"""Text that is fit to be shown: foreign text made harmless, times written for people."""

from __future__ import annotations

import re

from waiter.errors import AuthenticationError, ConfigurationError, WaiterError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


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


# Seen in the wild: the API says "Bad permanent token" of one half of a token.
_EATEN = "a key with a $ in it must stand in single quotes, or the shell eats part of it"
# The library's messages name what its callers write; who uses the command writes something else.
_OPTIONS = {"or pass api_key": "or use --api-key-file", "allow_http=True": "--allow-http"}


def explain(error: WaiterError) -> str:
    """Say in the words of the command what went wrong, with the notes that the error carries."""
    said = "; ".join(error.problems) if isinstance(error, ConfigurationError) else str(error)
    for theirs, ours in _OPTIONS.items():
        said = said.replace(theirs, ours)
    hints = [_EATEN] if isinstance(error, AuthenticationError) else []
    return safe("; ".join([said, *hints, *getattr(error, "__notes__", [])]))
