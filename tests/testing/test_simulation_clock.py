"""The server's wall clock, and the clocks by which time passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from waiter.testing import SimulatedCloud, finishes, never_ends


def test_wall_clock_has_its_own_time_and_notation(make_cloud: Callable[..., SimulatedCloud], send: Any) -> None:
    """The server's wall clock may be off, and its notation another."""
    start = datetime(2026, 7, 1, 15, 37, 14, 250_000, tzinfo=UTC) + timedelta(hours=0)
    cloud = make_cloud(start=start, skew=-90, notation="%Y-%m-%dT%H:%M:%SZ")
    reply = send(cloud, cloud.add(never_ends()))
    assert (reply.json["created_on"], reply.headers["Date"]) == ("2026-07-01T15:35:44Z", "Wed, 01 Jul 2026 15:35:44 GMT")


def test_frozen_time_stops_the_default_clock(send: Any) -> None:
    """A cloud without clocks reads the real ones at each request, so that freezegun stops them."""
    with freeze_time("2026-07-01 13:37:14") as frozen:
        cloud = SimulatedCloud()
        task_id = cloud.add(finishes(0.3))
        assert send(cloud, task_id).json["created_on"] == "2026-07-01T13:37:14"
        for _ in range(3):
            frozen.tick(0.1)
        assert send(cloud, task_id).json["state"] == "FINISHED"
        assert [request.at for request in cloud.requests] == [0.0, 0.3]


def test_given_sleep_is_used_by_both_transports() -> None:
    """A given sleep is used by the blocking transport, and by the async one if it has no other."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    cloud = SimulatedCloud(clock=lambda: now[0], sleep=sleep)
    cloud.sleep(2)
    asyncio.run(cloud.async_options["sleep"](3))
    assert cloud.elapsed == 5


def test_default_sleep_is_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud without clocks uses real time; the fixture and `virtual` give it others."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    cloud = SimulatedCloud()
    cloud.sleep(3)
    assert ([3], asyncio.sleep) == (slept, cloud.async_sleep)
