"""How long earlier tasks of one type took."""

import math
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

HISTORY_SIZE: Final = 100
"""Only this many of the newest durations are kept."""


class History(msgspec.Struct, frozen=True):
    """Past tasks of one type: durations in seconds, newest first, and the ages of tasks that are still running.

    Values that are negative, infinite or not a number are dropped, as is everything after the first 100 of each.
    """

    durations: Sequence[float] = ()
    running: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Drop what cannot be a duration, and what is too old to matter."""
        for name in self.__struct_fields__:
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
