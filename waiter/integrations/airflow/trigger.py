"""The trigger: waits for tasks on the event loop of a triggerer, and says how they ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
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
        """Yield the outcome of the wait."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        writing = asyncio.create_task(self._write(events))
        try:
            async with shared_waiter(self.gcore_conn_id) as waiter:
                outcome = await wait(waiter, self.task_ids, self.deadline, events.put_nowait)
        except Exception as error:  # noqa: BLE001 - see the class
            message = f"{type(error).__name__}: {error}"
            outcome = {"error": message, "is_final": False, "has_ended": False, "created_resources": {}}
        finally:
            events.put_nowait(None)
        await asyncio.gather(writing, return_exceptions=True)
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call, unused-ignore]

    async def _write(self, events: asyncio.Queue[Event | None]) -> None:
        """Log the events in another thread, because the log may block; those that come together in one go."""
        batch: list[Event | None] = []
        while None not in batch:
            batch = [await events.get()]
            while not events.empty():
                batch.append(events.get_nowait())
            await asyncio.to_thread(self._write_batch, [event for event in batch if event])

    def _write_batch(self, events: list[Event]) -> None:
        for event in events:
            self.log.log(log_level(event), event.name, **log_fields(event))

    async def on_kill(self) -> None:
        """Log what continues when a person ends the task in Airflow."""
        await self.log.awarning("the tasks continue at Gcore", gcore_task_ids=list(self.task_ids))


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
    waits = (waiter.wait(task_id, timeout=timeout, on_event=on_event) for task_id in task_ids)
    results = await asyncio.gather(*waits, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
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
