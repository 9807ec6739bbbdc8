"""Durations in seconds that several packages share."""

from __future__ import annotations

from typing import Final

EPSILON: Final = 0.001
"""A time left that is shorter counts as none: a pause that a frozen clock rounds to nothing would repeat without end."""
FINAL_REQUEST_TIMEOUT: Final = 5.0
"""How long the final poll may take, which is sent when no time is left."""
MAX_SLEEP: Final = 86_400.0
"""The longest single sleep: no clock can sleep for an infinite time."""
