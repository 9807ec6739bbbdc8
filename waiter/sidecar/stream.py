"""The stream of events: everybody who listens has a place in it of their own, and reads on from there at their own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice

import msgspec

from waiter.sidecar.journal import Journal
from waiter.sidecar.store import Store, StoredEvent

# Balancers and browsers take a silent connection for a dead one after 30 to 60 s.
HEARTBEAT = 15.0
HELD_IN_MEMORY = 500
READ_AT_ONCE = 500


class Stream:
    """What has happened, for those who want to hear of it; only what is on disk has happened."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self._recent: deque[StoredEvent] = deque(maxlen=HELD_IN_MEMORY)
        self._news = asyncio.Event()
        self.closed = False

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Tell events that have just been written, and wake those who wait for something, even without any."""
        self._recent.extend(events)
        self.newest = events[-1].id if events else self.newest
        self._wake()

    def close(self) -> None:
        """Let everybody go who listens or waits."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def until(self, is_true: Callable[[], bool], seconds: float) -> None:
        """Return once something is true, after so many seconds, or when the sidecar stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not is_true() and not self.closed:
                    await self._news.wait()

    async def listen(self, journal: Journal, last: int | None) -> AsyncIterator[bytes]:
        """Give everything after an event, or from now on, as server-sent events, until the sidecar stops.

        What is not kept any more is replaced by one ``stream.reset``, and the stream goes on with the oldest event that is.
        """
        place = self.newest if last is None else last
        yield b"retry: 1000\n\n"
        while not self.closed:
            place, frames = await self._after(journal, place)
            if not frames:
                await self.until(lambda: self.newest > place, HEARTBEAT)  # noqa: B023 - awaited before it changes
                place, frames = await self._after(journal, place)
            yield frames or b":\n\n"

    async def _after(self, journal: Journal, place: int) -> tuple[int, bytes]:
        if place == self.newest:
            return place, b""
        if self._recent and self._recent[0].id - 1 <= place < self.newest:
            events = list(islice(self._recent, place - self._recent[0].id + 1, None))
        else:
            events = await journal.ask(lambda store: _read(store, place))
        return (events[-1].id if events else place), b"".join(map(_frame, events))


def _read(store: Store, place: int) -> list[StoredEvent]:
    forgotten, newest = store.bounds()
    if forgotten <= place <= newest:
        return store.events_after(place, READ_AT_ONCE)
    # Its number is one less than that of the next event, so that the numbers go on counting by one.
    reset = StoredEvent(forgotten, "stream.reset", msgspec.json.encode({"last_event_id": place}))
    return [reset, *store.events_after(forgotten, READ_AT_ONCE)]


@lru_cache(maxsize=HELD_IN_MEMORY)
def _frame(event: StoredEvent) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.name.encode(), event.data)
