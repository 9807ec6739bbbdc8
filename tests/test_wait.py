"""The wait, from end to end, against the simulation in virtual time."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Generator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from drivers import Driver
from freezegun import freeze_time
from tenacity import wait_fixed

from waiter import (
    AsyncWaiter,
    ConfigurationError,
    CreatedResources,
    Outcome,
    TaskError,
    TaskNotFoundError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    Waiter,
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
    missing,
    never_ends,
    status,
    vanishes,
)


def looks(cloud: SimulatedCloud) -> list[float]:
    """When the task's own endpoint was asked, in whole seconds."""
    return [round(request.at) for request in cloud.requests if "?" not in request.path]


def test_a_finished_task_is_returned_with_what_it_created(on: Driver, cloud: SimulatedCloud) -> None:
    """A wait ends with the finished task, and with the IDs of what it made."""
    task_id = cloud.add(finishes(19, {"instances": ["i-1"], "ports": ["p-1", "p-2"]}))
    task = on.wait(cloud, task_id)
    assert (task.id, task.state) == (task_id, TaskState.FINISHED)
    assert task.created_resources == CreatedResources(instances=("i-1",), ports=("p-1", "p-2"))


def test_a_task_that_has_ended_already_costs_one_look(on: Driver, cloud: SimulatedCloud) -> None:
    """Nobody sleeps before the first look."""
    task_id = cloud.add(ended({"volumes": ["v-1"]}))
    assert on.wait_for_task(cloud, task_id) == CreatedResources(volumes=("v-1",))
    assert looks(cloud) == [0]


def test_the_answer_that_started_the_work_can_be_awaited(on: Driver, cloud: SimulatedCloud) -> None:
    """All tasks of an answer are awaited, and what they made is put together."""
    first = cloud.add(finishes(5, {"instances": ["i-1"]}))
    second = cloud.add(finishes(9, {"instances": ["i-2"], "volumes": ["v-1"]}))
    made = on.wait_for_task(cloud, {"tasks": [first, second]})
    assert {kind: sorted(ids) for kind, ids in made.as_dict().items()} == {"instances": ["i-1", "i-2"], "volumes": ["v-1"]}


def test_the_official_sdks_answer_object_can_be_awaited(on: Driver, cloud: SimulatedCloud) -> None:
    """An object with ``tasks`` is as good as a mapping."""
    answer: Any = SimpleNamespace(tasks=[cloud.add(finishes(5, {"images": ["m-1"]}))])
    assert on.wait_for_task(cloud, answer) == CreatedResources(images=("m-1",))


def test_an_answer_without_tasks_is_done_at_once(on: Driver, cloud: SimulatedCloud) -> None:
    """``{"tasks": []}`` is a valid no-op: nothing is asked, nothing was made, and no key is needed."""
    assert on.wait_for_task(cloud, {"tasks": []}, api_key="") == CreatedResources()
    assert cloud.requests == []


def test_no_tasks_are_no_work() -> None:
    """Neither for one answer nor for many."""
    assert wait_for_tasks([], api_key="") == {}
    assert asyncio.run(aio.wait_for_tasks([{"tasks": []}], api_key="")) == {}


@pytest.mark.parametrize("ids", [[], ["a", "b"]])
def test_wait_takes_exactly_one_task(on: Driver, cloud: SimulatedCloud, ids: list[str]) -> None:
    """Anything but one task is refused with the way to wait for many."""
    with pytest.raises(ConfigurationError, match=f"one task, not {len(ids)}: wait_all"):
        on.wait(cloud, {"tasks": ids})


def test_a_failed_task_raises_its_error_with_what_it_left_behind(on: Driver, cloud: SimulatedCloud) -> None:
    """The resources of a failed task are on the error, so that they can be cleaned up."""
    task_id = cloud.add(fails(7, "Not enough quota", {"volumes": ["v-1"]}, task_type="create_vm"))
    with pytest.raises(TaskError) as caught:
        on.wait(cloud, task_id)
    assert str(caught.value) == f"create_vm failed: Not enough quota ({task_id}); it leaves volumes v-1"
    assert (caught.value.error, caught.value.created_resources.volumes) == ("Not enough quota", ("v-1",))
    assert caught.value.task.state is TaskState.ERROR


