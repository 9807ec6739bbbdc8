"""Listings that fail, lag or are wrong cost requests or time, and never a result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from listing_parts import check_outcomes, distorted, frozen, listings, paged, wait_all
from tenacity import wait_fixed

from waiter import AsyncWaiter, TaskError
from waiter.testing import SimulatedCloud, drip, fails, finishes, html, never_ends, says, status, truncated, wrong_types
from waiter.testing.faults import Fault
from waiter.testing.script import Phase, Script


def test_task_that_a_lagging_listing_shows_at_the_deadline_is_polled() -> None:
    """The final poll is of the task itself: one that ended before the deadline has not timed out."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(finishes(57)) for _ in range(60)]
    repeat = frozen()
    outcomes = wait_all(
        cloud,
        ids,
        timeout=60,
        learn=False,
        wait=wait_fixed(30),
        **distorted(cloud, lambda rows: repeat(rows) if cloud.clock() < 62 else rows),
    )
    assert [outcome.error for outcome in outcomes] == [None] * 60


def test_listing_older_than_what_is_known_reports_no_transition() -> None:
    """The task's own endpoint is polled instead."""
    cloud = SimulatedCloud.virtual()
    script = Script(phases=(Phase("NEW", 5), Phase("RUNNING", 50), Phase("FINISHED")))
    ids = [cloud.add(script) for _ in range(40)]
    repeat = frozen()

    def stale(rows: list[Any]) -> list[Any]:
        kept = repeat(rows)
        return kept if 10 < cloud.clock() < 30 else rows

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
def test_every_outcome_is_right_when_all_listings_fail(cloud: SimulatedCloud, fault: Fault) -> None:
    """Each wait polls its own task."""
    ids = [cloud.add(fails(30 + place) if place % 9 == 0 else finishes(30 + place)) for place in range(40)]
    cloud.outage(0, 1000, fault, on="listing")
    outcomes = wait_all(cloud, ids, learn=False)
    assert sorted(outcome.task_id for outcome in outcomes) == sorted(ids)
    assert {type(outcome.error) for outcome in outcomes} == {type(None), TaskError}
    assert cloud.clock() < 100


def test_retry_after_of_a_listing_delays_listings_only(cloud: SimulatedCloud) -> None:
    """Individual polls do not wait for it."""
    cloud.fault(status(503, 60), on="listing")
    wait_all(cloud, [cloud.add(finishes(90)) for _ in range(40)], learn=False)
    first, second = listings(cloud)[:2]
    assert second >= first + 60
    assert sum(first < request.at < first + 20 for request in cloud.requests) >= 40


def test_good_listings_shorten_the_next_pause(cloud: SimulatedCloud) -> None:
    """After a bad time and a longer good one, one more fault pauses listings only for a short time."""
    for began, seconds in ((0, 100), (400, 12)):
        cloud.outage(began, seconds, status(500), on="listing")
    wait_all(cloud, [cloud.add(finishes(470)) for _ in range(40)], learn=False)
    assert [at for at in listings(cloud) if 412 < at < 460]


@pytest.mark.parametrize("adjust_count", [False, True])
def test_empty_listing_is_given_up(*, adjust_count: bool) -> None:
    """Every wait polls its own task at its own intervals."""
    cloud = check_outcomes(lambda _: [], adjust_count=adjust_count)
    assert len(listings(cloud)) <= 3


def test_listing_that_omits_some_tasks() -> None:
    """Pages may be torn apart while tasks end: what is not listed is polled."""
    chance = random.Random(1)
    check_outcomes(lambda rows: [row for row in rows if chance.random() < 0.9])


def test_listing_that_ignores_the_filter() -> None:
    """Ended and foreign tasks on it change nothing."""
    check_outcomes(lambda rows: [*rows, {"id": "t-0", "state": "FINISHED"}, {"id": "t-1", "state": "RUNNING"}])


def test_listing_that_shows_wrong_ends() -> None:
    """Whether it is right or wrong, only the task's own endpoint decides."""
    chance = random.Random(1)
    check_outcomes(lambda rows: [{**row, "state": "ERROR"} if chance.random() < 0.1 else row for row in rows])


Costs = tuple[int, float]


def costs(ends: list[float], change: Callable[[list[Any]], list[Any]], *, adjust_count: bool = False, **options: Any) -> Costs:
    """Return how many requests it takes to wait for tasks that end at these times, and the longest delay in seconds."""
    cloud = SimulatedCloud.virtual(**options)
    due = {cloud.add(finishes(end, task_type="create_image")): end for end in ends}  # a type without a usual duration

    async def longest_delay() -> float:
        options = distorted(cloud, change, adjust_count=adjust_count)
        async with AsyncWaiter(**cloud.async_options | options, learn=False, price=0.2) as waiter:
            return max([cloud.clock() - due[outcome.task_id] async for outcome in waiter.as_completed(list(due))])

    delay = asyncio.run(longest_delay())
    return len(cloud.requests), delay


def evenly(count: int, first: float, last: float) -> list[float]:
    return [first + (last - first) * place / count for place in range(count)]


@pytest.mark.parametrize("ends", [evenly(100, 20, 50), evenly(60, 200, 300)], ids=["quick", "slow"])
def test_stuck_listing_adds_an_interval_at_most_and_no_requests(ends: list[float]) -> None:
    """The longest delay without listings is an interval of polling; with a listing that repeats its first rows it is two."""
    without = costs(ends, lambda _: [], adjust_count=True)
    stuck = costs(ends, frozen(), adjust_count=True)
    assert stuck[0] < without[0]
    assert stuck[1] < 2.5 * without[1]


@pytest.mark.parametrize(("rows", "share"), [(1, 1.1), (10, 0.5)])
def test_short_pages_cost_no_more_than_individual_polls(rows: int, share: float) -> None:
    """Pages of one row are given up after the first; pages of ten still save requests."""
    ends = evenly(100, 20, 50)
    without = costs(ends, lambda _: [], adjust_count=True)
    short = costs(ends, paged(rows))
    assert short[0] < share * without[0]
    assert short[1] < 1.5 * without[1]


def test_listing_that_takes_longer_than_an_interval_is_given_up() -> None:
    """Fifty short pages that come half a second apart say nothing of the tasks' last ends."""
    ends = evenly(100, 30, 40)
    without = costs(ends, lambda _: [], adjust_count=True, latency=0.5)
    slow = costs(ends, paged(2), latency=0.5)
    assert slow[1] < 1.5 * without[1]


def test_stuck_row_is_found_out_by_its_spot_check() -> None:
    """One row of the listing has missed the end of its task."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(never_ends(), watched=False) for _ in range(50)] + [cloud.add(finishes(60), task_id="stale")]
    row: list[Any] = []

    def stale(rows: list[Any]) -> list[Any]:
        row[:] = row or [one for one in rows if one["id"] == "stale"]
        return [*(one for one in rows if one["id"] != "stale"), *row]

    async def main() -> float:
        async with AsyncWaiter(**cloud.async_options | distorted(cloud, stale), learn=False) as waiter:
            await waiter.wait_all(ids, return_when="FIRST_COMPLETED")
            return cloud.clock()

    assert asyncio.run(main()) < 600


def test_task_that_cannot_be_read_from_the_listing_is_polled() -> None:
    """Its own endpoint decides."""
    check_outcomes(lambda rows: [{**row, "extra": "x"} | {"created_resources": 7} for row in rows])


def test_five_thousand_outcomes_are_right_with_five_percent_faults() -> None:
    """Each is reported once, none before its end and none wrong."""
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
