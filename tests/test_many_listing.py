"""One look for many: a listing saves requests, and whatever it says or does not say, no result is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from tenacity import wait_fixed

from waiter import AsyncWaiter, Outcome, TaskError, TasksError, TaskTimeoutError
from waiter.testing import SimulatedCloud, drip, fails, finishes, html, never_ends, says, status, truncated, wrong_types
from waiter.testing.faults import Fault
from waiter.testing.script import Phase, Script
from waiter.toll import cost_of, period_of

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


def test_it_saves_requests(cloud: SimulatedCloud) -> None:
    """A hundred tasks of ten minutes, looked after for less than their own last looks would cost ten times over."""
    ids = [cloud.add(finishes(600 + place / 10)) for place in range(100)]
    outcomes = wait_all(cloud, ids, learn=False)
    assert sorted(outcome.task_id for outcome in outcomes if outcome.task) == sorted(ids)
    assert singles(cloud) + len(listings(cloud)) < 1000
    assert cloud.clock() < 640


def test_waits_that_begin_one_by_one(cloud: SimulatedCloud) -> None:
    """A listing stands for them as soon as they are many."""
    ids = [cloud.add(finishes(600)) for _ in range(60)]

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            waits = []
            for one in ids:
                waits.append(asyncio.ensure_future(waiter.wait(one)))
                await cloud.async_sleep(0.5)
            await asyncio.gather(*waits)

    asyncio.run(main())
    assert singles(cloud) + len(listings(cloud)) < 700


def test_the_few_that_are_left_look_for_themselves(cloud: SimulatedCloud) -> None:
    """Listings stood for them as long as there were others."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(60)]
    last = cloud.add(finishes(200))

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            others = [asyncio.ensure_future(waiter.wait(one)) for one in ids]
            waiting = asyncio.ensure_future(waiter.wait(last))
            await cloud.async_sleep(100)
            for one in others:
                one.cancel()
            await waiting

    asyncio.run(main())
    assert 200 <= cloud.clock() < 230


def test_a_few_look_for_themselves(cloud: SimulatedCloud) -> None:
    """Ten tasks cost less than a listing, and nobody thinks about one."""
    ids = [cloud.add(finishes(30)) for _ in range(10)]

    async def main() -> bool:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            await waiter.wait_all(ids)
            return waiter._crowd._lister is None

    assert asyncio.run(main())
    assert listings(cloud) == []


def test_who_come_together_do_not_wait_for_the_next_listing(cloud: SimulatedCloud) -> None:
    """One is made for them, or they look for themselves, however long the pause between two would be."""
    early, late = ([cloud.add(finishes(900)) for _ in range(60)] for _ in range(2))
    seen: dict[str, float] = {}

    async def main() -> None:
        options: Any = {"on_event": lambda event: seen.setdefault(event.task_id, cloud.clock()), "learn": False}
        async with AsyncWaiter(**cloud.async_options, **options) as waiter:
            waits = [asyncio.ensure_future(waiter.wait(one)) for one in early]
            await cloud.async_sleep(600.4)
            waits += [asyncio.ensure_future(waiter.wait(one)) for one in late]
            await asyncio.gather(*waits)

    asyncio.run(main())
    assert max(seen[one] for one in late) < 602


def test_listings_are_rarer_for_old_tasks(cloud: SimulatedCloud) -> None:
    """As single looks are."""
    wait_all(cloud, [cloud.add(finishes(3000)) for _ in range(40)], learn=False)
    assert 180 < len(listings(cloud)) < 270


def test_large_tasks_are_not_listed() -> None:
    """Their bytes cost as much as single looks."""
    cloud = check(lambda results: [{**one, "data": "x" * 20_000} for one in results])
    assert len(listings(cloud)) <= 3


def test_who_comes_alone_does_not_wait_for_a_listing() -> None:
    """While a slow one is on its way, a first look is a single one."""
    cloud = SimulatedCloud.virtual(latency=3)
    ids = [cloud.add(finishes(30)) for _ in range(60)]
    late = cloud.add(finishes(30))

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            waiting = asyncio.ensure_future(waiter.wait_all(ids))
            await cloud.async_sleep(1)
            await waiter.wait(late)
            await waiting

    asyncio.run(main())
    assert next(request.at for request in cloud.requests if request.task_id == late) < 1.1


def test_ends_are_not_remembered_for_ever(cloud: SimulatedCloud) -> None:
    """A waiter may live for weeks."""
    ids = [cloud.add(finishes(100 + 40 * place)) for place in range(100)]

    async def main() -> int:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            await asyncio.gather(*map(waiter.wait, ids))
            return len(waiter._crowd._ended)

    assert 5 < asyncio.run(main()) < 40


