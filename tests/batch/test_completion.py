"""Several waits at once, on both drivers: results, errors, order, and who stops when."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from waiter import (
    AsyncWaiter,
    ConfigurationError,
    CreatedResources,
    Outcome,
    ReturnWhen,
    Task,
    TaskError,
    TasksError,
    Waiter,
    WaiterError,
    aio,
    wait_for_task,
    wait_for_tasks,
)
from waiter.batch.completion import in_background, in_order_of_ending
from waiter.config.task_ids import all_task_ids
from waiter.outcome import OutcomeCollector
from waiter.testing import SimulatedCloud, ended, fails, finishes, never_ends

Wait = Callable[..., Any]


class Blocking:
    """The ways to wait for many, blocking."""

    def wait_all(self, cloud: SimulatedCloud, ids: Any, **options: Any) -> dict[str, Task]:
        with Waiter(**cloud.options) as waiter:
            return waiter.wait_all(ids, **options)

    def as_completed(self, cloud: SimulatedCloud, ids: Any) -> list[Outcome]:
        with Waiter(**cloud.options) as waiter:
            return list(waiter.as_completed(ids))

    def wait_for_tasks(self, cloud: SimulatedCloud, ids: Any) -> dict[str, CreatedResources]:
        return wait_for_tasks(ids, **cloud.options)

    def wait_for_task(self, cloud: SimulatedCloud, ref: Any) -> CreatedResources:
        return wait_for_task(ref, **cloud.options)


class Awaited:
    """The same, awaited."""

    def wait_all(self, cloud: SimulatedCloud, ids: Any, **options: Any) -> dict[str, Task]:
        async def wait() -> dict[str, Task]:
            async with AsyncWaiter(**cloud.async_options) as waiter:
                return await waiter.wait_all(ids, **options)

        return asyncio.run(wait())

    def as_completed(self, cloud: SimulatedCloud, ids: Any) -> list[Outcome]:
        async def wait() -> list[Outcome]:
            async with AsyncWaiter(**cloud.async_options) as waiter:
                return [outcome async for outcome in waiter.as_completed(ids)]

        return asyncio.run(wait())

    def wait_for_tasks(self, cloud: SimulatedCloud, ids: Any) -> dict[str, CreatedResources]:
        return asyncio.run(aio.wait_for_tasks(ids, **cloud.async_options))

    def wait_for_task(self, cloud: SimulatedCloud, ref: Any) -> CreatedResources:
        return asyncio.run(aio.wait_for_task(ref, **cloud.async_options))


Many = Blocking | Awaited


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def many(request: pytest.FixtureRequest) -> Many:
    made: Many = request.param()
    return made


def test_all_finish(many: Many, cloud: SimulatedCloud) -> None:
    """The tasks come in the order asked for, each once, whatever the order in which they end."""
    slow, quick = cloud.add(finishes(19)), cloud.add(finishes(3))
    tasks = many.wait_all(cloud, [slow, quick, {"tasks": [slow]}])
    assert [(task_id, task.id, str(task.state)) for task_id, task in tasks.items()] == [
        (slow, slow, "FINISHED"),
        (quick, quick, "FINISHED"),
    ]


def test_they_come_as_they_end(many: Many, cloud: SimulatedCloud) -> None:
    """A bad end is an outcome like any other."""
    slow, bad, quick = cloud.add(finishes(60)), cloud.add(fails(20)), cloud.add(finishes(3))
    outcomes = many.as_completed(cloud, [slow, bad, quick])
    assert [(outcome.task_id, type(outcome.error)) for outcome in outcomes] == [
        (quick, type(None)),
        (bad, TaskError),
        (slow, type(None)),
    ]


def test_they_are_awaited_side_by_side(many: Many, cloud: SimulatedCloud) -> None:
    """Twenty tasks of a minute take a minute."""
    many.wait_all(cloud, [cloud.add(finishes(60)) for _ in range(20)])
    assert 60 <= cloud.clock() < 75


def test_one_bad_end_keeps_the_rest(many: Many, cloud: SimulatedCloud) -> None:
    """The error has what succeeded and what failed."""
    good, bad = cloud.add(finishes(9, {"instances": ["i-1"]})), cloud.add(fails(3))
    with pytest.raises(TasksError, match="1 of 2 tasks ended badly") as caught:
        many.wait_all(cloud, [good, bad])
    assert (list(caught.value.succeeded), list(caught.value.failed), caught.value.pending) == ([good], [bad], ())
    assert caught.value.created_resources == CreatedResources(instances=("i-1",))


@pytest.mark.parametrize("return_when", ["FIRST_COMPLETED", ReturnWhen.FIRST_COMPLETED])
def test_the_first_end_is_enough(many: Many, cloud: SimulatedCloud, return_when: str) -> None:
    """What is missing from the answer had not ended."""
    quick = cloud.add(finishes(3))
    assert list(many.wait_all(cloud, [cloud.add(never_ends()), quick], return_when=return_when)) == [quick]


def test_the_first_bad_end_is_enough(many: Many, cloud: SimulatedCloud) -> None:
    """The error names what had not ended."""
    goes_on, good, bad = cloud.add(never_ends()), cloud.add(finishes(3)), cloud.add(fails(30))
    with pytest.raises(TasksError, match="1 of 3 tasks ended badly") as caught:
        many.wait_all(cloud, [goes_on, good, bad], return_when="FIRST_EXCEPTION")
    assert (list(caught.value.succeeded), list(caught.value.failed), caught.value.pending) == ([good], [bad], (goes_on,))


def test_no_bad_end_is_all_of_them(many: Many, cloud: SimulatedCloud) -> None:
    """FIRST_EXCEPTION without one waits for all."""
    ids = [cloud.add(finishes(3)), cloud.add(finishes(30))]
    assert list(many.wait_all(cloud, ids, return_when="FIRST_EXCEPTION")) == ids


def test_nothing_to_wait_for(many: Many, cloud: SimulatedCloud) -> None:
    """No task is no error and no request."""
    assert (many.wait_all(cloud, []), many.as_completed(cloud, []), cloud.requests) == ({}, [], [])


def test_one_task_of_many(many: Many, cloud: SimulatedCloud) -> None:
    """One is a number too, and one ID is not a list of letters."""
    good, bad = cloud.add(finishes(3)), cloud.add(fails(3))
    assert list(many.wait_all(cloud, good)) == [good]
    assert [type(outcome.error) for outcome in many.as_completed(cloud, bad)] == [TaskError]


def test_what_they_created(many: Many, cloud: SimulatedCloud) -> None:
    """wait_for_tasks tells them apart, wait_for_task puts them together."""
    ids = [cloud.add(finishes(3, {"instances": ["i-1"]})), cloud.add(finishes(9, {"volumes": ["v-1"]}))]
    assert many.wait_for_tasks(cloud, ids) == {
        ids[0]: CreatedResources(instances=("i-1",)),
        ids[1]: CreatedResources(volumes=("v-1",)),
    }
    assert many.wait_for_task(cloud, {"tasks": ids}) == CreatedResources(instances=("i-1",), volumes=("v-1",))


def test_return_when_is_checked(many: Many, cloud: SimulatedCloud) -> None:
    """Before anything is asked."""
    names = "ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION"
    with pytest.raises(ConfigurationError, match=f"return_when must be {names}, not 'some'"):
        many.wait_all(cloud, ["t-1"], return_when="some")


def test_every_bad_id_is_named() -> None:
    """All problems at once."""
    with pytest.raises(ConfigurationError) as caught:
        all_task_ids(["t-1", "no/id", {"tasks": ["../x"]}])
    assert caught.value.problems == ("not a task ID: 'no/id'", "not a task ID: '../x'")


def test_an_outcome_gives_or_raises(cloud: SimulatedCloud) -> None:
    """As a future's result does."""
    good, bad = cloud.add(finishes(3)), cloud.add(fails(3))
    results = {outcome.task_id: outcome for outcome in Blocking().as_completed(cloud, [good, bad])}
    assert results[good].result().id == good
    with pytest.raises(TaskError):
        results[bad].result()


