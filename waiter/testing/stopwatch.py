"""The time of the simulation: what passes, and what the server's own clock shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypedDict


class Clocks(TypedDict, total=False):
    """What a `Stopwatch` takes."""

    clock: Callable[[], float] | None
    sleep: Callable[[float], None] | None
    async_sleep: Callable[[float], Awaitable[None]] | None
    start: datetime | None
    skew: float
    notation: str


class Stopwatch:
    """Seconds since the cloud was made, by any clock, and the server's wall clock beside them.

    The wall clock shows `start` (by default the time it is), `skew` seconds off, and goes on as
    `clock` does; `notation` (strftime) is how it is written. `sleep` and `async_sleep` let time
    pass by that clock. By default all three are real, and looked up when they are called, so
    that they may be frozen.
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
        self.async_sleep = async_sleep or (self._async_sleep if sleep else asyncio.sleep)
        self._notation = notation
        self._wall = (start or datetime.now(UTC)) + timedelta(seconds=skew)
        if self._wall.tzinfo is None:
            self._wall = self._wall.replace(tzinfo=UTC)
        self._began = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start, to the microsecond: clocks with large values round."""
        return round(self.clock() - self._began, 6)

    def wall(self, at: float) -> datetime:
        """The server's time `at` seconds, as exact as its notation."""
        moment = self._wall + timedelta(seconds=at)
        return moment if "%f" in self._notation else moment.replace(microsecond=0)

    def stamp(self, at: float) -> str:
        """The server's time `at` seconds, as its answers show it."""
        return self.wall(at).strftime(self._notation)

    def date(self, at: float) -> str:
        """The server's time `at` seconds, as the header `Date` shows it."""
        return format_datetime(self.wall(at), usegmt=True)

    async def _async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)
