"""Several waits: awaited side by side, and for blocking callers on an event loop in a background thread."""

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

from waiter.batch.slices import in_slices
from waiter.errors import WaiterError
from waiter.outcome import Outcome
from waiter.task import Task

T = TypeVar("T")
Wait = Callable[[str], Coroutine[Any, Any, Task]]
# Turns of the event loop in which a coroutine that was woken comes to its next sleep.
_TURNS = 20


async def outcomes_as_completed(wait: Wait, task_ids: Iterable[str]) -> AsyncGenerator[list[Outcome], None]:
    """Start all waits together and yield the outcomes of those that have ended, as soon as some have.

    Closing the generator cancels the waits that are still running.
    """
    ended: list[asyncio.Task[Task]] = []
    some_ended = asyncio.Event()

    def record_end(wait: asyncio.Task[Task]) -> None:
        ended.append(wait)
        some_ended.set()

    # Each callback would keep a copy of the current context otherwise.
    empty_context = Context()
    running: dict[asyncio.Task[Task], str] = {}
    try:
        async for task_id in in_slices(task_ids):
            one = asyncio.create_task(wait(task_id), name=task_id)
            one.add_done_callback(record_end, context=empty_context)
            running[one] = task_id
        while running:
            await some_ended.wait()
            some_ended.clear()
            # Waits that end while the caller handles this batch belong to the next.
            batch, ended[:] = ended.copy(), []
            yield [_outcome(running.pop(one), one) for one in batch]
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _outcome(task_id: str, wait: asyncio.Task[Task]) -> Outcome:
    try:
        return Outcome(task_id, task=wait.result())
    except WaiterError as error:
        return Outcome(task_id, error=error)
    except Exception as error:  # noqa: BLE001 - from a callable of the user; it must not hide the outcomes of the others
        wrapped = WaiterError(f"the wait ended with {type(error).__name__}: {error} ({task_id})")
        wrapped.__cause__ = error
        return Outcome(task_id, error=wrapped)


def iterate_in_background(start: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
    """Run an asynchronous generator on an event loop in another thread, and yield its items in this one.

    It works where an event loop is already running, as in a notebook. Ctrl-C, or closing the generator, cancels the other one.
    """
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - slow to load, and unused by awaited waits

    items: SimpleQueue[T | None] = SimpleQueue()

    async def pump() -> None:
        async with aclosing(start()) as generator:
            async for item in generator:
                items.put(item)

    with start_blocking_portal() as portal:
        pumping = portal.start_task_soon(pump)
        pumping.add_done_callback(lambda _: items.put(None))
        try:
            while (item := items.get()) is not None:
                yield item
            pumping.result()
        finally:
            pumping.cancel()


async def run_in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - the arguments of the call
    """Run a blocking call in a thread; cancellation does not wait for its end."""
    from anyio import to_thread  # noqa: PLC0415 - see above

    return await to_thread.run_sync(partial(call, *args, **kwargs), abandon_on_cancel=True)


async def run_inline(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - like run_in_thread
    """Run a call that does not really block, because its time is virtual."""
    return call(*args, **kwargs)


class SharedSleep:
    """One blocking ``sleep`` for many coroutines, called for the one that is due first. For tests."""

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
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            due, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                try:
                    self._sleep(max(0.0, due - self._clock()))
                except Exception as error:  # noqa: BLE001 - it is the sleeper's, and the others still have to sleep
                    woken.set_exception(error)
                else:
                    woken.set_result(None)
