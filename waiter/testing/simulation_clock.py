"""The time of the simulation: the seconds that pass, and what the server's wall clock shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypedDict


class ClockOptions(TypedDict, total=False):
    """The arguments of `SimulationClock`."""

    clock: Callable[[], float] | None
    sleep: Callable[[float], None] | None
    async_sleep: Callable[[float], Awaitable[None]] | None
    start: datetime | None
    skew: float
    notation: str


class SimulationClock:
    """Seconds since its creation by any monotonic clock, with the server's wall clock beside them.

    The wall clock begins at `start` (the current time by default) plus `skew` seconds and
    advances as `clock` does; `notation` (strftime) is the format of its times. `sleep` and
    `async_sleep` let time pass by `clock`. All three are real by default, and are looked up when
    they are called, so that freezegun and monkeypatch can replace them.
    """

    def __init__(  # noqa: PLR0913 - options, all by name
        self,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
        async_sleep: Callable[[float], Awaitable[None]] | None = None,
        start: datetime | None = None,
        skew: float = 0.0,
        notation: str = "%Y-%m-%dT%H:%M:%S",
    ) -> None:
        self.clock = clock or (lambda: time.monotonic())  # noqa: PLW0108 - see above
        self.sleep = sleep or (lambda seconds: time.sleep(seconds))  # noqa: PLW0108 - see above
        self.async_sleep = async_sleep or (self._sleep_in_loop if sleep else asyncio.sleep)
        self._notation = notation
        self._wall_start = (start or datetime.now(UTC)) + timedelta(seconds=skew)
        if self._wall_start.tzinfo is None:
            self._wall_start = self._wall_start.replace(tzinfo=UTC)
        self._clock_start = self.clock()

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start, rounded to microseconds: large clock values are inexact."""
        return round(self.clock() - self._clock_start, 6)

    def wall_time(self, elapsed: float) -> datetime:
        """Return the server's time at `elapsed` seconds, as exact as its notation."""
        moment = self._wall_start + timedelta(seconds=elapsed)
        return moment if "%f" in self._notation else moment.replace(microsecond=0)

    def timestamp(self, elapsed: float) -> str:
        """Return the server's time at `elapsed` seconds as tasks show it."""
        return self.wall_time(elapsed).strftime(self._notation)

    def http_date(self, elapsed: float) -> str:
        """Return the server's time at `elapsed` seconds as the header `Date` shows it."""
        return format_datetime(self.wall_time(elapsed), usegmt=True)

    async def _sleep_in_loop(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)
