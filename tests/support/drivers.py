"""The two ways to wait, for tests that run on both from one text."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from waiter import AsyncWaiter, CreatedResources, Task, Waiter, aio, wait_for_task
from waiter.testing import SimulatedCloud


class Driver(Protocol):
    """One of the two ways to wait."""

    def wait(self, cloud: SimulatedCloud, task_id: Any, **options: Any) -> Task: ...
    def wait_for_task(self, cloud: SimulatedCloud, task_id: Any, **options: Any) -> CreatedResources: ...


class Blocking:
    def wait(self, cloud: SimulatedCloud, task_id: Any, **options: Any) -> Task:
        with Waiter(**cloud.options | options) as waiter:
            return waiter.wait(task_id)

    def wait_for_task(self, cloud: SimulatedCloud, task_id: Any, **options: Any) -> CreatedResources:
        return wait_for_task(task_id, **cloud.options | options)


class Awaited:
    def wait(self, cloud: SimulatedCloud, task_id: Any, **options: Any) -> Task:
        async def wait() -> Task:
            async with AsyncWaiter(**cloud.async_options | options) as waiter:
                return await waiter.wait(task_id)

        return asyncio.run(wait())

    def wait_for_task(self, cloud: SimulatedCloud, task_id: Any, **options: Any) -> CreatedResources:
        async def wait() -> CreatedResources:
            return await aio.wait_for_task(task_id, **cloud.async_options | options)

        return asyncio.run(wait())
