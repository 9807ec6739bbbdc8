"""Listings in place of polls: they save requests and delay no wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import msgspec
from listing_parts import check_outcomes, distorted, listings, polls, wait_all
from tenacity import wait_fixed

from waiter import AsyncWaiter, TasksError, TaskTimeoutError, Waiter
from waiter.api.listings import ActivePage
from waiter.batch.listing_poller import ListingPoller
from waiter.polling.wait_state import WaitState
from waiter.task import Task, TaskSnapshot, TaskState, decode_task
from waiter.testing import SimulatedCloud, finishes, never_ends, status
from waiter.testing.script import Phase, Script


def test_listings_save_requests(cloud: SimulatedCloud) -> None:
    """A hundred tasks of ten minutes take less than ten requests each."""
    ids = [cloud.add(finishes(600 + place / 10)) for place in range(100)]
    outcomes = wait_all(cloud, ids, learn=False)
    assert sorted(outcome.task_id for outcome in outcomes if outcome.task) == sorted(ids)
    assert polls(cloud) + len(listings(cloud)) < 1000
    assert cloud.clock() < 640


def test_first_polls_of_many_waits_are_one_listing(cloud: SimulatedCloud) -> None:
    """A wait that a listing has shown its task sleeps as if it had polled."""
    wait_all(cloud, [cloud.add(finishes(1)) for _ in range(300)], learn=False)
    assert sum(request.task_id is not None and request.at < 1 for request in cloud.requests) < 15


def test_honest_listing_causes_one_poll(cloud: SimulatedCloud) -> None:
    """It is the spot check; with a low price the second listing comes before the waits of the first poll individually."""
    ids = [cloud.add(finishes(600, task_type="create_image")) for _ in range(60)]
    wait_all(cloud, ids, learn=False, price=0.05)
    early = sum(request.task_id is not None and request.at < 600 for request in cloud.requests)
    assert early <= len(listings(cloud)) + 10


def test_waits_that_start_one_by_one_share_listings(cloud: SimulatedCloud) -> None:
    """Listings begin as soon as there are enough waits."""
    ids = [cloud.add(finishes(600)) for _ in range(60)]

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False, price=0.2) as waiter:
            waits = []
            for one in ids:
                waits.append(asyncio.ensure_future(waiter.wait(one)))
                await cloud.async_sleep(0.5)
            await asyncio.gather(*waits)

    asyncio.run(main())
    assert polls(cloud) + len(listings(cloud)) < 700


def test_last_waits_poll_individually(cloud: SimulatedCloud) -> None:
    """Listings served them as long as there were enough others."""
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


def test_deadline_holds_when_listings_end_before_it(cloud: SimulatedCloud) -> None:
    """The last few waits resume individual polling with intervals that would end after it."""
    endless = never_ends(task_type="create_k8s_cluster_v2")
    ids = [cloud.add(script) for script in [finishes(8)] * 45 + [endless] * 5]
    errors = [outcome.error for outcome in wait_all(cloud, ids, timeout=13) if outcome.error]
    assert listings(cloud)
    assert [round(error.waited, 2) for error in errors if isinstance(error, TaskTimeoutError)] == [13] * 5


def test_few_waits_start_no_listing(cloud: SimulatedCloud) -> None:
    """Ten polls cost less than a listing."""
    ids = [cloud.add(finishes(30)) for _ in range(10)]

    async def main() -> bool:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            await waiter.wait_all(ids)
            return waiter._listing_poller._listing is None

    assert asyncio.run(main())
    assert listings(cloud) == []


def test_waits_that_start_together_do_not_wait_for_the_next_listing(cloud: SimulatedCloud) -> None:
    """A listing is made for them, or they poll, however long the period of listings is."""
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


def test_listings_become_rarer_as_tasks_age(cloud: SimulatedCloud) -> None:
    """As individual polls do."""
    wait_all(cloud, [cloud.add(finishes(3000)) for _ in range(40)], learn=False, price=0.2)
    assert 180 < len(listings(cloud)) < 270


def test_large_tasks_are_not_listed() -> None:
    """Their bytes cost as much as individual polls."""
    cloud = check_outcomes(lambda results: [{**one, "data": "x" * 20_000} for one in results])
    assert len(listings(cloud)) <= 3


def test_single_new_wait_does_not_wait_for_a_slow_listing() -> None:
    """Its first poll is individual."""
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


def test_ends_are_forgotten(cloud: SimulatedCloud) -> None:
    """A waiter may live for weeks."""
    ids = [cloud.add(finishes(100 + 40 * place)) for place in range(100)]

    async def main() -> int:
        async with AsyncWaiter(**cloud.async_options, learn=False) as waiter:
            await asyncio.gather(*map(waiter.wait, ids))
            return len(waiter._listing_poller._circuit_breaker._gone_since)

    assert 5 < asyncio.run(main()) < 40


def test_account_with_too_many_foreign_tasks_is_not_listed(cloud: SimulatedCloud) -> None:
    """The first page is no longer than what it may save, and shows that the others do not pay."""
    for _ in range(3000):
        cloud.add(never_ends(), watched=False)
    wait_all(cloud, [cloud.add(finishes(20)) for _ in range(150)])
    assert [request.path.partition("limit=")[2] for request in cloud.requests if "limit=1000" in request.path] == []
    assert len(listings(cloud)) <= 3


def test_listing_is_tried_again_after_foreign_tasks_end(cloud: SimulatedCloud) -> None:
    """One that did not pay is made again later."""
    for _ in range(1500):
        cloud.add(finishes(20), watched=False)
    wait_all(cloud, [cloud.add(finishes(120)) for _ in range(60)], learn=False)
    assert len(listings(cloud)) > 10


def test_transitions_are_reported_once(cloud: SimulatedCloud) -> None:
    """A state that a listing shows is reported like one that a poll shows."""
    phases = (Phase("NEW", 40), Phase("RUNNING", 40, "NETWORK"), Phase("RUNNING", 40), Phase("FINISHED"))
    ids = [cloud.add(Script(phases=phases, task_type="create_image")) for _ in range(40)]
    events: list[Any] = []
    wait_all(cloud, ids, on_event=events.append, learn=False, price=0.2)
    told = [event.fields for event in events if event.name == "task.state_changed" and event.task_id == ids[7]]
    assert [(fields["old"], fields["new"], fields["detailed_state"]) for fields in told] == [
        (None, "NEW", None),
        ("NEW", "RUNNING", "NETWORK"),
        ("RUNNING", "RUNNING", None),
        ("RUNNING", "FINISHED", None),
    ]
    assert polls(cloud) < 170


def test_task_that_left_the_listing_is_polled_immediately(cloud: SimulatedCloud) -> None:
    """Although its own next poll is far off."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(99)] + [cloud.add(finishes(100))]

    async def wait() -> None:
        async with AsyncWaiter(**cloud.async_options, wait=wait_fixed(50), learn=False) as waiter:
            await waiter.wait_all(ids, return_when="FIRST_COMPLETED")

    asyncio.run(wait())
    assert 100 <= cloud.clock() < 140


