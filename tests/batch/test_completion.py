"""Several waits together, on both drivers: results, errors, order and cancellation."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from tenacity import wait_fixed

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
from waiter.batch.completion import iterate_in_background, outcomes_as_completed, run_in_thread
from waiter.config.task_ids import all_task_ids
from waiter.outcome import OutcomeCollector
from waiter.testing import SimulatedCloud, ended, fails, finishes, never_ends

Wait = Callable[..., Any]


class Blocking:
    """Wait for many tasks with the blocking functions."""

    def wait_all(self, cloud: SimulatedCloud, ids: Any, waiter: Any = None, **options: Any) -> dict[str, Task]:
        with Waiter(**cloud.options | (waiter or {})) as one:
            return one.wait_all(ids, **options)

    def as_completed(self, cloud: SimulatedCloud, ids: Any) -> list[Outcome]:
        with Waiter(**cloud.options) as waiter:
            return list(waiter.as_completed(ids))

    def wait_for_tasks(self, cloud: SimulatedCloud, ids: Any) -> dict[str, CreatedResources]:
        return wait_for_tasks(ids, **cloud.options)

    def wait_for_task(self, cloud: SimulatedCloud, ref: Any) -> CreatedResources:
        return wait_for_task(ref, **cloud.options)


class Awaited:
    """Wait for many tasks with the awaited functions."""

    def wait_all(self, cloud: SimulatedCloud, ids: Any, waiter: Any = None, **options: Any) -> dict[str, Task]:
        async def wait() -> dict[str, Task]:
            async with AsyncWaiter(**cloud.async_options | (waiter or {})) as one:
                return await one.wait_all(ids, **options)

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


def test_results_are_in_the_order_asked_for(many: Many, cloud: SimulatedCloud) -> None:
    """Each task comes once, whatever the order in which they end."""
    slow, quick = cloud.add(finishes(19)), cloud.add(finishes(3))
    tasks = many.wait_all(cloud, [slow, quick, {"tasks": [slow]}])
    assert [(task_id, task.id, str(task.state)) for task_id, task in tasks.items()] == [
        (slow, slow, "FINISHED"),
        (quick, quick, "FINISHED"),
    ]


def test_outcomes_come_as_tasks_end(many: Many, cloud: SimulatedCloud) -> None:
    """A failure is an outcome like any other."""
    slow, bad, quick = cloud.add(finishes(60)), cloud.add(fails(20)), cloud.add(finishes(3))
    outcomes = many.as_completed(cloud, [slow, bad, quick])
    assert [(outcome.task_id, type(outcome.error)) for outcome in outcomes] == [
        (quick, type(None)),
        (bad, TaskError),
        (slow, type(None)),
    ]


def test_waits_run_side_by_side(many: Many, cloud: SimulatedCloud) -> None:
    """Twenty tasks of a minute take a minute."""
    many.wait_all(cloud, [cloud.add(finishes(60)) for _ in range(20)])
    assert 60 <= cloud.clock() < 75


def test_one_failure_keeps_the_other_results(many: Many, cloud: SimulatedCloud) -> None:
    """The error holds what succeeded and what failed."""
    good, bad = cloud.add(finishes(9, {"instances": ["i-1"]})), cloud.add(fails(3))
    with pytest.raises(TasksError, match="1 of 2 tasks failed") as caught:
        many.wait_all(cloud, [good, bad])
    assert (list(caught.value.succeeded), list(caught.value.failed), caught.value.pending) == ([good], [bad], ())
    assert caught.value.created_resources == CreatedResources(instances=("i-1",))


@pytest.mark.parametrize("return_when", ["FIRST_COMPLETED", ReturnWhen.FIRST_COMPLETED])
def test_first_completed_returns_after_one_task(many: Many, cloud: SimulatedCloud, return_when: str) -> None:
    """What is missing from the result had not ended."""
    quick = cloud.add(finishes(3))
    assert list(many.wait_all(cloud, [cloud.add(never_ends()), quick], return_when=return_when)) == [quick]


def test_first_exception_returns_after_one_failure(many: Many, cloud: SimulatedCloud) -> None:
    """The error names the tasks that had not ended."""
    goes_on, good, bad = cloud.add(never_ends()), cloud.add(finishes(3)), cloud.add(fails(30))
    with pytest.raises(TasksError, match="1 of 3 tasks failed") as caught:
        many.wait_all(cloud, [goes_on, good, bad], return_when="FIRST_EXCEPTION")
    assert (list(caught.value.succeeded), list(caught.value.failed), caught.value.pending) == ([good], [bad], (goes_on,))


def test_first_exception_without_failure_waits_for_all(many: Many, cloud: SimulatedCloud) -> None:
    """FIRST_EXCEPTION without one waits for all."""
    ids = [cloud.add(finishes(3)), cloud.add(finishes(30))]
    assert list(many.wait_all(cloud, ids, return_when="FIRST_EXCEPTION")) == ids


def test_no_tasks_make_no_requests(many: Many, cloud: SimulatedCloud) -> None:
    """An empty list is no error."""
    assert (many.wait_all(cloud, []), many.as_completed(cloud, []), cloud.requests) == ({}, [], [])


def test_one_task_is_accepted_where_many_are(many: Many, cloud: SimulatedCloud) -> None:
    """A single ID is not taken for a list of letters."""
    good, bad = cloud.add(finishes(3)), cloud.add(fails(3))
    assert list(many.wait_all(cloud, good)) == [good]
    assert [type(outcome.error) for outcome in many.as_completed(cloud, bad)] == [TaskError]


def test_created_resources_by_task_and_merged(many: Many, cloud: SimulatedCloud) -> None:
    """wait_for_tasks returns them by task, wait_for_task merges them."""
    ids = [cloud.add(finishes(3, {"instances": ["i-1"]})), cloud.add(finishes(9, {"volumes": ["v-1"]}))]
    assert many.wait_for_tasks(cloud, ids) == {
        ids[0]: CreatedResources(instances=("i-1",)),
        ids[1]: CreatedResources(volumes=("v-1",)),
    }
    assert many.wait_for_task(cloud, {"tasks": ids}) == CreatedResources(instances=("i-1",), volumes=("v-1",))


def test_return_when_is_checked(many: Many, cloud: SimulatedCloud) -> None:
    """Before any request."""
    names = "ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION"
    with pytest.raises(ConfigurationError, match=f"return_when must be {names}, not 'some'"):
        many.wait_all(cloud, ["t-1"], return_when="some")


def test_every_bad_id_is_named() -> None:
    """All problems are in one error."""
    with pytest.raises(ConfigurationError) as caught:
        all_task_ids(["t-1", "no/id", {"tasks": ["../x"]}])
    assert caught.value.problems == ("not a task ID: 'no/id'", "not a task ID: '../x'")


def test_outcome_returns_its_task_or_raises(cloud: SimulatedCloud) -> None:
    """As a future's result does."""
    good, bad = cloud.add(finishes(3)), cloud.add(fails(3))
    results = {outcome.task_id: outcome for outcome in Blocking().as_completed(cloud, [good, bad])}
    assert results[good].result().id == good
    with pytest.raises(TaskError):
        results[bad].result()


