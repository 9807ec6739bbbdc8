"""The stream of events: each subscriber has its own position and reads at its own speed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice

from waiter.sidecar.storage.event_log import StoredEvent, reset_event
from waiter.sidecar.storage.store import Store
from waiter.sidecar.storage.write_queue import WriteQueue

# Load balancers and browsers close a connection that is silent for 30 to 60 s.
HEARTBEAT = 15.0
EVENTS_IN_MEMORY = 500
EVENTS_PER_READ = 500


class EventStream:
    """All events that are on disk, the latest of them in memory; ``newest`` is the number of the last one."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.is_closed = False
        self._recent: deque[StoredEvent] = deque(maxlen=EVENTS_IN_MEMORY)
        self._changed = asyncio.Event()

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Add events that were just written, and wake all waiting coroutines, even when there are none."""
        self._recent.extend(events)
        self.newest = events[-1].id if events else self.newest
        self.wake_all()

    def close(self) -> None:
        """End all subscriptions and all calls of ``wait_until``."""
        self.is_closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Wake all subscriptions and calls of ``wait_until``, which check their conditions."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Return when the condition holds, after so many seconds, or when the sidecar stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition() and not self.is_closed:
                    await self._changed.wait()

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
                has_news = lambda: self.newest > position or is_over()  # noqa: B023, E731 - awaited before it changes
                await self.wait_until(has_news, HEARTBEAT)
                position, frames = await self._read_after(write_queue, position)
            yield frames or b":\n\n"

    async def _read_after(self, write_queue: WriteQueue, position: int) -> tuple[int, bytes]:
        if position == self.newest:
            return position, b""
        if self._recent and self._recent[0].id - 1 <= position < self.newest:
            events = list(islice(self._recent, position - self._recent[0].id + 1, None))
        else:
            events = await write_queue.query(lambda store: _read_stored(store, position))
        return (events[-1].id if events else position), b"".join(map(_frame, events))


def _read_stored(store: Store, position: int) -> list[StoredEvent]:
    last_deleted, newest = store.bounds()
    if last_deleted <= position <= newest:
        return store.events_after(position, EVENTS_PER_READ)
    # Its number is one less than that of the next event, so that the numbers of the stream still count up by one.
    return [reset_event(last_deleted, position), *store.events_after(last_deleted, EVENTS_PER_READ)]


@lru_cache(maxsize=EVENTS_IN_MEMORY)
def _frame(event: StoredEvent) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.name.encode(), event.data)
