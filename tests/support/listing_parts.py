"""What tests of listings share: which requests were made, and listings that say something else than the cloud."""

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
    """Return when each page of a listing of active tasks was asked for."""
    return [request.at for request in cloud.requests if request.path.startswith(LISTING) and "state=NEW" in request.path]


def polls(cloud: SimulatedCloud) -> int:
    """Return how many requests went to tasks' own endpoints."""
    return sum(request.task_id is not None for request in cloud.requests)


class DistortedTransport(httpx.AsyncBaseTransport):
    """Change the rows of listings of active tasks; with ``adjust_count`` their count too, so that the change is consistent."""

    def __init__(self, cloud: SimulatedCloud, change: Callable[[list[Any]], list[Any]], *, adjust_count: bool = False) -> None:
        self._cloud = cloud
        self._change = change
        self._adjust_count = adjust_count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._cloud.transport.handle_async_request(request)
        if b"state=NEW" not in request.url.query:
            return response
        payload = msgspec.json.decode(await response.aread())
        payload["results"] = self._change(payload["results"])
        if self._adjust_count:
            payload["count"] = len(payload["results"])
        return httpx.Response(200, json=payload)


def distorted(cloud: SimulatedCloud, change: Callable[..., list[Any]], *, adjust_count: bool = False) -> dict[str, Any]:
    """Return the options of a waiter whose listings are changed."""
    transport = DistortedTransport(cloud, change, adjust_count=adjust_count)
    return {"client": httpx.AsyncClient(transport=transport, trust_env=False)}


def frozen() -> Callable[[list[Any]], list[Any]]:
    """Return a change that always repeats the rows of the first listing."""
    first: list[Any] = []

    def repeat(rows: list[Any]) -> list[Any]:
        first.extend(rows if not first else [])
        return first

    return repeat


def paged(rows_per_page: int) -> Callable[[list[Any]], list[Any]]:
    """Return a change that gives the first rows of each page only, whatever was asked for."""
    return lambda rows: rows[:rows_per_page]


def check_outcomes(change: Callable[[list[Any]], list[Any]], *, adjust_count: bool = False) -> SimulatedCloud:
    """Wait with changed listings for a hundred tasks that end between 20 and 50 s, and assert that each outcome is right."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(fails(20 + 0.3 * place) if place % 9 == 0 else finishes(20 + place / 5)) for place in range(100)]
    outcomes = wait_all(cloud, ids, learn=False, **distorted(cloud, change, adjust_count=adjust_count))
    assert [type(outcome.error) for outcome in sorted(outcomes, key=lambda outcome: ids.index(outcome.task_id))] == [
        TaskError if place % 9 == 0 else type(None) for place in range(100)
    ]
    assert cloud.clock() < 80
    cloud.verify()
    return cloud
