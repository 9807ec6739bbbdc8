"""Waits on the simulated cloud cost what the benchmarks compute for the same schedule: requests and delay."""

from __future__ import annotations

import random
import runpy
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from drivers import Driver

from waiter import History, Waiter
from waiter.api.server_clock import ServerClock
from waiter.polling.history_cache import HistoryCache
from waiter.schedule.schedule import Schedule
from waiter.testing import SimulatedCloud, finishes

peers = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "peers.py"))
PAST = (58.0, 61.0, 55.0, 70.0, 62.0, 59.0, 64.0, 57.0)


def computed_cost(schedule: Schedule, duration: float) -> tuple[float, int]:
    """Return the computed delay in seconds and number of requests."""
    delay, requests = peers["pay"](peers["Peer"]("waiter", schedule), duration)
    return delay, requests


@pytest.fixture
def _exact_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace ages by exact ones: the clock of the server shows whole seconds only."""
    monkeypatch.setattr(ServerClock, "age", lambda _self, _created_on, *, now: now)


def set_history(monkeypatch: pytest.MonkeyPatch, durations: tuple[float, ...]) -> None:
    """Start the waits of a test with these past durations."""
    histories, history = HistoryCache(), History(durations) if durations else None
    monkeypatch.setattr(histories, "get", lambda _task, **_: history)
    monkeypatch.setattr(histories, "claim", lambda *_, **__: False)
    monkeypatch.setattr("waiter.session.HistoryCache", lambda: histories)


@pytest.mark.usefixtures("_exact_ages")
@pytest.mark.parametrize("past", [(), PAST], ids=["no_history", "history"])
@pytest.mark.parametrize("duration", [0.0, 0.7, 3.0, 17.2, 58.5, 64.0, 90.0, 333.3, 2_500.0])
def test_wait_costs_what_the_benchmark_computes(
    on: Driver, monkeypatch: pytest.MonkeyPatch, past: tuple[float, ...], duration: float
) -> None:
    """With the same jitter, the delay and the number of requests are the same."""
    set_history(monkeypatch, past)
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(duration))
    random.seed(20_261)
    on.wait(cloud, task_id)
    random.seed(20_261)
    delay, requests = computed_cost(Schedule(history=History(past)), duration)
    assert requests == len(cloud.requests)
    assert delay == pytest.approx(cloud.elapsed - duration, abs=1e-4)


@pytest.mark.parametrize("past", [(), PAST], ids=["no_history", "history"])
def test_ages_in_whole_seconds_cost_little(on: Driver, monkeypatch: pytest.MonkeyPatch, past: tuple[float, ...]) -> None:
    """Ages from a clock with whole seconds change the total cost of many waits by a few per cent."""
    set_history(monkeypatch, past)
    measured, expected = [0.0, 0.0], [0.0, 0.0]
    for i in range(60):
        cloud = SimulatedCloud.virtual(start=datetime(2026, 7, 1, 12, 0, 0, i * 16_000, tzinfo=UTC))
        task_id = cloud.add(finishes(40.0 + i / 2))
        random.seed(i)
        on.wait(cloud, task_id)
        measured[0], measured[1] = measured[0] + cloud.elapsed - (40 + i / 2), measured[1] + len(cloud.requests)
        random.seed(i)
        costs = computed_cost(Schedule(history=History(past)), 40.0 + i / 2)
        expected = [total + cost for total, cost in zip(expected, costs, strict=True)]
    assert measured == pytest.approx(expected, rel=0.15)


def test_wait_over_http_costs_the_same() -> None:
    """A wait over real HTTP, forty times as fast, needs about as many requests; the machine decides about a few of them."""
    speed = 40.0
    cloud = SimulatedCloud(clock=lambda: speed * time.monotonic(), sleep=lambda seconds: time.sleep(seconds / speed))
    with cloud.serve() as cloud.base_url, httpx.Client(trust_env=False) as client:
        options: dict[str, Any] = {**cloud.options, "client": client, "learn": False}
        with Waiter(**options) as waiter:
            waiter.wait(cloud.add(finishes(20.0)))
    _, requests = computed_cost(Schedule(), 20.0)
    assert 2 <= len(cloud.requests) <= requests + 3
