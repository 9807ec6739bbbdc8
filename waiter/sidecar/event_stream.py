"""The stream of events: each subscriber has its own position and reads at its own speed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from itertools import islice
from math import inf

from waiter.sidecar.storage.event_log import StoredEvent, reset_event
from waiter.sidecar.storage.store import Store
from waiter.sidecar.storage.write_queue import WriteQueue

# Load balancers and browsers close a connection that is silent for 30 to 60 s.
HEARTBEAT = 15.0
EVENTS_IN_MEMORY = 500
EVENTS_PER_READ = 500
# Seconds between two messages to the subscribers. A message to 100 of them takes 10 ms, and each request causes several events.
MIN_INTERVAL = 0.05


class EventStream:
    """All events that are on disk, the latest of them in memory; ``newest`` is the number of the last one.

    Subscribers are sent an event immediately, or together with those that follow within ``MIN_INTERVAL``.
    """

    def __init__(self, newest: int) -> None:
        self.newest = self._announced = newest
        self.is_closed = False
        self._recent: deque[StoredEvent] = deque(maxlen=EVENTS_IN_MEMORY)
        # The frames after an event, by its number: most subscribers have read the same ones.
        self._frames: dict[int, bytes] = {}
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._next_announcement = -inf
        self._announcement: asyncio.TimerHandle | None = None

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Add events that were just written, and resume what waits for them, even when there are none."""
        self._recent.extend(events)
        self._frames.clear()
        self.newest = events[-1].id if events else self.newest
        if self._announcement is None and self.newest > self._announced:
            loop = asyncio.get_running_loop()
            if loop.time() < self._next_announcement:
                self._announcement = loop.call_at(self._next_announcement, self._announce)
            else:
                self._announce()
                return
        self.wake()

    def _announce(self) -> None:
        self._announcement = None
        self._next_announcement = asyncio.get_running_loop().time() + MIN_INTERVAL
        self._announced = self.newest
        self.wake()

    def close(self) -> None:
        """End all subscriptions and all calls of ``wait_until``."""
        self.is_closed = True
        if self._announcement is not None:
            self._announcement.cancel()
        self.wake()

    def wake(self) -> None:
        """Resume the subscriptions and calls of ``wait_until`` whose conditions hold; the others are not run."""
        for waiting, condition in self._waiting.items():
            if not waiting.done() and (self.is_closed or condition()):
                waiting.set_result(None)

    async def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Return when the condition holds, after so many seconds, or when the sidecar stops."""
        if condition() or self.is_closed:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = condition
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiting
        finally:
            del self._waiting[waiting]

    async def subscribe(
        self, write_queue: WriteQueue, last: int | None, *, is_over: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[bytes]:
        """Yield the events after number ``last`` (None: only new ones) as server-sent events, until ``is_over``.

        The stream also ends with the sidecar. Events that are no longer stored are replaced by one ``stream.reset``; the stream
        continues with the oldest stored one.
        """
        position = self.newest if last is None else last
        yield b"retry: 1000\n\n"
        while not self.is_closed and not is_over():
            position, frames = await self._read_after(write_queue, position)
            if not frames:
                has_news = lambda: self._announced > position or is_over()  # noqa: B023, E731 - awaited before it changes
                await self.wait_until(has_news, HEARTBEAT)
                position, frames = await self._read_after(write_queue, position)
            yield frames or b":\n\n"

    async def _read_after(self, write_queue: WriteQueue, position: int) -> tuple[int, bytes]:
        if position == self.newest:
            return position, b""
        if self._recent and self._recent[0].id - 1 <= position < self.newest:
            if position not in self._frames:
                self._frames[position] = b"".join(map(_frame, islice(self._recent, position - self._recent[0].id + 1, None)))
            return self.newest, self._frames[position]
        events = await write_queue.query(lambda store: _read_stored(store, position))
        return (events[-1].id if events else position), b"".join(map(_frame, events))


def _read_stored(store: Store, position: int) -> list[StoredEvent]:
    last_deleted, newest = store.bounds()
    if last_deleted <= position <= newest:
        return store.events_after(position, EVENTS_PER_READ)
    # Its number is one less than that of the next event, so that the numbers of the stream still count up by one.
    return [reset_event(last_deleted, position), *store.events_after(last_deleted, EVENTS_PER_READ)]


def _frame(event: StoredEvent) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.name.encode(), event.data)