def test_subgroup_compares_errors_by_identity() -> None:
    """Errors of a group may be unhashable and incomparable."""

    class IncomparableError(WaiterError):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, _: object) -> bool:
            raise AssertionError

    failed = {str(number): IncomparableError(number) for number in range(4)}
    group = TasksError.of(succeeded={}, failed=failed)
    part = group.subgroup(lambda error: error is not group and error.args != (2,))
    assert isinstance(part, TasksError)
    assert list(part.failed) == ["0", "1", "3"]


def test_collector_does_not_walk_all_outcomes_for_each_batch() -> None:
    """Thousands of batches hold one outcome each."""

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


def test_cancelled_wait_leaves_the_others_running(cloud: SimulatedCloud) -> None:
    """Each wait of a waiter is its own."""
    quick, slow = cloud.add(finishes(3), watched=False), cloud.add(finishes(30))

    async def main() -> str:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            waits = [asyncio.ensure_future(waiter.wait(task_id)) for task_id in (quick, slow)]
            await cloud.async_sleep(1)
            waits[0].cancel()
            return (await waits[1]).id

    assert asyncio.run(main()) == slow


def test_slow_consumer_gets_every_outcome(cloud: SimulatedCloud) -> None:
    """Tasks that end while the consumer awaits something else come next."""
    ids = [cloud.add(finishes(seconds)) for seconds in (3, 6, 9, 40)]

    async def main() -> list[str]:
        heard: list[str] = []
        async with asyncio.timeout(30), AsyncWaiter(**cloud.async_options, wait=wait_fixed(1)) as waiter:
            async for outcome in waiter.as_completed(ids):
                heard.append(outcome.task_id)
                await cloud.async_sleep(15)
        return heard

    assert asyncio.run(main()) == ids


def test_closing_the_iterator_cancels_the_waits(cloud: SimulatedCloud) -> None:
    """Nothing is left running in the event loop."""
    ids = [cloud.add(never_ends()), cloud.add(finishes(3))]

    async def main() -> int:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            outcomes = waiter.as_completed(ids)
            async for _ in outcomes:
                break
            await outcomes.aclose()
            return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_closing_the_blocking_iterator_ends_its_thread(cloud: SimulatedCloud) -> None:
    """For blocking callers too."""
    ids = [cloud.add(never_ends()), cloud.add(finishes(3))]
    before = set(threading.enumerate())
    with Waiter(**cloud.options) as waiter:
        for outcome in waiter.as_completed(ids):
            assert outcome.task_id == ids[1]
            break
        gc.collect()
    assert not set(threading.enumerate()) - before


