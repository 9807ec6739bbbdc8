"""Wait for tasks in Temporal workflows: one activity for each task, which another worker takes over when its own is lost.

In a workflow::

    created = await wait_for_task(answer, timeout=timedelta(hours=1))

On a worker, where the API key stays::

    async with GcoreActivities() as gcore, Worker(client, task_queue="deploy", workflows=[...], activities=[gcore.wait]):
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, Unpack

try:
    from temporalio import activity, workflow
    from temporalio.common import RetryPolicy
    from temporalio.exceptions import ApplicationError
except ImportError as error:
    message = "waiter.integrations.temporal needs Temporal's SDK: pip install 'gcore-waiter[temporal]'"
    raise ImportError(message) from error

with workflow.unsafe.imports_passed_through():  # the sandbox of a workflow would import all of it again for each run
    from waiter.aio import AsyncWaiter
    from waiter.config.task_ids import TaskRef, task_ids
    from waiter.errors import ApiUnavailableError, InvalidResponseError, ResourceError, TaskError, WaiterError
    from waiter.task import CreatedResources

if TYPE_CHECKING:
    from waiter.config.options import Options
    from waiter.events import Event
    from waiter.task import Task

ACTIVITY = "gcore.wait"
# The wait ends this long before Temporal's time-out, so that its last poll and its own error are not cut off.
MARGIN = timedelta(seconds=30)
_HEARTBEATS = 3  # for each heartbeat time-out
_RETRYABLE = (ApiUnavailableError, InvalidResponseError)


async def wait_for_task(
    ref: TaskRef,
    *,
    timeout: timedelta = timedelta(hours=2),  # noqa: ASYNC109 - Temporal's own time-outs are arguments too
    heartbeat_timeout: timedelta = timedelta(seconds=30),
    task_queue: str | None = None,
) -> dict[str, list[str | int]]:
    """Return the IDs of what a task created, in a workflow: ``{"instances": [...]}``; several tasks are awaited together.

    A worker that stops to send heartbeats is replaced after ``heartbeat_timeout``. ``timeout`` bounds all attempts together.

    Raises ActivityError whose cause is an ApplicationError with the name of waiter's error as its ``type``.
    """
    waits = (
        workflow.execute_activity(
            ACTIVITY,
            task_id,
            result_type=dict,
            task_queue=task_queue,
            schedule_to_close_timeout=timeout + MARGIN,
            heartbeat_timeout=heartbeat_timeout,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        for task_id in task_ids(ref)
    )
    return CreatedResources.merge(map(CreatedResources.from_mapping, await asyncio.gather(*waits))).as_dict()


class GcoreActivities:
    """The activity ``wait`` of one worker, whose waits share connections and the request rate; a context manager.

    The arguments are those of :class:`waiter.Options`. The key is read on the worker, and never an argument of an activity.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._waiter = AsyncWaiter(**options)

    @activity.defn(name=ACTIVITY)
    async def wait(self, task_id: str) -> dict[str, list[str | int]]:
        """Return what a task created; its heartbeats carry the task as last seen, also by an earlier attempt."""
        info = activity.info()
        seen = dict(info.heartbeat_details[0]) if info.heartbeat_details else {"id": task_id}

        def keep(event: Event) -> None:
            if event.task:
                seen.update(_as_dict(event.task))

        deadline = info.scheduled_time + (info.schedule_to_close_timeout or timedelta.max) - MARGIN
        with _heartbeats(info.heartbeat_timeout, seen):
            try:
                task = await self._waiter.wait(task_id, timeout=_time_left(deadline), on_event=keep)
            except WaiterError as error:
                seen |= _as_dict(error.task) if isinstance(error, TaskError | ResourceError) and error.task else {}
                is_final = not isinstance(error, _RETRYABLE)
                raise ApplicationError(str(error), seen, type=type(error).__name__, non_retryable=is_final) from None
        return task.created_resources.as_dict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._waiter.close()


def _time_left(deadline: datetime) -> timedelta:
    return max(deadline - datetime.now(UTC), timedelta())


def _as_dict(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "task_type": task.task_type,
        "state": str(task.state),
        "detailed_state": task.detailed_state,
        "error": task.error,
        "created_resources": task.created_resources.as_dict(),
    }


@contextmanager
def _heartbeats(timeout: timedelta | None, seen: dict[str, Any]) -> Iterator[None]:
    """Send heartbeats with what was seen. Cancellation arrives with their responses."""

    async def beat() -> None:
        while timeout:
            activity.heartbeat(seen)
            await asyncio.sleep(timeout.total_seconds() / _HEARTBEATS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
