"""Durations in requests: the patterns that the OpenAPI description has too, and their values."""

from __future__ import annotations

import re
from math import inf

from waiter.console.formatting import parse_duration

_NUMBER = r"[0-9]{1,9}([.][0-9]{1,9})?"
_DURATION = rf"({_NUMBER}d)?({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s?)?"
LONG_POLL = rf"^(none|(?=[0-9]){_DURATION})$"
LIMIT = rf"^(?=[0-9.dhm]*[1-9]){_DURATION}$"
# The largest number of seconds; the pattern limits texts to less.
MAX_LIMIT = 1e14


def read_long_poll(text: str) -> float:
    """Return the seconds of a long poll, infinity for ``none``. Raises ValueError."""
    if not re.fullmatch(LONG_POLL, text):
        message = f"not a duration: {text!r} (write 90, 90s, 30m, 1h30m or none)"
        raise ValueError(message)
    return parse_duration(text)


def read_limit(value: object) -> float:
    """Return the seconds of a limit, a number or a text. Raises ValueError."""
    seconds = inf
    if isinstance(value, str) and re.fullmatch(LIMIT, value):
        seconds = parse_duration(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value  # an integer of any size
    if not 0 < seconds <= MAX_LIMIT:
        message = f"not a positive duration: {value!r}"
        raise ValueError(message)
    return float(seconds)
