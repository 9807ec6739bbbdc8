"""One wait from end to end, against the simulation in virtual time."""

from __future__ import annotations

import asyncio
import gc
import math
import re
import warnings
from collections.abc import Generator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from drivers import Driver
from freezegun import freeze_time
from tenacity import wait_fixed

from waiter import (
    ApiUnavailableError,
    AsyncWaiter,
    ConfigurationError,
    CreatedResources,
    Outcome,
    TaskError,
    TaskNotFoundError,
    TasksError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    Waiter,
    WaiterError,
    acknowledge,
    aio,
    wait_for_tasks,
)
from waiter.testing import (
    Phase,
    Script,
    SimulatedCloud,
    appears,
    ended,
    fails,
    finishes,
    hang,
    missing,
    never_ends,
    status,
    vanishes,
)


def poll_times(cloud: SimulatedCloud) -> list[float]:
    """Return when the task was polled, in whole seconds."""
    return [round(request.at) for request in cloud.requests if "?" not in request.path]


def test_finished_task_is_returned_with_its_created_resources(on: Driver, cloud: SimulatedCloud) -> None:
    """The wait returns the task and the IDs of what it created."""
    task_id = cloud.add(finishes(19, {"instances": ["i-1"], "ports": ["p-1", "p-2"]}))
    task = on.wait(cloud, task_id)
    assert (task.id, task.state) == (task_id, TaskState.FINISHED)
    assert task.created_resources == CreatedResources(instances=("i-1",), ports=("p-1", "p-2"))


def test_task_that_has_ended_costs_one_poll(on: Driver, cloud: SimulatedCloud) -> None:
    """No sleep precedes the first poll."""
    task_id = cloud.add(ended({"volumes": ["v-1"]}))
    assert on.wait_for_task(cloud, task_id) == CreatedResources(volumes=("v-1",))
    assert poll_times(cloud) == [0]


def test_response_of_a_create_request_can_be_awaited(on: Driver, cloud: SimulatedCloud) -> None:
    """All tasks of the response are awaited, and their created resources are merged."""
    first = cloud.add(finishes(5, {"instances": ["i-1"]}))
    second = cloud.add(finishes(9, {"instances": ["i-2"], "volumes": ["v-1"]}))
    made = on.wait_for_task(cloud, {"tasks": [first, second]})
    assert {kind: sorted(ids) for kind, ids in made.as_dict().items()} == {"instances": ["i-1", "i-2"], "volumes": ["v-1"]}


def test_sdk_response_object_can_be_awaited(on: Driver, cloud: SimulatedCloud) -> None:
    """An object with ``tasks`` is treated as a mapping."""
    answer: Any = SimpleNamespace(tasks=[cloud.add(finishes(5, {"images": ["m-1"]}))])
    assert on.wait_for_task(cloud, answer) == CreatedResources(images=("m-1",))


def test_response_without_tasks_needs_no_wait(on: Driver, cloud: SimulatedCloud) -> None:
    """``{"tasks": []}`` is a valid no-op: no request is sent, the result is empty, and no key is needed."""
    assert on.wait_for_task(cloud, {"tasks": []}, api_key="") == CreatedResources()
    assert cloud.requests == []


def test_no_tasks_need_no_wait() -> None:
    """Neither one empty response nor an empty list of tasks."""
    assert wait_for_tasks([], api_key="") == {}
    assert asyncio.run(aio.wait_for_tasks([{"tasks": []}], api_key="")) == {}


@pytest.mark.parametrize(
    ("ids", "problem"),
    [([], "one task is needed, and this names none: "), (["a", "b"], r"one task is needed, not 2: wait_all\(\) waits for any")],
    ids=["none", "two"],
)
def test_wait_takes_exactly_one_task(on: Driver, cloud: SimulatedCloud, ids: list[str], problem: str) -> None:
    """Any other number is refused, and the error names the method for several; acknowledge is no different."""
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        on.wait(cloud, {"tasks": ids})
    with Waiter(**cloud.options) as waiter, pytest.raises(ConfigurationError, match=f"^{problem}"):
        waiter.acknowledge(ids)


def test_failed_task_raises_its_error_with_its_created_resources(on: Driver, cloud: SimulatedCloud) -> None:
    """The resources of a failed task are on the error, so that they can be deleted."""
    task_id = cloud.add(fails(7, "Not enough quota", {"volumes": ["v-1"]}, task_type="create_vm"))
    with pytest.raises(TaskError) as caught:
        on.wait(cloud, task_id)
    assert str(caught.value) == f"create_vm failed: Not enough quota ({task_id}); it created volumes v-1"
    assert (caught.value.error, caught.value.created_resources.volumes) == ("Not enough quota", ("v-1",))
    assert caught.value.task.state is TaskState.ERROR


