"""The delay before the next poll after failed ones, and by a wait strategy of the user's own."""

import random
from typing import SupportsFloat

from waiter.errors import ConfigurationError


def backoff(failures: int) -> float:
    """Return the seconds to wait after so many failed polls in a row: 0.5, doubling to 15, with a jitter of a quarter.

    The documentation of the API advises 1 to 5 s after a 500.
    """
    delay = min(0.5 * 2.0 ** min(max(failures - 1, 0), 5), 15.0)
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def strategy_delay(value: object) -> float:
    """Return what a tenacity wait strategy gave, in seconds. Raises ConfigurationError unless it is 0 or more."""
    if isinstance(value, SupportsFloat):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = -1.0
        if seconds >= 0:
            return seconds
    message = f"wait: the strategy must give seconds, 0 or more, not {_shown(value)}"
    raise ConfigurationError(message)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of more than 4,300 digits
        return "an integer that is too large"
