"""The gauges of a whole sidecar, and the page that documents every metric."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from sidecar_parts import PLAIN, run, running

from waiter.testing import SimulatedCloud, finishes

PAGE = Path(__file__).parent.parent.parent / "examples" / "sidecar" / "README.md"
NAME = re.compile(r"^(waiter_\w+?)(?:_bucket|_count|_sum)?(?:\{.*\})? (\S+)$", re.MULTILINE)


@pytest.mark.usefixtures("served")
def test_gauges_are_read_at_each_scrape(tmp_path: Path) -> None:
    """Limits, slots, connections, the storage and the key."""

    async def test() -> None:
        async with (
            running(tmp_path) as (sidecar, _),
            httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client,
            client.stream("GET", "/v1/events"),
        ):
            text = (await client.get(f"{sidecar.probes}/metrics")).text
        found = dict(re.findall(r"^(waiter_\S+) (\S+)$", text, re.MULTILINE))
        expected = {
            "waiter_open_streams": 1,
            "waiter_max_streams": 256,
            "waiter_open_long_polls": 0,
            "waiter_max_long_polls": 256,
            'waiter_open_connections{listener="control"}': 1,
            'waiter_max_connections{listener="control"}': 640,
            'waiter_open_connections{listener="probes"}': 1,
            'waiter_max_connections{listener="probes"}': 64,
            "waiter_storage_pending_changes": 0,
        }
        assert {name: float(found[name]) for name in expected} == expected
        assert float(found["waiter_storage_bytes"]) > 4096
        assert 0 <= float(found["waiter_api_key_age_seconds"]) < 60

    run(test())


def test_every_metric_is_documented(served: SimulatedCloud, tmp_path: Path) -> None:
    """The table has the name of each, without the suffixes of a histogram."""
    task_id = served.add(finishes(0.2, starts_when_seen=True))

    async def test() -> None:
        async with running(tmp_path) as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            await client.post("/v1/waits", json=task_id)
            await client.get(f"/v1/waits/{task_id}?wait=10s")
            text = (await client.get(f"{sidecar.probes}/metrics")).text
        names = {name for name, _ in NAME.findall(text)}
        assert len(names) >= 22
        documented = set(re.findall(r"`(waiter_\w+)", PAGE.read_text(encoding="utf-8")))
        assert names - documented == set()

    run(test())
