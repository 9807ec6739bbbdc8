"""The trigger: waits for tasks on the event loop of a triggerer, and says how they ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from waiter import (
    ApiUnavailableError,
    AsyncWaiter,
    CreatedResources,
    Event,
    InvalidResponseError,
    Task,
    TaskError,
    TaskNotFoundError,
    WaiterError,
)
from waiter.events import LEVELS
from waiter.integrations.airflow.hook import shared_waiter

BATCH_SECONDS = 0.1  # for which entries of the log are collected
RETRYABLE = (ApiUnavailableError, InvalidResponseError)


class GcoreTaskTrigger(BaseTrigger):
    """Waits until the tasks have ended or ``deadline`` (seconds since the epoch, None for none) has passed.

    Always yields one event and never raises, because Airflow retries a task whose trigger has raised, and the retry may start
    billed work again. A cancelled trigger cancels nothing at Gcore: triggerers are restarted.
    """

    def __init__(self, task_ids: Sequence[str], gcore_conn_id: str, deadline: float | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.task_ids = task_ids
        self.gcore_conn_id = gcore_conn_id
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs; the key is not part of it."""
        arguments = {"task_ids": list(self.task_ids), "gcore_conn_id": self.gcore_conn_id, "deadline": self.deadline}
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the outcome of the wait, and write the log of it to the end."""
        writing: set[asyncio.Task[None]] = set()

        def write(event: Event) -> None:
            entry = partial(self.log.log, log_level(event), event.name, **log_fields(event))
            writing.add(run_in_batch(entry))

        try:
            async with shared_waiter(self.gcore_conn_id) as waiter:
                outcome = await wait(waiter, self.task_ids, self.deadline, write)
        except Exception as error:  # noqa: BLE001 - see the class
            message = f"{type(error).__name__}: {error}"
            outcome = {"error": message, "is_final": False, "has_ended": False, "created_resources": {}}
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call, unused-ignore]
        if writing:
            await asyncio.wait(writing)

    async def on_kill(self) -> None:
        """Log what continues when a person ends the task in Airflow."""
        await self.log.awarning("the tasks continue at Gcore", gcore_task_ids=list(self.task_ids))


_batches: dict[asyncio.AbstractEventLoop, tuple[list[Callable[[], object]], asyncio.Task[None]]] = {}
_log_thread = ThreadPoolExecutor(1, "gcore-log")  # one, so that entries keep their order


def run_in_batch(entry: Callable[[], object]) -> asyncio.Task[None]:
    """Run it in another thread, in the present context, because a log may block; return the task that does so.

    The entries of all triggers of an event loop are collected for a moment: a change of threads costs more than an entry.
    """
    loop = asyncio.get_running_loop()
    if loop not in _batches:
        entries: list[Callable[[], object]] = []
        _batches[loop] = entries, loop.create_task(_run_batch(entries), context=Context())
    entries, running = _batches[loop]
    entries.append(partial(copy_context().run, entry))
    return running


async def _run_batch(entries: list[Callable[[], object]]) -> None:
    loop = asyncio.get_running_loop()
    try:
        await asyncio.sleep(BATCH_SECONDS)
    finally:
        del _batches[loop]
    await loop.run_in_executor(_log_thread, _run_all, entries)


def _run_all(entries: list[Callable[[], object]]) -> None:
    for entry in entries:
        with suppress(Exception):
            entry()


def log_level(event: Event) -> int:
    """Return the level of an event by the numbers of the standard library."""
    return logging.getLevelNamesMapping()[LEVELS.get(event.name, "info").upper()]


def log_fields(event: Event) -> dict[str, Any]:
    """Return the fields of an event for Airflow's log, where ``task_id`` is the ID of a task in a DAG."""
    return {("gcore_task_id" if name == "task_id" else name): value for name, value in event.fields.items()}


async def wait(
    waiter: AsyncWaiter, task_ids: Sequence[str], deadline: float | None, on_event: Callable[[Event], object]
) -> dict[str, Any]:
    """Return the outcome of all waits.

    ``error`` is None when all are FINISHED. What ``is_final`` is not to be retried. ``has_ended``: no task is running.
    """
    timeout = None if deadline is None else max(0.0, deadline - time.time())
    ends = [_end_of(waiter.wait(task_id, timeout=timeout, on_event=on_event)) for task_id in task_ids]
    # Most triggers have one task, and an asyncio.Task for it would take 3 KB.
    results = [await ends[0]] if len(ends) == 1 else await asyncio.gather(*ends)
    errors = [result for result in results if isinstance(result, Exception)]
    for error in errors:
        if not isinstance(error, WaiterError):
            raise error
    created = [result.created_resources for result in results if isinstance(result, Task | TaskError)]
    return {
        "error": "; ".join(map(str, errors)) or None,
        "is_final": any(not isinstance(error, RETRYABLE) for error in errors),
        "has_ended": all(isinstance(result, Task | TaskError | TaskNotFoundError) for result in results),
        "created_resources": CreatedResources.merge(created).as_dict(),
    }


async def _end_of(wait: Awaitable[Task]) -> Task | Exception:
    try:
        return await wait
    except Exception as error:  # noqa: BLE001 - the caller decides
        return error