def test_task_that_ends_in_the_last_sleep_is_returned(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that ends during the last sleep before the deadline is not timed out."""
    task_id = cloud.add(finishes(29.9, {"instances": ["i-1"]}))
    assert on.wait(cloud, task_id, timeout=30).state is TaskState.FINISHED
    assert poll_times(cloud)[-1] == 30


def test_timeout_follows_a_final_poll_at_the_deadline(on: Driver, cloud: SimulatedCloud) -> None:
    """A time-out carries the task as last seen, how long the wait took, and how to resume it."""
    task_id = cloud.add(Script(phases=(Phase("RUNNING", detailed_state="NETWORK"),)), watched=False)
    with pytest.raises(TaskTimeoutError) as caught:
        on.wait(cloud, task_id, timeout=60)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.task_id, round(error.waited), error.last_error) == (task_id, 60, None)
    assert error.last_task is not None
    assert error.last_task.detailed_state == "NETWORK"
    assert str(error) == (
        f"not ended after 60 s: last seen RUNNING/NETWORK ({task_id}); "
        "the task is still running: wait for the same ID again to resume"
    )
    assert poll_times(cloud)[-1] == 60


def test_timeout_of_zero_is_one_poll(on: Driver, cloud: SimulatedCloud) -> None:
    """``timeout=0`` polls once."""
    task_id = cloud.add(never_ends())
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=0)
    assert poll_times(cloud) == [0]


def test_poll_under_way_at_the_deadline_is_the_final_one(on: Driver) -> None:
    """It keeps its time-out, and no other poll follows."""
    cloud = SimulatedCloud.virtual(latency=4)
    task_id = cloud.add(never_ends(), watched=False)
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=10, wait=wait_fixed(5))
    assert (poll_times(cloud), round(cloud.elapsed)) == ([0, 9], 13)


def test_task_that_ends_in_a_poll_under_way_at_the_deadline_is_returned(on: Driver) -> None:
    """A slow response counts although it arrives after the deadline."""
    cloud = SimulatedCloud.virtual(latency=8)
    assert on.wait(cloud, cloud.add(ended()), timeout=3).ended


def test_hanging_server_costs_one_request_timeout_after_the_deadline(on: Driver, cloud: SimulatedCloud) -> None:
    """One poll is under way at the deadline, and it is the only one."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(hang(), times=math.inf)
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=3)
    assert (poll_times(cloud), cloud.elapsed <= 3 + 10) == ([0], True)


def test_404_as_the_only_response_is_not_a_timeout(on: Driver, cloud: SimulatedCloud) -> None:
    """A deadline within the grace does not make a task that was never found one that is still running."""
    task_id = cloud.add(missing())
    with pytest.raises(TaskNotFoundError):
        on.wait(cloud, task_id, timeout=5)


def test_timeout_of_none_has_no_limit(on: Driver, cloud: SimulatedCloud) -> None:
    """``timeout=None`` outlasts the default of two hours."""
    task_id = cloud.add(finishes(8_000))
    assert on.wait(cloud, task_id, timeout=None).ended


def test_times_are_seconds_or_timedelta(on: Driver, cloud: SimulatedCloud) -> None:
    """Both are accepted."""
    task_id = cloud.add(never_ends())
    with pytest.raises(TaskTimeoutError, match="after 90 s"):
        on.wait(cloud, task_id, timeout=timedelta(minutes=1.5))


def test_unchanged_task_is_stalled(on: Driver, cloud: SimulatedCloud) -> None:
    """``stall_timeout`` counts from the last change of any field of the task."""
    phases = (Phase("NEW", 20), Phase("RUNNING", 20, "NETWORK"), Phase("RUNNING", detailed_state="POST_DEPLOY_SETUP"))
    task_id = cloud.add(Script(phases=phases), watched=False)
    with pytest.raises(TaskStalledError) as caught:
        on.wait(cloud, task_id, stall_timeout=100)
    assert str(caught.value) == f"no change for 100 s: RUNNING/POST_DEPLOY_SETUP ({task_id}); the task is still running"
    assert (round(caught.value.waited), caught.value.last_task.id) == (100, task_id)
    assert 140 <= cloud.elapsed < 145


def test_changing_task_is_not_stalled(on: Driver, cloud: SimulatedCloud) -> None:
    """A change within ``stall_timeout`` starts it again."""
    task_id = cloud.add(Script(phases=(Phase("NEW", 50), Phase("RUNNING", 50), Phase("FINISHED"))))
    assert on.wait(cloud, task_id, stall_timeout=60).ended


