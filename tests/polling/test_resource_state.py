"""With ``ready=True``, a wait ends once what the task created is ready by its own endpoints."""

from __future__ import annotations

import asyncio
import pickle
from itertools import pairwise
from math import inf
from typing import Any
from unittest import mock

import httpx
import pytest
import trio
from drivers import Awaited, Blocking, Driver
from fault_table import SURVIVED
from hypothesis import given
from hypothesis import strategies as st
from tenacity import wait_fixed

from waiter import (
    ApiError,
    ApiUnavailableError,
    AsyncWaiter,
    AuthenticationError,
    ConfigurationError,
    CreatedResources,
    PermissionDeniedError,
    ResourceError,
    TaskNotFoundError,
    TasksError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    Waiter,
    WaiterError,
    aio,
    wait_for_tasks,
)
from waiter.api.resources import Condition
from waiter.errors import NotReady
from waiter.schedule.inspection import uninformed_interval
from waiter.schedule.schedule import JITTER
from waiter.testing import (
    Fault,
    SimulatedCloud,
    VirtualClock,
    fails,
    finishes,
    hang,
    resources_appear,
    resources_fail,
    resources_ready,
    resources_vanish,
    says,
    status,
)

IMAGE = "/cloud/v1/images/1/1/m-1"


def polls_of(cloud: SimulatedCloud, path: str) -> list[float]:
    """Return when a path was requested."""
    return [request.at for request in cloud.requests if request.path == path]


def names_of(events: list[Any], prefix: str = "") -> list[str]:
    return [event.name for event in events if event.name.startswith(prefix)]


def add_image(cloud: SimulatedCloud, *, ready_after: float = 0.0) -> str:
    """Add a task that creates one image in 10 s, and return its ID."""
    return cloud.add(resources_ready(ready_after, finishes(10, {"images": ["m-1"]}, task_type="create_image")))


# The end.


def test_wait_ends_when_the_created_resource_is_ready(on: Driver, cloud: SimulatedCloud) -> None:
    """An image that is still being saved when its task is FINISHED is polled until it is active."""
    task_id = add_image(cloud, ready_after=20)
    task = on.wait(cloud, task_id, ready=True)
    assert (task.state, task.created_resources.images) == (TaskState.FINISHED, ("m-1",))
    assert polls_of(cloud, IMAGE)[0] < 12
    assert 30 <= polls_of(cloud, IMAGE)[-1] < 33


def test_resources_are_not_polled_without_ready(on: Driver, cloud: SimulatedCloud) -> None:
    """By default, a wait ends with its task."""
    task_id = add_image(cloud, ready_after=20)
    on.wait(cloud, task_id)
    assert polls_of(cloud, IMAGE) == []


def test_resource_that_is_ready_costs_one_request(on: Driver, cloud: SimulatedCloud) -> None:
    """The first poll of a resource follows the end of its task immediately, and all of a round follow each other."""
    task_id = cloud.add(finishes(10, {"images": ["m-1"], "networks": ["n-1"], "volumes": ["v-1", "v-2"]}))
    on.wait(cloud, task_id, ready=True)
    paths = {IMAGE, "/cloud/v1/networks/1/1/n-1", "/cloud/v1/volumes/1/1/v-1", "/cloud/v1/volumes/1/1/v-2"}
    assert {request.path for request in cloud.requests[-4:]} == paths
    assert cloud.requests[-1].at == pytest.approx(cloud.requests[-5].at, abs=0.05)


def test_paths_have_the_project_and_the_region_of_the_task(on: Driver, cloud: SimulatedCloud) -> None:
    """No other input is needed; an ID is percent-encoded."""
    task_id = cloud.add(finishes(1, {"volumes": ["../v 1"]}, project_id=7, region_id=8))
    on.wait(cloud, task_id, ready=True)
    assert cloud.requests[-1].path == "/cloud/v1/volumes/7/8/..%2Fv%201"