def test_the_end_of_the_last_sleep_is_not_too_late(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that ends during the last sleep before the deadline is returned, not timed out."""
    task_id = cloud.add(finishes(29.9, {"instances": ["i-1"]}))
    assert on.wait(cloud, task_id, timeout=30).state is TaskState.FINISHED
    assert looks(cloud)[-1] == 30


def test_the_time_is_up_with_a_last_look_at_the_deadline(on: Driver, cloud: SimulatedCloud) -> None:
    """A time-out knows the task as last seen, how long it waited, and how to go on."""
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
        "the task goes on: wait for the same ID again to take up the wait"
    )
    assert looks(cloud)[-1] == 60


def test_a_timeout_of_zero_is_one_look(on: Driver, cloud: SimulatedCloud) -> None:
    """``timeout=0`` asks once."""
    task_id = cloud.add(never_ends())
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=0)
    assert looks(cloud) == [0]


def test_a_look_that_is_answered_after_the_deadline_is_not_the_last(on: Driver) -> None:
    """A look that begins before the deadline is cut off there, and the task is asked for once more."""
    cloud = SimulatedCloud.virtual(latency=4)
    task_id = cloud.add(never_ends())
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=10, wait=wait_fixed(5))
    assert looks(cloud) == [0, 9, 10]
    assert cloud.elapsed == 14


def test_no_timeout_waits_for_ever(on: Driver, cloud: SimulatedCloud) -> None:
    """``timeout=None`` outlasts the default of two hours."""
    task_id = cloud.add(finishes(8_000))
    assert on.wait(cloud, task_id, timeout=None).ended


def test_a_timedelta_is_as_good_as_seconds(on: Driver, cloud: SimulatedCloud) -> None:
    """Times are seconds or a timedelta."""
    task_id = cloud.add(never_ends())
    with pytest.raises(TaskTimeoutError, match="after 90 s"):
        on.wait(cloud, task_id, timeout=timedelta(minutes=1.5))


def test_a_task_that_shows_no_change_is_stalled(on: Driver, cloud: SimulatedCloud) -> None:
    """``stall_timeout`` counts from the last change of anything that the API shows."""
    phases = (Phase("NEW", 20), Phase("RUNNING", 20, "NETWORK"), Phase("RUNNING", detailed_state="POST_DEPLOY_SETUP"))
    task_id = cloud.add(Script(phases=phases), watched=False)
    with pytest.raises(TaskStalledError) as caught:
        on.wait(cloud, task_id, stall_timeout=100)
    assert str(caught.value) == f"no change for 100 s: RUNNING/POST_DEPLOY_SETUP ({task_id}); the task goes on"
    assert (round(caught.value.waited), caught.value.last_task.id) == (100, task_id)
    assert 140 <= cloud.elapsed < 145


def test_a_changing_task_is_not_stalled(on: Driver, cloud: SimulatedCloud) -> None:
    """A change in time is no stall."""
    task_id = cloud.add(Script(phases=(Phase("NEW", 50), Phase("RUNNING", 50), Phase("FINISHED"))))
    assert on.wait(cloud, task_id, stall_timeout=60).ended


def test_an_unknown_state_is_not_the_end(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """A state that the description does not know is waited out, with one warning."""
    phases = (Phase("PAUSED", 20, "NETWORK"), Phase("PAUSED", 20), Phase("FINISHED"))
    task_id = cloud.add(Script(phases=phases))
    assert on.wait(cloud, task_id, on_event=events.append).ended
    assert [event.fields["state"] for event in events if event.name == "task.state_unknown"] == ["PAUSED"]


def test_a_task_that_appears_late_is_found(on: Driver, cloud: SimulatedCloud) -> None:
    """404 gets a short grace, in case the task was made an instant ago."""
    task_id = cloud.add(appears(6, finishes(10)))
    assert on.wait(cloud, task_id).ended


def test_a_task_that_is_not_there_ends_the_wait_after_the_grace(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that stays unknown for ten seconds is not there."""
    task_id = cloud.add(missing())
    with pytest.raises(TaskNotFoundError, match=re.escape(f"({task_id})")) as caught:
        on.wait(cloud, task_id)
    assert (caught.value.status, round(cloud.elapsed)) == (404, 10)
    assert caught.value.__cause__ is None


def test_a_task_that_vanishes_has_the_same_grace(on: Driver, cloud: SimulatedCloud) -> None:
    """A task that was seen and is gone is not found either."""
    task_id = cloud.add(vanishes(30))
    with pytest.raises(TaskNotFoundError):
        on.wait(cloud, task_id)
    assert 40 <= cloud.elapsed < 46


@pytest.mark.parametrize("given", [None, "soon", math.nan, timedelta(seconds=1)], ids=repr)
def test_a_strategy_must_give_seconds(on: Driver, given: Any) -> None:
    """What it gives instead is shown, with the argument that it came from."""
    cloud = SimulatedCloud.virtual()
    with pytest.raises(ConfigurationError, match=f"wait: the strategy must give seconds, not {re.escape(repr(given))}"):
        on.wait(cloud, cloud.add(finishes(20)), wait=lambda _: given)


def test_a_users_own_strategy_takes_the_place_of_the_schedule(on: Driver, cloud: SimulatedCloud) -> None:
    """Any tenacity wait strategy sets the pace."""
    task_id = cloud.add(finishes(20))
    on.wait(cloud, task_id, wait=wait_fixed(7))
    assert looks(cloud) == [0, 7, 14, 21]


def test_a_dearer_request_is_sent_less_often(on: Driver) -> None:
    """``price`` is the seconds of delay that one request is worth."""
    counts = []
    for price in (0.05, 0.2, 2.0):
        cloud = SimulatedCloud.virtual()
        on.wait(cloud, cloud.add(finishes(300)), price=price, learn=False)
        counts.append(len(cloud.requests))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[2]


def test_a_wait_that_begins_late_goes_on_at_the_pace_of_the_tasks_age(on: Driver, cloud: SimulatedCloud) -> None:
    """An hour-old task is not looked at every second and a half."""
    task_id = cloud.add(finishes(3700, age=3600))
    on.wait(cloud, task_id, learn=False)
    assert len(cloud.requests) <= 5


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_wall_clock_that_jumps_changes_nothing(on: Driver, jump: timedelta) -> None:
    """Our wall clock has no say in deadlines, ages or pace."""

    def times(*, jumping: bool) -> list[float]:
        cloud = SimulatedCloud.virtual()
        task_id = cloud.add(never_ends())
        with freeze_time("2026-07-01 12:00:00", real_asyncio=True) as frozen, pytest.raises(TaskTimeoutError):
            on.wait(cloud, task_id, timeout=120, on_event=lambda _: jumping and frozen.tick(jump), wait=wait_fixed(11))
        return [request.at for request in cloud.requests]

    assert times(jumping=True) == times(jumping=False)


def test_ctrl_c_ends_the_wait_and_says_that_the_task_goes_on(on: Driver, cloud: SimulatedCloud) -> None:
    """An interruption passes through at once, with a note."""
    task_id = cloud.add(never_ends(), watched=False)

    def interrupt(_: object) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        on.wait(cloud, task_id, wait=interrupt)
    assert caught.value.__notes__ == [f"the wait for task {task_id} was interrupted; the task is still running"]


def test_ctrl_c_during_many_waits_says_that_the_tasks_go_on(cloud: SimulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note is for all of them."""

    def interrupted(*_: object) -> Generator[list[Outcome], None, None]:
        yield []
        raise KeyboardInterrupt

    monkeypatch.setattr("waiter.batch.completion.iterate_in_background", interrupted)
    with Waiter(**cloud.options) as waiter, pytest.raises(KeyboardInterrupt) as caught:
        waiter.wait_all(["t-1", "t-2"])
    assert caught.value.__notes__ == ["the wait for 2 tasks was interrupted; the tasks are still running"]


def test_no_interval_is_too_long_for_a_clock(on: Driver, cloud: SimulatedCloud) -> None:
    """An endless pause of a strategy is cut to a day."""
    task_id = cloud.add(finishes(100))
    on.wait(cloud, task_id, timeout=None, wait=wait_fixed(math.inf))
    assert looks(cloud) == [0, 86_400]


def test_status_is_one_look_whatever_the_state(cloud: SimulatedCloud) -> None:
    """``status`` shows a running task and sleeps for nothing."""
    task_id = cloud.add(never_ends())
    with Waiter(**cloud.options) as waiter:
        assert waiter.status(task_id).state is TaskState.RUNNING
    assert looks(cloud) == [0]


def test_a_failed_look_of_status_is_an_error_at_once(cloud: SimulatedCloud) -> None:
    """One look survives nothing."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(status(403, message="No such right"))
    with Waiter(**cloud.options) as waiter, pytest.raises(Exception, match=r"refuses this.*No such right"):
        waiter.status(task_id)


@pytest.mark.parametrize("driver", ["blocking", "awaited"])
def test_the_limits_of_one_wait(driver: str, cloud: SimulatedCloud) -> None:
    """They are in place of the waiter's own; what is no limit is named, all at once."""
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
