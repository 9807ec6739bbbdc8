"""Whatever a listing says or does not say, no result is lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from listing_parts import check, distorted, listings, wait_all
from tenacity import wait_fixed

from waiter import AsyncWaiter, TaskError
from waiter.testing import SimulatedCloud, drip, fails, finishes, html, never_ends, says, status, truncated, wrong_types
from waiter.testing.faults import Fault
from waiter.testing.script import Phase, Script


def test_a_listing_that_lags_at_the_deadline() -> None:
    """Last looks are at the tasks themselves: what ended before the deadline has not timed out."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(finishes(57)) for _ in range(60)]
    kept: list[Any] = []

    def lagging(results: list[Any]) -> list[Any]:
        kept.extend(results if not kept else [])
        return kept if cloud.clock() < 62 else results

    outcomes = wait_all(cloud, ids, timeout=60, learn=False, wait=wait_fixed(30), **distorted(cloud, lagging))
    assert [outcome.error for outcome in outcomes] == [None] * 60


def test_a_listing_older_than_what_is_known() -> None:
    """It is not told as a transition, and the task's own endpoint is asked."""
    cloud = SimulatedCloud.virtual()
    script = Script(phases=(Phase("NEW", 5), Phase("RUNNING", 50), Phase("FINISHED")))
    ids = [cloud.add(script) for _ in range(40)]
    first: list[Any] = []

    def stale(results: list[Any]) -> list[Any]:
        first.extend(results if not first else [])
        return first if 10 < cloud.clock() < 30 else results

    events: list[Any] = []
    wait_all(cloud, ids, learn=False, on_event=events.append, **distorted(cloud, stale))
    told = [event.fields for event in events if event.name == "task.state_changed"]
    assert {(fields["old"], fields["new"]) for fields in told} == {(None, "NEW"), ("NEW", "RUNNING"), ("RUNNING", "FINISHED")}
    assert len(told) == 3 * len(ids)


FAULTS = [
    status(403),
    status(500),
    status(429, 5),
    html(200),
    says({"count": "x"}),
    says({"count": 10**400, "results": []}),
    says([]),
    truncated(),
    wrong_types(),
    drip(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_listing_that_fails(cloud: SimulatedCloud, fault: Fault) -> None:
    """Everybody looks for himself."""
    ids = [cloud.add(fails(30 + place) if place % 9 == 0 else finishes(30 + place)) for place in range(40)]
    cloud.outage(0, 1000, fault, on="listing")
    outcomes = wait_all(cloud, ids, learn=False)
    assert sorted(outcome.task_id for outcome in outcomes) == sorted(ids)
    assert {type(outcome.error) for outcome in outcomes} == {type(None), TaskError}
    assert cloud.clock() < 100


def test_a_listing_that_is_not_to_be_had_silences_nobody(cloud: SimulatedCloud) -> None:
    """What the server asks for with it holds for listings, and nobody's own look waits for that."""
    cloud.fault(status(503, 60), on="listing")
    wait_all(cloud, [cloud.add(finishes(90)) for _ in range(40)], learn=False)
    first, second = listings(cloud)[:2]
    assert second >= first + 60
    assert sum(first < request.at < first + 20 for request in cloud.requests) >= 40


def test_a_listing_is_forgiven(cloud: SimulatedCloud) -> None:
    """What failed for a time, and went well for longer, is not left alone for long when it fails once more."""
    for began, seconds in ((0, 100), (400, 12)):
        cloud.outage(began, seconds, status(500), on="listing")
    wait_all(cloud, [cloud.add(finishes(470)) for _ in range(40)], learn=False)
    assert [at for at in listings(cloud) if 412 < at < 460]


@pytest.mark.parametrize("counts", [False, True])
def test_an_empty_listing(*, counts: bool) -> None:
    """It shows nobody, and everybody looks for himself, at his own pace."""
    cloud = check(lambda _: [], counts=counts)
    assert len(listings(cloud)) <= 3


def test_a_listing_that_loses_tasks() -> None:
    """Pages that were torn apart while tasks ended."""
    chance = random.Random(1)
    check(lambda results: [one for one in results if chance.random() < 0.9])


def test_a_listing_that_shows_too_much() -> None:
    """The filter is ignored."""
    check(lambda results: [*results, {"id": "t-0", "state": "FINISHED"}, {"id": "t-1", "state": "RUNNING"}])


def test_a_listing_that_sees_ends() -> None:
    """Whether it is right or wrong, the task's own endpoint alone decides."""
    chance = random.Random(1)
    check(lambda results: [{**one, "state": "ERROR"} if chance.random() < 0.1 else one for one in results])


def test_a_listing_that_is_stuck() -> None:
    """It shows for ever what it showed once; the looks of single waits give it away."""
    kept: list[Any] = []

    def stuck(results: list[Any]) -> list[Any]:
        kept.extend(results if not kept else [])
        return kept

    check(stuck)


def test_a_row_that_is_stuck() -> None:
    """One row of the listing has missed the end of its task: it is found out as soon as it is that wait's turn."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(never_ends(), watched=False) for _ in range(50)] + [cloud.add(finishes(60), task_id="stale")]
    row: list[Any] = []

    def stale(results: list[Any]) -> list[Any]:
        row[:] = row or [one for one in results if one["id"] == "stale"]
        return [*(one for one in results if one["id"] != "stale"), *row]

    async def main() -> float:
        async with AsyncWaiter(**cloud.async_options | distorted(cloud, stale), learn=False) as waiter:
            await waiter.wait_all(ids, return_when="FIRST_COMPLETED")
            return cloud.clock()

    assert asyncio.run(main()) < 600


def test_a_task_that_cannot_be_read_in_the_listing() -> None:
    """Its own endpoint decides."""
    check(lambda results: [{**one, "extra": "x"} | {"created_resources": 7} for one in results])


def test_five_thousand_tasks_on_a_bad_day() -> None:
    """Each is reported once, none early, none wrong, although one answer in twenty is spoiled."""
    cloud = SimulatedCloud.virtual(fault_rate=0.05, seed=5, record=False)
    chance = random.Random(5)
    ends = [chance.uniform(1, 10) for _ in range(5000)]
    due = {cloud.add(fails(end) if end < 2 else finishes(end)): end for end in ends}
    seen: dict[str, tuple[float, bool]] = {}

    async def wait() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            async for outcome in waiter.as_completed(list(due)):
                assert outcome.task_id not in seen
                seen[outcome.task_id] = (cloud.clock(), isinstance(outcome.error, TaskError))

    asyncio.run(wait())
    assert seen.keys() == due.keys()
    assert all(at >= due[task_id] - 1e-6 and failed == (due[task_id] < 2) for task_id, (at, failed) in seen.items())
    cloud.verify()
