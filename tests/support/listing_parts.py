"""What tests of listings have in common: who asked for what, and listings that say something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from waiter import AsyncWaiter, Outcome, TaskError
from waiter.testing import SimulatedCloud, fails, finishes

LISTING = "/cloud/v1/tasks?"


def wait_all(cloud: SimulatedCloud, ids: list[str], **options: Any) -> list[Outcome]:
    async def wait() -> list[Outcome]:
        async with AsyncWaiter(**cloud.async_options | options) as waiter:
            return [outcome async for outcome in waiter.as_completed(ids)]

    return asyncio.run(wait())


def listings(cloud: SimulatedCloud) -> list[float]:
    return [request.at for request in cloud.requests if request.path.startswith(LISTING) and "state=NEW" in request.path]


def singles(cloud: SimulatedCloud) -> int:
    return sum(request.task_id is not None for request in cloud.requests)


class Distorted(httpx.AsyncBaseTransport):
    """Changes what the listing says, and the count of it if nobody shall notice."""

    def __init__(self, cloud: SimulatedCloud, change: Callable[[list[Any]], list[Any]], *, counts: bool = False) -> None:
        self._cloud = cloud
        self._change = change
        self._counts = counts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._cloud.transport.handle_async_request(request)
        if b"state=NEW" not in request.url.query:
            return response
        said = msgspec.json.decode(await response.aread())
        said["results"] = self._change(said["results"])
        if self._counts:
            said["count"] = len(said["results"])
        return httpx.Response(200, json=said)


def distorted(cloud: SimulatedCloud, change: Callable[..., list[Any]], *, counts: bool = False) -> dict[str, Any]:
    return {"client": httpx.AsyncClient(transport=Distorted(cloud, change, counts=counts), trust_env=False)}


def check(change: Callable[[list[Any]], list[Any]], *, counts: bool = False) -> SimulatedCloud:
    """Wait for tasks that end between 20 and 50 s, and find each end soon, and the right one."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(fails(20 + 0.3 * place) if place % 9 == 0 else finishes(20 + place / 5)) for place in range(100)]
    outcomes = wait_all(cloud, ids, learn=False, **distorted(cloud, change, counts=counts))
    assert [type(outcome.error) for outcome in sorted(outcomes, key=lambda outcome: ids.index(outcome.task_id))] == [
        TaskError if place % 9 == 0 else type(None) for place in range(100)
    ]
    assert cloud.clock() < 80
    cloud.verify()
    return cloud
