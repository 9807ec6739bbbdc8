"""Start work and wait for it, many at a time, with asyncio alone: ``python with_asyncio.py NAME...``."""

from __future__ import annotations

import asyncio
import os
import sys

import httpx

from waiter import AsyncWaiter, TaskError

API = os.environ.get("GCORE_BASE_URL", "https://api.gcore.com")
HEADERS = {"Authorization": f"apikey {os.environ['GCORE_API_KEY']}"}


async def create(name: str, http: httpx.AsyncClient, waiter: AsyncWaiter) -> str:
    """Create an instance and return its ID."""
    answer = (await http.post(f"{API}/cloud/v2/instances/1/7", json={"name": name})).raise_for_status().json()
    task = await waiter.wait(answer)
    return str(task.created_resources.instances[0])


async def main(names: list[str]) -> int:
    """Create all instances together; one that fails does not stop the others."""
    async with httpx.AsyncClient(headers=HEADERS) as http, AsyncWaiter() as waiter:
        results = await asyncio.gather(*(create(name, http, waiter) for name in names), return_exceptions=True)
    for name, result in zip(names, results, strict=True):
        print(f"{name}: {result}")
    return int(any(isinstance(result, TaskError) for result in results))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