class BrokenAfter:
    """A wait strategy of the user that works so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, _: Any) -> float:
        self.times -= 1
        if self.times < 0:
            message = "no such interval"
            raise LookupError(message)
        return 2.0


def test_exception_of_a_strategy_hides_no_other_outcome(many: Many, cloud: SimulatedCloud) -> None:
    """It is the cause of the error of its task, and the task that finished is in the error of all."""
    good, slow = cloud.add(finishes(3)), cloud.add(never_ends(), watched=False)
    with pytest.raises(TasksError) as caught:
        many.wait_all(cloud, [good, slow], waiter={"wait": BrokenAfter(6)})
    assert list(caught.value.succeeded) == [good]
    error = caught.value.failed[slow]
    assert (type(error), str(error)) == (WaiterError, f"the wait ended with LookupError: no such interval ({slow})")
    assert isinstance(error.__cause__, LookupError)


def test_exception_of_a_sleep_hides_no_other_outcome(cloud: SimulatedCloud) -> None:
    """Blocking waits share one sleep; the wait that was due when it failed gets its exception."""
    good, slow = cloud.add(finishes(30)), cloud.add(never_ends(), watched=False)
    failing: list[float] = []

    def sleep(seconds: float) -> None:
        cloud.sleep(seconds)
        if cloud.clock() > 40 and not failing:
            failing.append(cloud.clock())
            raise LookupError

    with Waiter(**cloud.options | {"sleep": sleep}) as waiter, pytest.raises(TasksError) as caught:
        waiter.wait_all([good, slow])
    assert (list(caught.value.succeeded), type(caught.value.failed[slow].__cause__)) == ([good], LookupError)


def test_event_loop_runs_while_thousands_start() -> None:
    """At most a hundred waits start in one turn."""
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
        batch = await anext(outcomes_as_completed(wait, map(str, range(1000))))
        assert {type(outcome.error) for outcome in batch} == {WaiterError}
        await ticking

    asyncio.run(main())
    assert max(later - earlier for earlier, later in pairwise(turns)) <= 100


def test_interruption_cancels_the_background_generator() -> None:
    """Ctrl-C is raised in the thread that consumes it."""
    ended = threading.Event()

    async def count() -> Any:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            ended.set()

    items: Any = iterate_in_background(count)
    assert next(items) == 1
    with pytest.raises(KeyboardInterrupt):
        items.throw(KeyboardInterrupt)
    assert ended.is_set()


def test_exception_in_the_background_is_raised_in_the_foreground() -> None:
    """As it is."""

    async def fail() -> Any:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        list(iterate_in_background(fail))


@pytest.fixture
def server() -> Iterator[tuple[SimulatedCloud, str]]:
    cloud = SimulatedCloud()
    with cloud.serve() as url:
        yield cloud, url
    cloud.verify()


def test_many_over_real_http(server: tuple[SimulatedCloud, str]) -> None:
    """A blocking waiter runs an event loop in the background."""
    cloud, url = server
    ids = [cloud.add(ended()), cloud.add(ended())]
    with Waiter(api_key=cloud.api_key, base_url=url) as waiter:
        assert list(waiter.wait_all(ids)) == ids


def test_many_over_a_blocking_client_of_the_user(server: tuple[SimulatedCloud, str]) -> None:
    """It is called from threads, and not closed."""
    cloud, url = server
    ids = [cloud.add(ended()), cloud.add(ended())]
    with httpx.Client(trust_env=False) as client, Waiter(api_key=cloud.api_key, base_url=url, client=client) as waiter:
        assert list(waiter.wait_all(ids)) == ids
        assert not client.is_closed


def test_blocking_call_inside_a_running_event_loop(server: tuple[SimulatedCloud, str]) -> None:
    """As in a notebook."""
    cloud, url = server
    ids = [cloud.add(ended()), cloud.add(ended())]

    async def cell() -> dict[str, CreatedResources]:
        return wait_for_tasks(ids, api_key=cloud.api_key, base_url=url)

    assert asyncio.run(cell()) == dict.fromkeys(ids, CreatedResources())


def test_cancellation_does_not_wait_for_a_blocking_call() -> None:
    """Its thread ends when the call does."""
    began, release, ended_calls = threading.Event(), threading.Event(), list[bool]()

    def block() -> None:
        began.set()
        ended_calls.append(release.wait(30))

    async def main() -> int:
        call = asyncio.ensure_future(run_in_thread(block))
        await asyncio.to_thread(began.wait, 30)
        call.cancel()
        await asyncio.wait([call])
        ended_before = len(ended_calls)
        release.set()
        return ended_before

    assert asyncio.run(main()) == 0
