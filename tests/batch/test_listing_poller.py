"""One look for many: a listing saves requests, and delays nobody."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from listing_parts import check, listings, singles, wait_all
from tenacity import wait_fixed

from waiter import AsyncWaiter, TasksError, TaskTimeoutError
from waiter.batch.listing_cost import cost_of, period_of
from waiter.testing import SimulatedCloud, finishes, never_ends
from waiter.testing.script import Phase, Script


def test_it_saves_requests(cloud: SimulatedCloud) -> None:
    """A hundred tasks of ten minutes, looked after for less than their own last looks would cost ten times over."""
    ids = [cloud.add(finishes(600 + place / 10)) for place in range(100)]
    outcomes = wait_all(cloud, ids, learn=False)
    assert sorted(outcome.task_id for outcome in outcomes if outcome.task) == sorted(ids)
    assert singles(cloud) + len(listings(cloud)) < 1000
    assert cloud.clock() < 640


def test_a_listing_stands_for_all_first_looks(cloud: SimulatedCloud) -> None:
    """Whom it has told of his task rests as if he had looked himself."""
    wait_all(cloud, [cloud.add(finishes(1)) for _ in range(300)], learn=False)
    assert sum(request.task_id is not None and request.at < 1 for request in cloud.requests) < 15


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
            return waiter._listing_poller._lister is None

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
            return len(waiter._listing_poller._circuit_breaker._ended)

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


def test_one_task_awaited_twice(cloud: SimulatedCloud) -> None:
    """Both waits hear of it."""
    ids = [cloud.add(finishes(40)) for _ in range(30)]

    async def wait() -> list[str]:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            return [task.id for task in await asyncio.gather(*map(waiter.wait, ids + ids))]

    assert asyncio.run(wait()) == ids + ids
    assert listings(cloud)


def test_listings_leave_half_of_the_budget(cloud: SimulatedCloud) -> None:
    """However small it is."""
    with contextlib.suppress(TasksError):
        asyncio.run(within(cloud, [cloud.add(never_ends(), watched=False) for _ in range(100)], timeout=300, max_rps=0.2))
    assert 10 < len(listings(cloud)) <= 31


async def within(cloud: SimulatedCloud, ids: list[str], **options: Any) -> None:
    async with AsyncWaiter(**cloud.async_options, learn=False, **options) as waiter:
        await waiter.wait_all(ids)


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
