"""The same doors, awaited: ``await waiter.aio.wait_for_task(...)``."""

from __future__ import annotations

from typing import Unpack

from waiter.settings import Options, TaskRef, task_ids
from waiter.task import CreatedResources
from waiter.wait import AsyncWaiter

__all__ = ["AsyncWaiter", "wait_for_task"]


async def wait_for_task(task_id: TaskRef, **options: Unpack[Options]) -> CreatedResources:
    """Like waiter.wait_for_task, awaited."""
    ids = task_ids(task_id)
    async with AsyncWaiter(**options) as waiter:
        return CreatedResources.merge([(await waiter.wait(one)).created_resources for one in ids])
