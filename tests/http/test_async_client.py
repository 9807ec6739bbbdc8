"""The awaited client under trio; tests/http/test_client.py and others test it under asyncio together with the blocking one."""

from __future__ import annotations

import pytest
import trio
from single_poll import KEY, settings

from waiter import ApiUnavailableError
from waiter.http.async_client import AsyncClient
from waiter.testing import SimulatedCloud, ended, hang


def test_polls_under_trio() -> None:
    """A poll has one deadline too."""
    cloud = SimulatedCloud(api_key=KEY, strict=False)
    cloud.add(ended(), task_id="t-1", watched=False)

    async def main(url: str) -> str:
        async with AsyncClient(settings(base_url=url)) as client:
            task = (await client.get_task("t-1", timeout=30)).task
            cloud.fault(hang())
            with pytest.raises(ApiUnavailableError, match="timed out"):
                await client.get_task("t-1", timeout=0.1)
            return str(task.state)

    with cloud.serve() as url:
        assert trio.run(main, url) == "FINISHED"
