"""The awaited driver, beside what it shares with the blocking one."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from tenacity import wait_fixed

from waiter import AsyncWaiter, AuthenticationError, ConfigurationError, Waiter, aio
from waiter.testing import SimulatedCloud, ended, finishes


def test_single_blocking_wait_keeps_the_rate_limit(cloud: SimulatedCloud) -> None:
    """Its polls are as far apart as ``max_rps`` says, although its schedule is faster."""
    with Waiter(**cloud.options, max_rps=0.2, learn=False) as waiter:
        waiter.wait(cloud.add(finishes(20)))
    intervals = [later.at - earlier.at for earlier, later in pairwise(cloud.requests)]
    assert (min(intervals) > 4.8, len(intervals) >= 4) == (True, True)


def test_rejected_key_is_sent_once() -> None:
    """A 401 ends the wait when the key cannot change."""
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url, pytest.raises(AuthenticationError):
        asyncio.run(aio.wait_for_task("t-1", api_key="wrong", base_url=url))
    assert [request.status for request in cloud.requests] == [401]


def test_status_returns_any_state() -> None:
    """One poll, whether the task has ended or not."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(30), watched=False)

    async def main() -> str:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            return str((await waiter.status(task_id)).state)

    assert asyncio.run(main()) == "RUNNING"


def test_acknowledged_task_is_returned() -> None:
    """``acknowledge`` sends one request, by a waiter or without."""
    cloud = SimulatedCloud.virtual()
    one, other = cloud.add(finishes(30), watched=False), cloud.add(finishes(30), watched=False)

    async def main() -> list[bool]:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            tasks = [await waiter.acknowledge(one), await aio.acknowledge(other, **cloud.async_options)]
        return [task.acknowledged_at is not None for task in tasks]

    assert asyncio.run(main()) == [True, True]
    assert [request.method for request in cloud.requests] == ["POST", "POST"]


def test_acknowledgement_over_http() -> None:
    """Waiter's own connections send it too, and are kept for the next request."""
    cloud = SimulatedCloud()
    task_id = cloud.add(finishes(30), watched=False)

    async def main(url: str) -> list[bool]:
        async with AsyncWaiter(api_key=cloud.api_key, base_url=url) as waiter:
            tasks = [await waiter.status(task_id), await waiter.acknowledge(task_id), await waiter.status(task_id)]
        return [task.acknowledged_at is not None for task in tasks]

    with cloud.serve() as url:
        assert asyncio.run(main(url)) == [False, True, True]


@pytest.mark.parametrize("max_rps", [0, -1, "many", True])
def test_max_rps_is_checked(max_rps: Any) -> None:
    """It is a positive number of requests per second."""
    with pytest.raises(ConfigurationError, match="max_rps must be requests per second, more than 0, not"):
        AsyncWaiter(api_key="k", max_rps=max_rps)


def test_key_file_is_read_again_after_a_401(tmp_path: Path) -> None:
    """A key that was rotated is used on connections that were kept, too."""
    cloud = SimulatedCloud()
    task_id = cloud.add(ended({"instances": ["i-1"]}))
    file = tmp_path / "key"
    file.write_text(cloud.api_key)
    with cloud.serve() as url:

        async def main() -> Any:
            async with AsyncWaiter(api_key=file, base_url=url) as waiter:
                waiter._session.settings.api_key._token = "an-old-one"
                return (await waiter.wait(task_id)).created_resources.instances

        assert asyncio.run(main()) == ("i-1",)


def test_trio_over_real_http() -> None:
    """Without asyncio, httpx holds the connections, and each wait polls its own task."""
    cloud = SimulatedCloud()
    task_id = cloud.add(finishes(0.1, {"instances": ["i-1"]}))

    with cloud.serve() as url:

        async def main() -> Any:
            options: Any = {"api_key": cloud.api_key, "base_url": url, "wait": wait_fixed(0.2)}
            return (await aio.wait_for_task(task_id, **options)).instances

        assert trio.run(main) == ("i-1",)
