"""Only type-checked: what users write must pass mypy --strict."""

from datetime import timedelta
from pathlib import Path
from typing import assert_type

import httpx
from tenacity import wait_exponential

import waiter
from waiter import AsyncWaiter, CreatedResources, Event, Task, TaskError, Waiter, wait_for_task


def on_event(event: Event) -> None:
    assert_type(event.task, Task | None)


def blocking(answer: dict[str, list[str]]) -> None:
    assert_type(wait_for_task("t-1"), CreatedResources)
    assert_type(wait_for_task(answer, timeout=timedelta(hours=1)).instances[0], str)
    assert_type(wait_for_task("t-1", timeout=None, api_key=Path("key")).projects, tuple[int, ...])
    with Waiter(wait=wait_exponential(), client=httpx.Client(), on_event=on_event) as waiter_:
        assert_type(waiter_.wait("t-1"), Task)
        assert_type(waiter_.list_tasks(state="ERROR"), list[Task])
    assert_type(waiter.list_tasks(state=(), project_id=[1, 2], region_id=3, max_rps=5), list[Task])
    wait_for_task("t-1", timeuot=5)  # type: ignore[call-arg]
    wait_for_task("t-1", timeout="5")  # type: ignore[arg-type]


async def awaited() -> None:
    assert_type(await waiter.aio.wait_for_task("t-1", learn=False), CreatedResources)
    async with AsyncWaiter(max_outage=60) as waiter_:
        assert_type(await waiter_.wait("t-1"), Task)
        assert_type(await waiter_.list_tasks(task_type="create_vm", limit=1), list[Task])
    assert_type(await waiter.aio.list_tasks(api_key=Path("key")), list[Task])


def failing() -> CreatedResources | None:
    try:
        return wait_for_task("t-1")
    except TaskError as error:
        assert_type(error.task, Task)
        return assert_type(error.created_resources, CreatedResources)