def test_an_account_with_too_many_other_tasks(cloud: SimulatedCloud) -> None:
    """The first page is no longer than what it may save, and shows that the others are not worth it."""
    for _ in range(3000):
        cloud.add(never_ends(), watched=False)
    wait_all(cloud, [cloud.add(finishes(20)) for _ in range(150)])
    assert [request.path.partition("limit=")[2] for request in cloud.requests if "limit=1000" in request.path] == []
    assert len(listings(cloud)) <= 3


def test_other_tasks_that_end(cloud: SimulatedCloud) -> None:
    """A listing that was not worth its pages is tried again."""
    for _ in range(1500):
        cloud.add(finishes(20), watched=False)
    wait_all(cloud, [cloud.add(finishes(120)) for _ in range(60)], learn=False)
    assert len(listings(cloud)) > 10


def test_transitions_are_told_once(cloud: SimulatedCloud) -> None:
    """What a listing shows of a task's state is told as if it had been looked at."""
    phases = (Phase("NEW", 40), Phase("RUNNING", 40, "NETWORK"), Phase("RUNNING", 40), Phase("FINISHED"))
    ids = [cloud.add(Script(phases=phases)) for _ in range(40)]
    events: list[Any] = []
    wait_all(cloud, ids, on_event=events.append, learn=False)
    told = [event.fields for event in events if event.name == "task.state_changed" and event.task_id == ids[7]]
    assert [(fields["old"], fields["new"], fields["detailed_state"]) for fields in told] == [
        (None, "NEW", None),
        ("NEW", "RUNNING", "NETWORK"),
        ("RUNNING", "RUNNING", None),
        ("RUNNING", "FINISHED", None),
    ]
    assert singles(cloud) < 130


def test_an_end_wakes_at_once(cloud: SimulatedCloud) -> None:
    """A task that is gone from the listing is looked at although its own next look is far off."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(99)] + [cloud.add(finishes(100))]

    async def wait() -> None:
        async with AsyncWaiter(**cloud.async_options, wait=wait_fixed(50), learn=False) as waiter:
            await waiter.wait_all(ids, return_when="FIRST_COMPLETED")

    asyncio.run(wait())
    assert 100 <= cloud.clock() < 140


def test_all_last_looks_are_one(cloud: SimulatedCloud) -> None:
    """A deadline in common needs no look each."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(200)]
    outcomes = wait_all(cloud, ids, timeout=60, learn=False, max_rps=10)
    assert {type(outcome.error) for outcome in outcomes} == {TaskTimeoutError}
    assert not [outcome for outcome in outcomes if isinstance(outcome.error, TaskTimeoutError) and outcome.error.last_error]
    assert 60 <= cloud.clock() < 66


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


def test_one_task_awaited_twice(cloud: SimulatedCloud) -> None:
    """Both waits hear of it."""
    ids = [cloud.add(finishes(40)) for _ in range(30)]

    async def wait() -> list[str]:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            return [task.id for task in await asyncio.gather(*map(waiter.wait, ids + ids))]

    assert asyncio.run(wait()) == ids + ids
    assert listings(cloud)


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


def test_listings_leave_half_of_the_budget(cloud: SimulatedCloud) -> None:
    """However small it is."""
    with contextlib.suppress(TasksError):
        asyncio.run(within(cloud, [cloud.add(never_ends(), watched=False) for _ in range(100)], timeout=300, max_rps=0.2))
    assert 10 < len(listings(cloud)) <= 31


async def within(cloud: SimulatedCloud, ids: list[str], **options: Any) -> None:
    async with AsyncWaiter(**cloud.async_options, learn=False, **options) as waiter:
        await waiter.wait_all(ids)


def test_a_task_that_cannot_be_read_in_the_listing() -> None:
    """Its own endpoint decides."""
    check(lambda results: [{**one, "extra": "x"} | {"created_resources": 7} for one in results])


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


def test_who_comes_too_late_for_a_listing() -> None:
    """Waits for the next, which begins after it asked."""
    cloud = SimulatedCloud.virtual(latency=0.1)
    early, late = ([cloud.add(finishes(5)) for _ in range(60)] for _ in range(2))

    async def wait() -> list[str]:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            waits = [asyncio.ensure_future(waiter.wait(task_id)) for task_id in early]
            await cloud.async_sleep(0.05)
            waits += [asyncio.ensure_future(waiter.wait(task_id)) for task_id in late]
            return [(await one).id for one in waits]

    assert asyncio.run(wait()) == early + late
    assert 2 <= len(listings(cloud)) < 20


def test_what_a_listing_costs() -> None:
    """A page is ten looks, and a task in it what its bytes are worth; no gap is so short that listings follow at once."""
    assert [round(period_of([gap] * 100, 25), 9) for gap in (40, 0.01)] == [20, 0.2]
    assert [cost_of(tasks, 1000) for tasks in (0, 10, 1000, 1001)] == [10, 15, 510, 520.5]


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