def test_a_part_of_a_group_compares_no_errors() -> None:
    """Thousands of them are told apart by identity."""

    class IncomparableError(WaiterError):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, _: object) -> bool:
            raise AssertionError

    failed = {str(number): IncomparableError(number) for number in range(4)}
    group = TasksError.of(succeeded={}, failed=failed)
    part = group.subgroup(lambda error: error is not group and error.args != (2,))
    assert isinstance(part, TasksError)
    assert list(part.failed) == ["0", "1", "3"]


def test_a_tally_is_not_counted_anew() -> None:
    """Thousands of batches of one outcome each."""

    class Unwalked(dict[str, Any]):
        def values(self) -> Any:
            raise AssertionError

    collector = OutcomeCollector(["t-0", "t-1"], "ALL_COMPLETED")
    collector._outcomes = Unwalked(collector._outcomes)
    over = [collector.is_over]
    for task_id in ("t-0", "t-1"):
        collector.add([Outcome(task_id, error=WaiterError())])
        over.append(collector.is_over)
    assert over == [False, False, True]


def test_a_cancelled_wait_leaves_the_others(cloud: SimulatedCloud) -> None:
    """Each wait of a waiter is its own."""
    quick, slow = cloud.add(finishes(3), watched=False), cloud.add(finishes(30))

    async def main() -> str:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            waits = [asyncio.ensure_future(waiter.wait(task_id)) for task_id in (quick, slow)]
            await cloud.async_sleep(1)
            waits[0].cancel()
            return (await waits[1]).id

    assert asyncio.run(main()) == slow


