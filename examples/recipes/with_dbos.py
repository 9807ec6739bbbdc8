"""Wait in a DBOS workflow, which continues where it was when its process is started again."""

from __future__ import annotations

import os
from typing import Any

import httpx
from dbos import DBOS, DBOSConfig

from waiter.aio import wait_for_task

API = os.environ.get("GCORE_BASE_URL", "https://api.gcore.com")
DATABASE = os.environ.get("DBOS_SYSTEM_DATABASE_URL", "sqlite:///dbos.sqlite")
CONFIG: DBOSConfig = {"name": "deployments", "system_database_url": DATABASE}


@DBOS.step()
async def create(name: str) -> dict[str, Any]:
    """Start the creation of an instance, and return what the API answers: it is stored, and not repeated."""
    headers = {"Authorization": f"apikey {os.environ['GCORE_API_KEY']}"}
    async with httpx.AsyncClient(headers=headers) as http:
        answer: dict[str, Any] = (await http.post(f"{API}/cloud/v2/instances/1/7", json={"name": name})).json()
    return answer


@DBOS.step()
async def wait(answer: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what was created; a process that starts again takes up the wait."""
    return (await wait_for_task(answer, timeout=3600)).as_dict()


@DBOS.workflow()
async def deploy(name: str) -> dict[str, list[Any]]:
    """Create an instance and wait for it."""
    return await wait(await create(name))