def test_failed_resource_raises_its_error(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """The error has the task, the kind, the ID and the resource as its endpoint showed it."""
    task_id = cloud.add(resources_fail(5, finishes(10, {"images": ["m-1"]})))
    with pytest.raises(ResourceError) as caught:
        on.wait(cloud, task_id, ready=True, on_event=events.append)
    error = caught.value
    assert str(error) == f"images m-1 failed: deactivated; the task is FINISHED ({task_id})"
    assert error.task is not None
    assert error.resource is not None
    assert (error.task.id, error.kind, error.resource_id, error.resource["status"]) == (task_id, "images", "m-1", "deactivated")
    assert names_of(events)[-4:] == ["resource.state_changed", "resource.state_changed", "resource.failed", "wait.ended"]
    assert events[-1].fields["outcome"] == "failed"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.kind, copy.resource) == (str(error), "images", error.resource)


def test_error_of_a_resource_has_the_reason_that_the_resource_gives(on: Driver, cloud: SimulatedCloud) -> None:
    """OpenStack shows it as a ``fault`` with a message."""
    task_id = cloud.add(finishes(1, {"instances": ["i-1"]}))
    cloud.fault(says({"id": "i-1", "status": "ERROR", "fault": {"code": 500, "message": "No valid\nhost"}}), on="resource")
    with pytest.raises(ResourceError, match="instances i-1 failed: ERROR: No valid host; the task is FINISHED"):
        on.wait(cloud, task_id, ready=True)


def test_failed_task_polls_no_resource(on: Driver, cloud: SimulatedCloud) -> None:
    """What a task in ERROR left behind is not awaited."""
    task_id = cloud.add(fails(5, resources={"volumes": ["v-1"]}))
    with pytest.raises(Exception, match="No valid host"):
        on.wait(cloud, task_id, ready=True)
    assert all("/tasks" in request.path for request in cloud.requests)


def test_one_failure_of_several_kinds_ends_the_wait(on: Driver, cloud: SimulatedCloud) -> None:
    """A resource that takes long does not hide that another one has failed."""
    cloud.on_request("GET", IMAGE, json={"id": "m-1", "status": "saving"})
    task_id = cloud.add(resources_fail(20, finishes(10, {"images": ["m-1"], "volumes": ["v-1"]})))
    with pytest.raises(ResourceError, match="volumes v-1 failed: error"):
        on.wait(cloud, task_id, ready=True)
    assert cloud.requests[-1].at < 33


# Kinds without an endpoint.


@pytest.mark.parametrize(
    ("kinds", "fields"),
    [
        ({"l7rules": ["l-1"], "registry_users": ["r-1", "r-2"]}, {}),
        ({"balloons": ["b-1"]}, {}),
        ({"images": ["m-1"]}, {"project_id": None}),
        ({"images": ["m-1"]}, {"region_id": None}),
        ({"images": ["..", "", "."]}, {}),
    ],
)
def test_resource_without_a_known_endpoint_counts_as_ready(
    on: Driver, cloud: SimulatedCloud, events: list[Any], kinds: Any, fields: Any
) -> None:
    """An event says so; no request is sent."""
    task_id = cloud.add(finishes(1, kinds, fields=fields))
    assert on.wait(cloud, task_id, ready=True, on_event=events.append).ended
    found = [event.fields for event in events if event.name == "resource.unchecked"]
    assert {one["kind"]: one["resource_ids"] for one in found} == kinds
    assert all("/tasks" in request.path for request in cloud.requests)


def test_task_without_resources_ends_the_wait(on: Driver, cloud: SimulatedCloud) -> None:
    """There is nothing to be ready."""
    assert on.wait_for_task(cloud, cloud.add(finishes(1)), ready=True) == CreatedResources()


# The deadline.


