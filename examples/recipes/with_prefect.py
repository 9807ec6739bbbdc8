"""Wait in a Prefect task: starting the work is a task of its own, so that a retry does not start it again."""

from __future__ import annotations

import os
from typing import Any

import httpx
from prefect import State, flow, task

from waiter import TaskError
from waiter.aio import wait_for_task

API = os.environ.get("GCORE_BASE_URL", "https://api.gcore.com")


async def is_retried(_task: object, _run: object, state: State[Any]) -> bool:
    """Return whether a retry can help: not when the task has failed."""
    return not isinstance(await state.aresult(raise_on_failure=False), TaskError)


@task
async def create(name: str) -> dict[str, Any]:
    """Start the creation of an instance, and return what the API answers."""
    headers = {"Authorization": f"apikey {os.environ['GCORE_API_KEY']}"}
    async with httpx.AsyncClient(headers=headers) as http:
        answer: dict[str, Any] = (await http.post(f"{API}/cloud/v2/instances/1/7", json={"name": name})).json()
    return answer


@task(retries=5, retry_delay_seconds=[1, 10, 30, 60, 60], retry_condition_fn=is_retried)
async def wait(answer: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what was created."""
    return (await wait_for_task(answer, timeout=3600)).as_dict()


@flow
async def deploy(name: str) -> dict[str, list[Any]]:
    """Create an instance and wait for it."""
    return await wait(await create(name))