def test_who_listens_may_be_slow(cloud: SimulatedCloud) -> None:
    """What ends while the listener awaits something else is told next."""
    ids = [cloud.add(finishes(seconds)) for seconds in (3, 6, 9, 40)]

    async def main() -> list[str]:
        heard: list[str] = []
        async with asyncio.timeout(30), AsyncWaiter(**cloud.async_options) as waiter:
            async for outcome in waiter.as_completed(ids):
                heard.append(outcome.task_id)
                await cloud.async_sleep(15)
        return heard

    assert asyncio.run(main()) == ids


def test_who_stops_listening_ends_the_waits(cloud: SimulatedCloud) -> None:
    """Nothing goes on in the background."""
    ids = [cloud.add(never_ends()), cloud.add(finishes(3))]

    async def main() -> int:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            outcomes = waiter.as_completed(ids)
            async for _ in outcomes:
                break
            await outcomes.aclose()
            return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_who_stops_listening_ends_the_thread(cloud: SimulatedCloud) -> None:
    """For blocking callers too."""
    ids = [cloud.add(never_ends()), cloud.add(finishes(3))]
    before = threading.active_count()
    with Waiter(**cloud.options) as waiter:
        for outcome in waiter.as_completed(ids):
            assert outcome.task_id == ids[1]
            break
        gc.collect()
    assert threading.active_count() == before


def test_a_fault_of_ours_is_not_an_outcome() -> None:
    """It ends the others and comes out as it is."""
    ended: list[str] = []

    async def wait(task_id: str) -> Task:
        if task_id == "t-1":
            raise ZeroDivisionError
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(task_id)
        raise AssertionError

    async def main() -> None:
        async for _ in in_order_of_ending(wait, ["t-1", "t-2"]):
            pass

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert ended == ["t-2"]


def test_thousands_start_without_a_standstill() -> None:
    """The loop turns in between."""
    turns: list[int] = []
    started = 0

    async def wait(_: str) -> Task:
        nonlocal started
        started += 1
        await asyncio.sleep(0.05)
        raise ZeroDivisionError

    async def tick() -> None:
        while started < 1000:
            turns.append(started)
            await asyncio.sleep(0)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        with pytest.raises(ZeroDivisionError):
            await anext(in_order_of_ending(wait, map(str, range(1000))))
        await ticking

    asyncio.run(main())
    assert max(later - earlier for earlier, later in pairwise(turns)) <= 100


def test_an_interruption_ends_what_runs_in_the_background() -> None:
    """Ctrl-C strikes the thread that waits for it."""
    ended = threading.Event()

    async def count() -> Any:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            ended.set()

    items: Any = in_background(count)
    assert next(items) == 1
    with pytest.raises(KeyboardInterrupt):
        items.throw(KeyboardInterrupt)
    assert ended.is_set()


def test_a_fault_in_the_background_comes_to_the_front() -> None:
    """As it is."""

    async def fail() -> Any:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        list(in_background(fail))


@pytest.fixture
def server() -> Iterator[tuple[SimulatedCloud, str]]:
    cloud = SimulatedCloud()
    with cloud.serve() as url:
        yield cloud, url
    cloud.verify()


def test_many_over_real_http(server: tuple[SimulatedCloud, str]) -> None:
    """A blocking waiter has an event loop in the background."""
    cloud, url = server
    ids = [cloud.add(ended()), cloud.add(ended())]
    with Waiter(api_key=cloud.api_key, base_url=url) as waiter:
        assert list(waiter.wait_all(ids)) == ids


def test_many_over_a_client_of_ones_own(server: tuple[SimulatedCloud, str]) -> None:
    """A blocking client is called from threads."""
    cloud, url = server
    ids = [cloud.add(ended()), cloud.add(ended())]
    with httpx.Client(trust_env=False) as client, Waiter(api_key=cloud.api_key, base_url=url, client=client) as waiter:
        assert list(waiter.wait_all(ids)) == ids
        assert not client.is_closed


def test_a_notebook(server: tuple[SimulatedCloud, str]) -> None:
    """A blocking call works where an event loop runs already."""
    cloud, url = server
    ids = [cloud.add(ended()), cloud.add(ended())]

    async def cell() -> dict[str, CreatedResources]:
        return wait_for_tasks(ids, api_key=cloud.api_key, base_url=url)

    assert asyncio.run(cell()) == dict.fromkeys(ids, CreatedResources())