def test_deadline_holds_for_task_and_resources_together(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """The error says that the task is FINISHED and which resource is not ready, and the wait can be resumed."""
    task_id = cloud.add(resources_ready(100, finishes(10, {"images": ["m-1"], "networks": ["n-1"], "volumes": ["v-1"]})))
    with pytest.raises(TaskTimeoutError) as caught:
        on.wait(cloud, task_id, ready=True, timeout=50, on_event=events.append)
    error = caught.value
    assert str(error) == (
        f"not ready after 50 s: images m-1 is saving, volumes v-1 is creating; the task is FINISHED ({task_id}): "
        "wait for the same ID again to resume"
    )
    assert error.not_ready == (NotReady("images", "m-1", "saving"), NotReady("volumes", "v-1", "creating"))
    assert (error.waited, error.last_error) == (50.0, None)
    assert error.last_task is not None
    assert error.last_task.state is TaskState.FINISHED
    assert cloud.requests[-1].at == pytest.approx(50, abs=0.05)
    assert names_of(events)[-2:] == ["task.timed_out", "wait.ended"]
    assert events[-2].fields["not_ready"] == ["images m-1 is saving", "volumes v-1 is creating"]
    assert names_of(events, "wait.") == ["wait.started", "wait.ended"]


def test_time_out_names_the_first_few_resources(on: Driver, cloud: SimulatedCloud) -> None:
    """Of many, the message names three, and the error has all."""
    task_id = cloud.add(resources_ready(100, finishes(1, {"volumes": [f"v-{number}" for number in range(9)]})))
    with pytest.raises(TaskTimeoutError, match=r"v-0 is creating, .*v-2 is creating, and 6 more;") as caught:
        on.wait(cloud, task_id, ready=True, timeout=5)
    assert len(caught.value.not_ready) == 9


def test_resources_that_are_ready_in_the_last_sleep_are_returned(on: Driver, cloud: SimulatedCloud) -> None:
    """Every resource gets a final poll at the deadline."""
    task_id = cloud.add(resources_ready(39.99, finishes(10, {"images": ["m-1"], "volumes": ["v-1", "v-2"]})))
    assert on.wait(cloud, task_id, ready=True, timeout=50, wait=wait_fixed(7)).ended
    assert [request.at for request in cloud.requests[-3:]] == pytest.approx([50, 50, 50], abs=0.05)


def test_final_round_lasts_no_longer_than_a_final_poll_may(on: Driver, cloud: SimulatedCloud) -> None:
    """Three hundred resources at ten requests a second would take half a minute beyond the deadline."""
    task_id = cloud.add(resources_ready(100, finishes(10, {"volumes": 300})))
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, ready=True, timeout=50, max_rps=10)
    assert cloud.requests[-1].at <= 56


def test_deadline_during_an_outage_of_a_resource_names_the_last_error(on: Driver, cloud: SimulatedCloud) -> None:
    """A resource that was never seen is named as such."""
    task_id = add_image(cloud)
    cloud.outage(0, 100, status(503), on="resource")
    with pytest.raises(TaskTimeoutError, match="images m-1 is not seen yet; the last poll failed: the API returned 503"):
        on.wait(cloud, task_id, ready=True, timeout=30)


