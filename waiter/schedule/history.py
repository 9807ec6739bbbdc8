"""How long earlier tasks of one type took."""

import math
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

HISTORY_SIZE: Final = 100
"""Only this many of the newest durations are kept."""


class History(msgspec.Struct, frozen=True):
    """What is known of the tasks of one type; times are seconds.

    ``durations`` are those of past tasks, newest first; ``running`` the ages of tasks that are still running; ``errors`` those
    of the durations that ended in ERROR; ``usual`` the range within which most tasks of this type end according to the
    documentation, None if it says nothing.

    Values that are negative, infinite or not a number are dropped, as is everything after the first 100 of each.
    """

    durations: Sequence[float] = ()
    running: Sequence[float] = ()
    errors: Sequence[float] = ()
    usual: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Drop what cannot be a duration, and what is too old to matter."""
        for name in ("durations", "running", "errors"):
            usable = (float(value) for value in getattr(self, name) if 0 <= value <= sys.float_info.max)
            msgspec.structs.force_setattr(self, name, tuple(usable)[:HISTORY_SIZE])

    @property
    def count(self) -> int:
        """Return the number of past durations."""
        return len(self.durations)

    @property
    def p10(self) -> float | None:
        """Return the duration that one task in ten did not exceed; None without durations."""
        return self.quantile(0.1)

    @property
    def median(self) -> float | None:
        """Return the duration that half of the tasks did not exceed; None without durations."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float | None:
        """Return the duration that nine tasks in ten did not exceed; None without durations."""
        return self.quantile(0.9)

    def quantile(self, share: float) -> float | None:
        """Return the duration that this share (0 to 1) of the tasks did not exceed, interpolated; None without durations."""
        if not self.durations:
            return None
        ranked = sorted(self.durations)
        rank = share * (len(ranked) - 1)
        return ranked[int(rank)] + (ranked[math.ceil(rank)] - ranked[int(rank)]) * (rank % 1)
