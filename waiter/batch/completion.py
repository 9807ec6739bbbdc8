"""Several waits at once: awaited side by side, and for blocking callers on an event loop of their own in the background."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextlib import aclosing
from contextvars import Context
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import Any, TypeVar

from waiter.batch.listing_poller import AT_ONCE
from waiter.errors import WaiterError
from waiter.outcome import Outcome
from waiter.task import Task

T = TypeVar("T")
Wait = Callable[[str], Coroutine[Any, Any, Task]]
# Whoever was woken takes a few turns of the loop until it sleeps again.
TURNS = 20


async def in_order_of_ending(wait: Wait, task_ids: Iterable[str]) -> AsyncGenerator[list[Outcome], None]:
    """Wait for all of them at once, and give those that ended, as soon as some have.

    Whoever stops listening ends the waits that go on.
    """
    ended: list[asyncio.Task[Task]] = []
    some_ended = asyncio.Event()

    def note(wait: asyncio.Task[Task]) -> None:
        ended.append(wait)
        some_ended.set()

    nowhere = Context()
    going: dict[asyncio.Task[Task], str] = {}
    try:
        for number, task_id in enumerate(task_ids, start=1):
            one = asyncio.create_task(wait(task_id), name=task_id)
            one.add_done_callback(note, context=nowhere)
            going[one] = task_id
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        while going:
            await some_ended.wait()
            some_ended.clear()
            # More of them end while whoever listens is busy: those are of the next batch.
            batch, ended[:] = ended.copy(), []
            yield [_outcome(going.pop(one), one) for one in batch]
    finally:
        for one in going:
            one.cancel()
        await asyncio.gather(*going, return_exceptions=True)


def _outcome(task_id: str, wait: asyncio.Task[Task]) -> Outcome:
    try:
        return Outcome(task_id, task=wait.result())
    except WaiterError as error:
        return Outcome(task_id, error=error)


def in_background(start: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
    """Run an asynchronous iterator on an event loop in another thread, and give what it gives in this one.

    It works where an event loop runs already, as in a notebook. Ctrl-C, or closing the iterator, ends what runs there.
    """
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - whoever has an event loop does without

    arrived: SimpleQueue[T | None] = SimpleQueue()

    async def pump() -> None:
        async with aclosing(start()) as items:
            async for item in items:
                arrived.put(item)

    with start_blocking_portal() as portal:
        pumping = portal.start_task_soon(pump)
        pumping.add_done_callback(lambda _: arrived.put(None))
        try:
            while (item := arrived.get()) is not None:
                yield item
            pumping.result()
        finally:
            pumping.cancel()


async def run_in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - whatever the call takes
    """Await a blocking call; who is cancelled does not wait for its end."""
    from anyio import to_thread  # noqa: PLC0415 - see above

    return await to_thread.run_sync(partial(call, *args, **kwargs), abandon_on_cancel=True)


async def run_inline(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - like in_thread
    """Make a blocking call that does not really block: one whose time is virtual."""
    return call(*args, **kwargs)


class SharedSleep:
    """Lets many coroutines sleep on one blocking ``sleep``, which is called for whoever is due first. It is meant for tests."""

    def __init__(self, sleep: Callable[[float], object], clock: Callable[[], float]) -> None:
        self._sleep = sleep
        self._clock = clock
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, seconds: float) -> None:
        """Sleep so many seconds of the clock."""
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._clock() + seconds, next(self._order), woken))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        await woken

    async def _run(self) -> None:
        while self._sleepers:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            due, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._sleep(max(0.0, due - self._clock()))
                woken.set_result(None)