def test_stall_time_out_holds_for_resources(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """The time without a change counts from the last change of any resource."""
    task_id = add_image(cloud, ready_after=100)
    with pytest.raises(TaskStalledError) as caught:
        on.wait(cloud, task_id, ready=True, stall_timeout=20, on_event=events.append)
    assert str(caught.value) == f"no change for 20 s: images m-1 is saving; the task is FINISHED ({task_id})"
    assert caught.value.not_ready == (NotReady("images", "m-1", "saving"),)
    assert names_of(events)[-2:] == ["task.stalled", "wait.ended"]


def test_hanging_resource_endpoint_does_not_exceed_the_deadline(on: Driver, cloud: SimulatedCloud) -> None:
    """The time-out of a request is the same as for tasks."""
    task_id = add_image(cloud)
    cloud.outage(0, 1000, hang(), on="resource")
    with pytest.raises(TaskTimeoutError, match="timed out"):
        on.wait(cloud, task_id, ready=True, timeout=30)
    assert cloud.clock() <= 40


# Outages.


@pytest.mark.parametrize("fault", SURVIVED, ids=lambda fault: fault.name)
def test_every_transient_fault_of_a_resource_endpoint_is_survived(on: Driver, cloud: SimulatedCloud, fault: Fault) -> None:
    """One bad response delays a wait and does not end it, whatever is polled."""
    task_id = add_image(cloud)
    cloud.fault(fault, on="resource")
    assert on.wait(cloud, task_id, ready=True).ended


def test_outage_of_a_resource_endpoint_is_limited_by_max_outage(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """The error says that the task is FINISHED."""
    task_id = add_image(cloud)
    cloud.outage(0, 1000, status(503), on="resource")
    with pytest.raises(ApiUnavailableError, match=r"no usable answer for 60 s: .*\(images m-1\); the task is FINISHED"):
        on.wait(cloud, task_id, ready=True, max_outage=60, on_event=events.append)
    assert "poll.failed" in names_of(events)
    assert events[-1].fields["outcome"] == "unavailable"


def test_retry_after_of_a_resource_endpoint_is_obeyed(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """No request is sent before, and the recovery is reported."""
    task_id = add_image(cloud)
    cloud.fault(status(429, retry_after=30), on="resource")
    on.wait(cloud, task_id, ready=True, on_event=events.append)
    first, second = polls_of(cloud, IMAGE)
    assert second - first == pytest.approx(30, abs=1)
    assert "poll.recovered" in names_of(events)


def test_resource_that_is_not_visible_yet_has_a_grace(on: Driver, cloud: SimulatedCloud) -> None:
    """A 404 right after the end of the task is no failure."""
    task_id = cloud.add(resources_appear(5, finishes(10, {"images": ["m-1"]})))
    assert on.wait(cloud, task_id, ready=True).ended


def test_resource_that_stays_unknown_is_a_failure(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """After ten seconds of 404 it does not exist: the error has no resource, and the 404 as its cause."""
    task_id = cloud.add(resources_vanish(0, finishes(10, {"images": ["m-1"]})))
    with pytest.raises(ResourceError) as caught:
        on.wait(cloud, task_id, ready=True, on_event=events.append)
    assert str(caught.value) == f"images m-1 failed: not found (404); the task is FINISHED ({task_id})"
    assert caught.value.resource is None
    assert "no such resource for this account (404)" in str(caught.value.__cause__)
    assert names_of(events)[-2:] == ["resource.failed", "wait.ended"]
    assert cloud.requests[-1].at < 23


def test_resource_that_vanishes_while_it_is_awaited_is_a_failure(on: Driver, cloud: SimulatedCloud) -> None:
    """The grace counts from the first 404."""
    task_id = cloud.add(resources_vanish(30, resources_ready(60, finishes(10, {"images": ["m-1"]}))))
    with pytest.raises(ResourceError, match="not found"):
        on.wait(cloud, task_id, ready=True)
    assert 49 < cloud.requests[-1].at < 55


@pytest.mark.parametrize(
    ("code", "error"), [(401, AuthenticationError), (403, PermissionDeniedError), (400, ApiError), (503, ApiUnavailableError)]
)
def test_error_of_a_resource_says_that_the_task_is_finished(
    on: Driver, cloud: SimulatedCloud, code: int, error: type[ApiError]
) -> None:
    """A key may be allowed to read tasks but not images. The error carries what the task created."""
    task_id = add_image(cloud)
    cloud.fault(status(code), on="resource", times=inf)
    with pytest.raises(error, match=rf"images m-1.*; the task is FINISHED \({task_id}\)$") as caught:
        on.wait(cloud, task_id, ready=True)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.task.created_resources.images, copied.status) == (("m-1",), code)
    group = TasksError.of(succeeded={}, failed={task_id: caught.value})
    assert group.created_resources.images == ("m-1",)


# Lies.


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        ({"id": "m-2", "status": "active", "size": 1}, "it describes m-2"),
        (["active"], "not an object"),
        ("active", "not an object"),
        ({"id": "m-1", "status": "active", "size": 1, "text": "x" * 2**20}, "more than 1048576 bytes"),
    ],
)
def test_response_that_is_not_the_resource_is_an_outage(on: Driver, cloud: SimulatedCloud, resource: Any, why: str) -> None:
    """It is never taken for a resource that is ready."""
    task_id = add_image(cloud)
    cloud.outage(0, 1000, says(resource), on="resource")
    with pytest.raises(ApiUnavailableError, match=why):
        on.wait(cloud, task_id, ready=True, max_outage=30)


@pytest.mark.parametrize("field", ["name", "port_id"])
def test_resource_may_show_its_id_in_another_field(on: Driver, cloud: SimulatedCloud, field: str) -> None:
    """Clusters are asked for by their name, and some kinds show it in another field than ``id``."""
    task_id = add_image(cloud)
    cloud.fault(says({"id": "another", field: "m-1", "status": "active", "size": 1}), on="resource")
    assert on.wait(cloud, task_id, ready=True).ended


def test_key_that_a_resource_echoes_is_masked(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """Neither the error, nor its resource, nor an event shows it."""
    task_id = cloud.add(finishes(1, {"instances": ["i-1"]}))
    echo = f"denied: {cloud.api_key}"
    cloud.fault(says({"id": "i-1", "status": "ERROR", "fault": {"message": echo}, "other": echo}), on="resource")
    with pytest.raises(ResourceError) as caught:
        on.wait(cloud, task_id, ready=True, on_event=events.append)
    shown = f"{caught.value} {caught.value.resource} {[event.fields for event in events]}"
    assert cloud.api_key not in shown
    assert "denied: ***" in str(caught.value)


def test_resource_that_flips_back_and_forth_reports_each_change(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """Only ready and failed end its wait; each change is one event."""
    task_id = add_image(cloud)
    for state in ("saving", "queued", "saving", "queued"):
        cloud.fault(says({"id": "m-1", "status": state}), on="resource")
    on.wait(cloud, task_id, ready=True, on_event=events.append)
    changes = [(event.fields["old"], event.fields["new"]) for event in events if event.name == "resource.state_changed"]
    assert list(changes) == list(pairwise([None, "saving", "queued", "saving", "queued", "active"]))
    assert names_of(events, "resource.ready") == ["resource.ready"]


@pytest.mark.parametrize("value", [7, None, ["active"], {"active": True}, "ACTIVE\x1b[31m"])
def test_status_that_is_not_described_is_pending(on: Driver, cloud: SimulatedCloud, events: list[Any], value: Any) -> None:
    """It is shown as one line of text without control characters."""
    task_id = add_image(cloud)
    cloud.fault(says({"id": "m-1", "status": value, "size": 1}), on="resource")
    assert on.wait(cloud, task_id, ready=True, on_event=events.append).ended
    shown = [event.fields["new"] for event in events if event.name == "resource.state_changed"]
    assert all(text is None or text.isprintable() for text in shown)


# The pace.


def check_interval(seconds: float, *, age: float) -> None:
    """Compare an interval with that of the schedule, which has a jitter and sees the age by a clock of whole seconds."""
    shortest = uninformed_interval(max(0.0, age - 1.5), 0.05) * (1 - JITTER)
    longest = uninformed_interval(age + 1.5, 0.05) * (1 + JITTER)
    assert shortest - 0.02 <= seconds <= longest + 0.02  # the rate limit may delay a request by a hundredth of a second


def test_intervals_follow_the_age_of_the_resource(on: Driver, cloud: SimulatedCloud) -> None:
    """They are those of the schedule without a history, from the end of the task on."""
    task_id = add_image(cloud, ready_after=300)
    on.wait(cloud, task_id, ready=True)
    polls = polls_of(cloud, IMAGE)
    for first, second in pairwise(polls):
        check_interval(second - first, age=first - 10)


def test_wait_that_begins_late_continues_the_schedule(on: Driver, cloud: SimulatedCloud) -> None:
    """The age of a resource counts from the end of its task by the server's clock, not from the begin of the wait."""
    task_id = cloud.add(resources_ready(4000, finishes(10, {"images": ["m-1"]}, age=3610)))
    on.wait(cloud, task_id, ready=True)
    first, second, *_ = polls_of(cloud, IMAGE)
    check_interval(second - first, age=3600)


def test_resource_of_a_task_without_times_counts_from_the_end(on: Driver, cloud: SimulatedCloud) -> None:
    """Its age is unknown, so it is taken for new."""
    task_id = cloud.add(resources_ready(4000, finishes(10, {"images": ["m-1"]}, age=3610, fields={"created_on": None})))
    on.wait(cloud, task_id, ready=True)
    first, second, *_ = polls_of(cloud, IMAGE)
    check_interval(second - first, age=0)


def test_strategy_of_the_user_applies_to_resources(on: Driver, cloud: SimulatedCloud) -> None:
    """A tenacity strategy replaces the schedule for whatever is polled."""
    task_id = add_image(cloud, ready_after=20)
    on.wait(cloud, task_id, ready=True, wait=wait_fixed(5))
    assert [after - before for before, after in pairwise(polls_of(cloud, IMAGE))] == [5, 5, 5, 5]


def test_rounds_of_many_resources_are_rarer(on: Driver, cloud: SimulatedCloud) -> None:
    """A round of 300 requests is worth 300 times the price, and the rate limit holds within it."""
    task_id = cloud.add(resources_ready(60, finishes(10, {"volumes": 300})))
    on.wait(cloud, task_id, ready=True)
    polls = [request.at for request in cloud.requests if "/volumes/" in request.path]
    assert 600 < len(polls) <= 1500  # individual intervals would make it about thirty rounds
    assert cloud.clock() < 110
    assert max(sum(at <= other < at + 1 for other in polls) for at in polls[::50]) <= 111


def test_two_tasks_may_name_the_same_resource(cloud: SimulatedCloud) -> None:
    """Each wait polls it for itself."""
    ids = [add_image(cloud, ready_after=20), add_image(cloud, ready_after=20)]
    made = wait_for_tasks(ids, **cloud.options, ready=True)
    assert {task_id: found.images for task_id, found in made.items()} == dict.fromkeys(ids, ("m-1",))


# Interfaces.


@pytest.mark.parametrize("driver", [Blocking(), Awaited()], ids=["blocking", "awaited"])
def test_several_tasks_wait_for_their_resources(cloud: SimulatedCloud, driver: Driver) -> None:
    """One failed resource hides no other outcome."""
    good = cloud.add(resources_ready(20, finishes(10, {"images": ["m-1"]})))
    bad = cloud.add(resources_fail(5, finishes(10, {"images": ["m-2"]})))
    with pytest.raises(TasksError) as caught:
        driver.wait_for_task(cloud, {"tasks": [good, bad]}, ready=True)
    assert caught.value.succeeded[good].created_resources.images == ("m-1",)
    assert isinstance(caught.value.failed[bad], ResourceError)
    assert caught.value.created_resources.images == ("m-1", "m-2")


def test_ready_is_a_limit_of_one_wait(cloud: SimulatedCloud) -> None:
    """One waiter may wait for the resources of one task and not of the other."""
    first, second = add_image(cloud, ready_after=20), add_image(cloud, ready_after=20)
    with Waiter(**cloud.options, ready=True) as waiter:
        waiter.wait(first, ready=False)
        assert polls_of(cloud, IMAGE) == []
        waiter.wait(second)
        assert len(polls_of(cloud, IMAGE)) > 3
        with pytest.raises(ConfigurationError, match="ready must be True or False, not 'yes'"):
            waiter.wait(first, ready="yes")  # type: ignore[arg-type]


def test_functions_of_aio_take_ready(cloud: SimulatedCloud) -> None:
    """Here as everywhere."""
    task_id = add_image(cloud, ready_after=20)
    made = asyncio.run(aio.wait_for_tasks([task_id], **cloud.async_options, ready=True))
    assert (made[task_id].images, cloud.clock() >= 30) == (("m-1",), True)


def test_cancelled_wait_says_that_the_task_is_finished(cloud: SimulatedCloud, events: list[Any]) -> None:
    """A cancellation during the wait for a resource ends it, is reported, and has a note."""
    task_id = cloud.add(resources_ready(1000, finishes(10, {"images": ["m-1"]})))

    async def cancel() -> list[str]:
        async with AsyncWaiter(**cloud.async_options, ready=True, on_event=events.append) as waiter:
            waiting = asyncio.create_task(waiter.wait(task_id))
            await cloud.async_sleep(60)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await waiting
            return caught.value.__notes__

    assert asyncio.run(cancel()) == [f"the wait for task {task_id} was interrupted; the task is FINISHED"]
    assert (events[-1].name, events[-1].fields["outcome"]) == ("wait.ended", "cancelled")
    assert names_of(events, "resource.state_changed") == ["resource.state_changed"]


def test_ctrl_c_during_the_wait_for_a_resource_has_a_note(cloud: SimulatedCloud) -> None:
    """The blocking driver does the same."""
    task_id = cloud.add(resources_ready(1000, finishes(10, {"images": ["m-1"]})))

    def interrupt(seconds: float) -> None:
        if cloud.clock() > 60:
            raise KeyboardInterrupt
        cloud.sleep(seconds)

    with Waiter(**cloud.options | {"sleep": interrupt}, ready=True) as waiter, pytest.raises(KeyboardInterrupt) as caught:
        waiter.wait(task_id)
    assert caught.value.__notes__ == [f"the wait for task {task_id} was interrupted; the task is FINISHED"]


def test_interrupted_wait_for_a_path_has_a_note(cloud: SimulatedCloud, events: list[Any]) -> None:
    """There is no task of which anything could be said."""
    cloud.on_request("GET", "/cloud/v1/x", json={"status": "BUILD"})

    def interrupt(seconds: float) -> None:
        if cloud.clock() > 60:
            raise KeyboardInterrupt
        cloud.sleep(seconds)

    condition = Condition(lambda resource: resource["status"], ["ACTIVE"])
    with (
        Waiter(**cloud.options | {"sleep": interrupt}, on_event=events.append) as waiter,
        pytest.raises(KeyboardInterrupt) as caught,
    ):
        waiter.until(waiter.resource_path("/cloud/v1/x"), condition)
    assert caught.value.__notes__ == ["the wait for /cloud/v1/x was interrupted"]
    assert [(event.name, event.task_id) for event in events] == [
        ("wait.started", "/cloud/v1/x"), ("resource.state_changed", "/cloud/v1/x"), ("wait.ended", "/cloud/v1/x"),
    ]  # fmt: skip


def test_path_that_stays_unknown_is_not_found(cloud: SimulatedCloud) -> None:
    """Without a task, a 404 that lasts is the end of the wait, as it is for tasks."""
    cloud.add(resources_vanish(0, finishes(0, {"volumes": ["v-1"]})), watched=False)
    with Waiter(**cloud.options) as waiter, pytest.raises(TaskNotFoundError, match="no such resource for this account"):
        waiter.until("/cloud/v1/volumes/1/1/v-1", Condition(lambda _: None, ["x"]))
    assert 9 < cloud.clock() < 11


def test_resources_are_awaited_under_trio() -> None:
    """As their tasks are."""

    async def wait(url: str, api_key: str, task_id: str) -> tuple[str, ...]:
        async with AsyncWaiter(api_key=api_key, base_url=url, ready=True, wait=wait_fixed(0.1)) as waiter:
            return (await waiter.wait(task_id)).created_resources.images

    cloud = SimulatedCloud()
    task_id = cloud.add(resources_ready(0.3, finishes(0, {"images": ["m-1"]}, starts_when_seen=True)))
    with cloud.serve() as url:
        assert trio.run(wait, url, cloud.api_key, task_id) == ("m-1",)
    assert len(polls_of(cloud, IMAGE)) > 1


# Any interleaving.

RESPONSES: dict[str, Any] = {
    "creating": {"status": "creating"},
    "retyping": {"status": "retyping"},
    "null": {"status": None},
    "available": {"status": "available"},
    "error": {"status": "error"},
    "other": {"id": "other", "status": "available"},
    "list": ["available"],
    "404": 404,
    "429": 429,
    "503": 503,
}
timelines = st.lists(st.tuples(st.sampled_from(sorted(RESPONSES)), st.integers(1, 12)), min_size=1, max_size=4)


class Timelines:
    """A task that has ended, and resources whose responses change with time: each name holds for so many seconds."""

    def __init__(self, resources: list[list[tuple[str, int]]]) -> None:
        self.clock = VirtualClock()
        self.last_at = 0.0
        self._resources = {f"v-{number}": timeline for number, timeline in enumerate(resources)}

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.last_at = self.clock()
        name = request.url.path.rpartition("/")[2]
        if name == "t-1":
            created = {"volumes": list(self._resources)}
            task = {"id": "t-1", "state": "FINISHED", "project_id": 1, "region_id": 1, "created_resources": created}
            return httpx.Response(200, json=task)
        found: Any = RESPONSES[self._name_at(name)]
        return httpx.Response(found) if isinstance(found, int) else httpx.Response(200, json=found)

    def _name_at(self, resource: str) -> str:
        passed = 0
        for name, seconds in self._resources[resource]:
            passed += seconds
            if self.clock() < passed:
                return name
        return self._resources[resource][-1][0]

    def observe(self, *, awaited: bool) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        """Return how a wait ends, and its events."""
        events: list[Any] = []
        limits: dict[str, Any] = {"timeout": 40, "max_outage": 15, "ready": True, "on_event": events.append}
        options: Any = {"api_key": "1$abcdef", "wait": wait_fixed(2), "clock": self.clock, "log": False, **limits}
        transport = httpx.MockTransport(self.respond)

        async def wait() -> None:
            client = httpx.AsyncClient(transport=transport)
            async with AsyncWaiter(**options, client=client, sleep=self.clock.async_sleep) as waiter:
                await waiter.wait("t-1")

        try:
            if awaited:
                asyncio.run(wait())
            else:
                with Waiter(**options, client=httpx.Client(transport=transport), sleep=self.clock.sleep) as waiter:
                    waiter.wait("t-1")
        except WaiterError as error:
            return f"{type(error).__name__}: {error}", [(event.name, dict(event.fields)) for event in events]
        return "finished", [(event.name, dict(event.fields)) for event in events]


@given(st.lists(timelines, min_size=1, max_size=3))
def test_both_drivers_agree_on_any_resources(resources: list[list[tuple[str, int]]]) -> None:
    """The outcome and the events are the same; the deadline holds, and each resource is ready once and ends once."""
    with mock.patch("waiter.polling.poll_state.backoff", lambda failures: min(failures, 5)):
        blocking, awaited = Timelines(resources), Timelines(resources)
        outcome, events = blocking.observe(awaited=False)
        assert (outcome, events) == awaited.observe(awaited=True)
    assert blocking.last_at <= 46
    names = [name for name, _ in events]
    assert (names[0], names[-1], names.count("wait.ended")) == ("wait.started", "wait.ended", 1)
    ready = [fields["resource_id"] for name, fields in events if name == "resource.ready"]
    assert len(ready) == len(set(ready))
    assert (outcome == "finished") == (len(ready) == len(resources))
    changes = [
        (fields["resource_id"], fields["old"], fields["new"]) for name, fields in events if name == "resource.state_changed"
    ]
    for resource in {one for one, _, _ in changes}:
        seen = [(old, new) for one, old, new in changes if one == resource]
        assert all(before[1] == after[0] and after[0] != after[1] for before, after in pairwise(seen))
    expected = {"ResourceError": "failed", "TaskTimeoutError": "timed_out", "ApiUnavailableError": "unavailable"}
    assert events[-1][1]["outcome"] == expected.get(outcome.partition(":")[0], "finished")


def test_round_of_two_is_worth_twice_the_price(on: Driver) -> None:
    """Pauses between rounds are longer than those of one resource by the root of two."""
    mean = {}
    for count in (1, 2):
        cloud = SimulatedCloud.virtual()
        images = [f"m-{place}" for place in range(count)]
        on.wait(cloud, cloud.add(resources_ready(3000, finishes(1, {"images": images}))), ready=True, price=1)
        mean[count] = 3000 / len(polls_of(cloud, "/cloud/v1/images/1/1/m-0"))
    assert mean[2] / mean[1] == pytest.approx(2**0.5, rel=0.1)