def test_common_deadline_needs_no_poll_for_each_wait(cloud: SimulatedCloud) -> None:
    """A listing takes the place of final polls for which the rate limit leaves no room."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(200)]
    outcomes = wait_all(cloud, ids, timeout=60, learn=False, max_rps=10)
    assert {type(outcome.error) for outcome in outcomes} == {TaskTimeoutError}
    assert not [outcome for outcome in outcomes if isinstance(outcome.error, TaskTimeoutError) and outcome.error.last_error]
    assert 60 <= cloud.clock() < 66


def test_two_waits_for_one_task_are_both_served(cloud: SimulatedCloud) -> None:
    """Both get the update."""
    ids = [cloud.add(finishes(40)) for _ in range(30)]

    async def wait() -> list[str]:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            return [task.id for task in await asyncio.gather(*map(waiter.wait, ids + ids))]

    assert asyncio.run(wait()) == ids + ids
    assert listings(cloud)


def test_listings_leave_half_of_the_rate(cloud: SimulatedCloud) -> None:
    """However low ``max_rps`` is."""
    with contextlib.suppress(TasksError):
        asyncio.run(within(cloud, [cloud.add(never_ends(), watched=False) for _ in range(100)], timeout=300, max_rps=0.2))
    assert 10 < len(listings(cloud)) <= 31


async def within(cloud: SimulatedCloud, ids: list[str], **options: Any) -> None:
    async with AsyncWaiter(**cloud.async_options, learn=False, **options) as waiter:
        await waiter.wait_all(ids)


def test_wait_that_starts_during_a_listing_awaits_the_next() -> None:
    """The next one begins after the wait."""
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


Polls = tuple[ListingPoller, list[asyncio.Task[Any]], list[str]]


def first_polls(count: int, listing: Callable[..., Any], state: TaskState = TaskState.NEW) -> Polls:
    """Start first polls of so many tasks together; return the poller, the polls, and the IDs that are polled individually."""
    polled: list[str] = []

    async def poll(state_of_wait: WaitState) -> TaskSnapshot:
        polled.append(state_of_wait.task_id)
        return TaskSnapshot(Task(id=state_of_wait.task_id, state=state))

    client: Any = SimpleNamespace(list_active=listing, decode_snapshot=lambda body: TaskSnapshot(decode_task(body)))
    poller = ListingPoller(client, poll, None, asyncio.get_running_loop().time, max_rps=100.0)
    states: Any = [
        SimpleNamespace(task_id=f"t-{place}", task=None, time_left=60.0, request_timeout=60.0) for place in range(count)
    ]
    return poller, [asyncio.ensure_future(poller.poll(poller.subscribe(one))) for one in states], polled


def test_waits_that_await_a_listing_poll_when_listings_end() -> None:
    """Closing the poller releases them."""

    async def main() -> tuple[int, int]:
        poller, first, polled = first_polls(60, lambda **_: asyncio.sleep(60))
        await asyncio.sleep(0.01)
        before = len(polled)
        await poller.close()
        await asyncio.gather(*first)
        return before, len(polled)

    assert asyncio.run(main()) == (0, 60)


def test_event_loop_runs_while_thousands_are_woken() -> None:
    """At most a hundred waits are woken in one turn."""
    payload = {"count": 1000, "results": [{"id": f"t-{place}", "state": "NEW"} for place in range(1000)]}

    async def listing(**_: float) -> ActivePage:
        return ActivePage(msgspec.json.encode(payload))

    async def main() -> tuple[int, list[str]]:
        poller, first, polled = first_polls(1000, listing)
        done = [0]
        while done[-1] < 1000:
            await asyncio.sleep(0)
            done.append(sum(one.done() for one in first))
        await poller.close()
        return max(later - earlier for earlier, later in pairwise(done)), polled

    most, polled = asyncio.run(main())
    assert (0 < most <= 100, polled) == (True, [])


def test_final_poll_is_of_the_task_itself() -> None:
    """Whatever a listing has just shown."""

    async def main() -> list[str]:
        poller, _, polled = first_polls(0, lambda **_: asyncio.sleep(60), TaskState.FINISHED)
        state: Any = SimpleNamespace(task_id="t-0", task=Task(id="t-0", state=TaskState.NEW), time_left=0.0)
        subscription = poller.subscribe(state)
        subscription.notify(b'{"id": "t-0", "state": "RUNNING"}')

        snapshot = await poller.poll(subscription)
        return [*polled, snapshot.task.state]

    assert asyncio.run(main()) == ["t-0", "FINISHED"]


def test_blocking_client_of_the_user_is_asked_for_listings_too(cloud: SimulatedCloud) -> None:
    """And for past durations."""
    cloud.add_past("create_vm", [60.0] * 20)
    ids = [cloud.add(finishes(60)) for _ in range(60)]
    with Waiter(**cloud.options) as waiter:
        assert list(waiter.wait_all(ids)) == ids
    paths = " ".join(request.path for request in cloud.requests)
    assert ("task_type=create_vm" in paths, "state=NEW" in paths) == (True, True)


def test_throttled_poll_holds_back_listings_too(cloud: SimulatedCloud) -> None:
    """Retry-After of one task's endpoint holds for the whole account."""
    ids = [cloud.add(finishes(60 if place else 20)) for place in range(40)]
    cloud.fault(status(429, 7), task=ids[0])

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, wait=wait_fixed(3)) as waiter:
            await waiter.wait_all(ids)

    asyncio.run(main())
    throttled_at = next(request.at for request in cloud.requests if request.status == 429)
    assert not [request for request in cloud.requests if throttled_at + 0.01 < request.at < throttled_at + 6.9]