def test_unknown_state_does_not_end_a_wait(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """A state that is not in the API description is logged with one warning."""
    phases = (Phase("PAUSED", 20, "NETWORK"), Phase("PAUSED", 20), Phase("FINISHED"))
    task_id = cloud.add(Script(phases=phases))
    assert on.wait(cloud, task_id, on_event=events.append).ended
    assert [event.fields["state"] for event in events if event.name == "task.state_unknown"] == ["PAUSED"]


def test_task_that_appears_late_is_found(on: Driver, cloud: SimulatedCloud) -> None:
    """404 has a short grace, for a task that was created a moment ago."""
    task_id = cloud.add(appears(6, finishes(10)))
    assert on.wait(cloud, task_id).ended


def test_missing_task_ends_the_wait_after_the_grace(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that is not found for ten seconds does not exist."""
    task_id = cloud.add(missing())
    with pytest.raises(TaskNotFoundError, match=re.escape(f"({task_id})")) as caught:
        on.wait(cloud, task_id)
    assert (caught.value.status, round(cloud.elapsed)) == (404, 10)
    assert caught.value.__cause__ is None


def test_task_that_vanishes_has_the_same_grace(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that was seen and is gone is not found either."""
    task_id = cloud.add(vanishes(30))
    with pytest.raises(TaskNotFoundError):
        on.wait(cloud, task_id)
    assert 40 <= cloud.elapsed < 46


@pytest.mark.parametrize("given", [None, "soon", math.nan, timedelta(seconds=1)], ids=repr)
def test_strategy_must_give_seconds(on: Driver, given: Any) -> None:
    """The error shows the value and names the argument."""
    cloud = SimulatedCloud.virtual()
    with pytest.raises(
        ConfigurationError, match=f"wait: the strategy must give seconds, 0 or more, not {re.escape(repr(given))}"
    ):
        on.wait(cloud, cloud.add(finishes(20)), wait=lambda _: given)


def test_strategy_replaces_the_schedule(on: Driver, cloud: SimulatedCloud) -> None:
    """Any tenacity wait strategy sets the intervals."""
    task_id = cloud.add(finishes(20))
    on.wait(cloud, task_id, wait=wait_fixed(7))
    assert poll_times(cloud) == [0, 7, 14, 21]


def test_higher_price_sends_fewer_requests(on: Driver) -> None:
    """``price`` is the seconds of delay that one request is worth."""
    counts = []
    for price in (0.05, 0.2, 2.0):
        cloud = SimulatedCloud.virtual()
        on.wait(cloud, cloud.add(finishes(300)), price=price, learn=False)
        counts.append(len(cloud.requests))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[2]


def test_intervals_follow_the_age_of_the_task(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that is an hour old is not polled as often as a new one."""
    task_id = cloud.add(finishes(3700, age=3600))
    on.wait(cloud, task_id, learn=False, price=0.2)
    assert len(cloud.requests) <= 5


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_jump_of_the_wall_clock_changes_nothing(on: Driver, jump: timedelta) -> None:
    """Deadlines, ages and intervals do not depend on the local wall clock."""

    def times(*, jumping: bool) -> list[float]:
        cloud = SimulatedCloud.virtual()
        task_id = cloud.add(never_ends())
        with freeze_time("2026-07-01 12:00:00", real_asyncio=True) as frozen, pytest.raises(TaskTimeoutError):
            on.wait(cloud, task_id, timeout=120, on_event=lambda _: jumping and frozen.tick(jump), wait=wait_fixed(11))
        return [request.at for request in cloud.requests]

    assert times(jumping=True) == times(jumping=False)


def test_ctrl_c_adds_a_note_that_the_task_is_still_running(on: Driver, cloud: SimulatedCloud) -> None:
    """The interruption itself is raised immediately."""
    task_id = cloud.add(never_ends(), watched=False)

    def interrupt(_: object) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        on.wait(cloud, task_id, wait=interrupt)
    assert caught.value.__notes__ == [f"the wait for task {task_id} was interrupted; the task is still running"]


def test_ctrl_c_during_many_waits_adds_one_note(cloud: SimulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note counts the tasks."""

    def interrupted(*_: object) -> Generator[list[Outcome], None, None]:
        yield []
        raise KeyboardInterrupt

    monkeypatch.setattr("waiter.batch.completion.iterate_in_background", interrupted)
    with Waiter(**cloud.options) as waiter, pytest.raises(KeyboardInterrupt) as caught:
        waiter.wait_all(["t-1", "t-2"])
    assert caught.value.__notes__ == ["the wait for 2 tasks was interrupted; the tasks are still running"]


def test_sleep_is_at_most_a_day(on: Driver, cloud: SimulatedCloud) -> None:
    """An infinite delay of a strategy is limited to a day."""
    task_id = cloud.add(finishes(100))
    on.wait(cloud, task_id, timeout=None, wait=wait_fixed(math.inf))
    assert poll_times(cloud) == [0, 86_400]


def test_status_is_one_poll_whatever_the_state(cloud: SimulatedCloud) -> None:
    """``status`` returns a running task and does not sleep."""
    task_id = cloud.add(never_ends())
    with Waiter(**cloud.options) as waiter:
        assert waiter.status(task_id).state is TaskState.RUNNING
    assert poll_times(cloud) == [0]


def test_acknowledged_task_is_returned(cloud: SimulatedCloud) -> None:
    """``acknowledge`` sends one request, and the task shows it, whatever its state."""
    task_id, other = cloud.add(never_ends()), cloud.add(never_ends())
    with Waiter(**cloud.options) as waiter:
        assert waiter.status(task_id).acknowledged_at is None
        assert waiter.acknowledge({"tasks": [task_id]}).acknowledged_at is not None
        assert waiter.status(task_id).acknowledged_at is not None
    assert acknowledge(other, **cloud.options).state is TaskState.RUNNING
    assert [request.path for request in cloud.requests if request.method == "POST"] == [
        f"/cloud/v1/tasks/{one}/acknowledge" for one in (task_id, other)
    ]


def test_failed_acknowledgement_raises(cloud: SimulatedCloud) -> None:
    """``acknowledge`` does not retry."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(status(503))
    with pytest.raises(ApiUnavailableError, match="503"):
        acknowledge(task_id, **cloud.options)
    assert len(cloud.requests) == 1


def test_failed_poll_of_status_raises(cloud: SimulatedCloud) -> None:
    """``status`` does not retry."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(status(403, message="No such right"))
    with Waiter(**cloud.options) as waiter, pytest.raises(Exception, match=r"permission denied.*No such right"):
        waiter.status(task_id)


@pytest.mark.parametrize("driver", ["blocking", "awaited"])
def test_limits_of_one_wait_replace_those_of_the_waiter(driver: str, cloud: SimulatedCloud) -> None:
    """Unknown names are refused, all in one error."""
    task_id = cloud.add(never_ends(), watched=False)

    def blocking(**limits: Any) -> None:
        with Waiter(**cloud.options, timeout=60) as waiter:
            waiter.wait(task_id, **limits)

    def awaited(**limits: Any) -> None:
        async def wait() -> None:
            async with AsyncWaiter(**cloud.async_options, timeout=60) as waiter:
                await waiter.wait(task_id, **limits)

        asyncio.run(wait())

    wait = blocking if driver == "blocking" else awaited
    with pytest.raises(TaskTimeoutError) as late:
        wait(timeout=5)
    assert late.value.waited == 5.0
    with pytest.raises(TaskStalledError):
        wait(stall_timeout=timedelta(seconds=20))
    with pytest.raises(ConfigurationError) as caught:
        wait(timeout="5m", max_outage=-1)
    assert len(caught.value.problems) == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'price'"):
        wait(price=1)


@pytest.mark.parametrize("call", ["wait", "wait_all", "status", "past"])
def test_closed_waiter_refuses_calls(cloud: SimulatedCloud, call: str) -> None:
    """The error is a WaiterError, and nothing is requested."""
    with Waiter(**cloud.options) as waiter:
        pass
    with pytest.raises(WaiterError, match="the waiter is closed"):
        getattr(waiter, call)(["t-1", "t-2"] if call == "wait_all" else "t-1")


@pytest.mark.parametrize("call", ["wait", "wait_all", "status"])
def test_closed_async_waiter_refuses_calls(cloud: SimulatedCloud, call: str) -> None:
    """Entering it again is refused too."""

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            pass
        with pytest.raises(WaiterError, match="the waiter is closed"):
            await getattr(waiter, call)(["t-1", "t-2"] if call == "wait_all" else "t-1")
        with pytest.raises(WaiterError, match="the waiter is closed"):
            async with waiter:
                pass

    asyncio.run(main())


def test_shared_async_waiter_is_closed_by_the_last_caller(cloud: SimulatedCloud) -> None:
    """Each of them uses it as a context manager."""
    ids = [cloud.add(finishes(seconds)) for seconds in (5, 50)]

    async def use(waiter: AsyncWaiter, task_id: str) -> bool:
        async with waiter:
            return (await waiter.wait(task_id)).ended

    async def main() -> list[bool]:
        waiter = AsyncWaiter(**cloud.async_options)
        return await asyncio.gather(*(use(waiter, task_id) for task_id in ids))

    assert asyncio.run(main()) == [True, True]


def test_async_waiter_can_be_closed_in_another_event_loop() -> None:
    """Its own loop is gone by then, and its connections with it."""
    cloud = SimulatedCloud(strict=False)
    ids = [cloud.add(never_ends()) for _ in range(30)]
    with cloud.serve() as url:
        waiter = AsyncWaiter(api_key=cloud.api_key, base_url=url, timeout=0.2)
        with pytest.raises(TasksError):
            asyncio.run(waiter.wait_all(ids))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the first loop has left its connections open
            asyncio.run(waiter.close())
            del waiter
            gc.collect()