def test_poller_can_be_closed_in_another_event_loop() -> None:
    """The listing is cancelled in its own loop."""

    async def start() -> Polls:
        polls = first_polls(60, lambda **_: asyncio.sleep(60))
        await asyncio.sleep(0.01)
        return polls

    with asyncio.Runner() as own, asyncio.Runner() as other:
        poller, first, polled = own.run(start())
        assert polled == []
        other.run(poller.close())
        own.run(asyncio.wait(first))
        assert len(polled) == 60
        other.run(poller.close())


def test_closed_poller_leaves_no_task() -> None:
    """Its listing has ended when it is closed, not later."""

    async def main() -> bool:
        poller, first, _ = first_polls(60, lambda **_: asyncio.sleep(60))
        await asyncio.sleep(0.01)
        listing = poller._listing
        await poller.close()
        has_ended = listing is not None and listing.done()
        await asyncio.gather(*first)
        return has_ended

    assert asyncio.run(main())


def test_polled_wait_no_longer_awaits_a_listing() -> None:
    """It must not count among those for which the next one is made."""

    async def main() -> tuple[int, int]:
        poller, _, polled = first_polls(0, lambda **_: asyncio.sleep(60))
        for place in range(15):
            state: Any = SimpleNamespace(task_id=f"t-{place}", task=None, time_left=60.0, request_timeout=60.0)
            await poller.poll(poller.subscribe(state))
        await poller.close()
        return len(polled), len(poller._awaiting)

    assert asyncio.run(main()) == (15, 0)


def test_one_needless_poll_pauses_no_listings() -> None:
    """A listing may omit a task for a moment; only more of such polls than it costs make it a bad one."""
    cloud = SimulatedCloud.virtual()
    ids = [cloud.add(finishes(100)) for _ in range(60)]
    without_one = distorted(cloud, lambda rows: [row for row in rows if row["id"] != ids[0]], adjust_count=True)
    wait_all(cloud, ids, learn=False, **without_one)
    assert len(listings(cloud)) > 25
