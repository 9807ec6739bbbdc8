"""Histories of task types: requested once, shared by all waits, and never an obstacle to one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from drivers import Driver
from hypothesis import example, given
from hypothesis import strategies as st
from tenacity import wait_fixed

from waiter import History, Schedule, Task, TaskState, TaskTimeoutError, Waiter, wait_for_task
from waiter.config.settings import resolve
from waiter.polling.history_cache import HistoryCache, history_of, shared_history_cache
from waiter.polling.wait_state import WaitState
from waiter.schedule.priors import prior
from waiter.schedule.schedule import MAX_INTERVAL
from waiter.task import TaskSnapshot
from waiter.testing import (
    Fault,
    SimulatedCloud,
    empty,
    ended,
    finishes,
    hang,
    html,
    never_ends,
    reset,
    status,
    truncated,
    wrong_types,
)
from waiter.timing import EPSILON

VM = Task(id="a", state=TaskState.FINISHED, task_type="create_vm")


def listings(cloud: SimulatedCloud) -> int:
    return sum("?" in request.path for request in cloud.requests)


def cloud_with_past(*durations: float) -> SimulatedCloud:
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.add_past("create_k8s_cluster_v2", durations, errors=[0])
    return cloud


def test_history_is_requested_once_and_pays_for_itself(on: Driver) -> None:
    """With history a long task costs fewer requests, its listing included, and is noticed no later."""
    requests, delays = [], []
    for past in ((), tuple(580 + index for index in range(40))):
        cloud = cloud_with_past(*past)
        task_id = cloud.add(finishes(600, task_type="create_k8s_cluster_v2"))
        on.wait(cloud, task_id)
        assert listings(cloud) == 1
        requests.append(len(cloud.requests))
        delays.append(cloud.elapsed - 600)
    assert requests[1] < 0.7 * requests[0]
    assert delays[1] < 6


def test_learned_history_is_reported(on: Driver, events: list[Any]) -> None:
    """``history.learned`` has the count and the quantiles; from then on events have the time left."""
    cloud = cloud_with_past(50.0, 60.0, 70.0, 58.0, 62.0)
    task_id = cloud.add(finishes(61, task_type="create_k8s_cluster_v2"))
    on.wait(cloud, task_id, on_event=events.append)
    learned = next(event for event in events if event.name == "history.learned")
    known = {name: learned.fields[name] for name in ("count", "median", "p90")}
    assert known == {"count": 5, "median": 60.0, "p90": 66.8}
    assert learned.history is not None
    assert 20 < learned.fields["time_left"] < learned.fields["time_left_p90"] < 200
    assert "time_left" not in events[0].fields
    assert "time_left" not in events[-1].fields


def test_task_that_has_ended_costs_one_request(on: Driver) -> None:
    """The first request is a poll, after which no history is needed."""
    cloud = cloud_with_past(5.0)
    on.wait(cloud, cloud.add(finishes(0, task_type="create_k8s_cluster_v2")))
    assert len(cloud.requests) == 1


@pytest.mark.parametrize(("age", "is_early"), [(2 * MAX_INTERVAL - 1, False), (2 * MAX_INTERVAL, True), (1800, True)])
def test_listing_of_an_old_task_follows_the_first_poll(on: Driver, age: float, is_early: bool) -> None:
    """Its second poll may be minutes away, and until the listing nothing is known of the time left."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(age + 300, age=age, task_type="create_k8s_cluster_v2"))
    on.wait(cloud, task_id)
    first, second, third = cloud.requests[:3]
    assert [request.task_id for request in (first, second, third)] == [task_id, None, task_id]
    assert (second.at - first.at < 1) == is_early
    assert third.at - second.at > 1


@pytest.mark.parametrize("task_type", ["create_image", "create_k8s_cluster_v2"], ids=["undocumented", "documented"])
def test_second_request_is_the_listing(on: Driver, task_type: str) -> None:
    """Whether or not the usual durations of the type are documented."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(60, task_type=task_type))
    on.wait(cloud, task_id)
    assert [request.task_id for request in cloud.requests[:3]] == [task_id, None, task_id]


@pytest.mark.parametrize("options", [{"learn": False}, {"wait": wait_fixed(5)}], ids=["learn", "wait"])
def test_no_history_is_requested_when_it_is_switched_off(on: Driver, options: dict[str, Any]) -> None:
    """With ``learn=False``, and with a strategy of the user's own, which could not use it."""
    cloud = cloud_with_past(60.0)
    on.wait(cloud, cloud.add(finishes(60, task_type="create_k8s_cluster_v2")), **options)
    assert listings(cloud) == 0


@pytest.mark.parametrize(
    "fault",
    [status(403), status(401), status(500), html(), empty(), truncated(), wrong_types()],
    ids=lambda fault: fault.name,
)
def test_failed_listing_does_not_fail_the_wait(on: Driver, fault: Fault, events: list[Any]) -> None:
    """The wait succeeds, and the listing is not repeated immediately."""
    cloud = cloud_with_past(60.0)
    cloud.fault(fault, on="listing")
    task_id = cloud.add(finishes(40, task_type="create_k8s_cluster_v2"))
    assert on.wait(cloud, task_id, on_event=events.append).ended
    assert listings(cloud) == 1
    assert [event.name for event in events if event.name.startswith(("poll.", "history."))] == ["history.unavailable"]


def test_listing_that_shows_the_task_as_active_counts_as_its_poll(on: Driver) -> None:
    """The next poll comes an interval after the listing."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(60))
    on.wait(cloud, task_id, price=1)
    at = next(index for index, request in enumerate(cloud.requests) if request.task_id is None)
    before, listing, after = (request.at for request in cloud.requests[at - 1 : at + 2])
    assert before < listing <= after - 0.2 + EPSILON  # the shortest interval


def test_listing_that_never_shows_the_end_costs_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """It replaces one poll only, and the outcome is that of the task's own endpoint."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(12))
    stuck = Task(id=task_id, state=TaskState.RUNNING, task_type="create_vm", updated_on=datetime(2100, 1, 1, tzinfo=UTC))
    listed = []

    def list_history(*_: object, **__: object) -> list[TaskSnapshot]:
        listed.append(cloud.elapsed)
        return [TaskSnapshot(stuck, cloud.elapsed)]

    monkeypatch.setattr("waiter.http.client.Client.list_history", list_history)
    with Waiter(**cloud.options, price=8) as waiter:
        assert waiter.wait(task_id).state is TaskState.FINISHED
    assert len(listed) == 1
    assert 12 < listed[0] < cloud.elapsed <= listed[0] + 1.1 * Schedule(price=8, history=prior("create_vm")).interval(listed[0])


@pytest.mark.parametrize(("task_type", "price"), [("create_image", 0.2), ("create_k8s_cluster_v2", 0.2), ("create_vm", 8)])
def test_listing_that_hangs_delays_its_poll_by_a_quarter_of_the_interval(on: Driver, task_type: str, price: float) -> None:
    """Or by a second, if that is more; of an old task it delays none."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(hang(), on="listing", times=inf)
    on.wait(cloud, cloud.add(finishes(200, task_type=task_type)), price=price)
    schedule = Schedule(price=price, history=prior(task_type))
    assert listings(cloud) > 1
    before = 0.0
    for request, previous in zip(cloud.requests[1:], cloud.requests, strict=False):
        if request.task_id is None:
            continue
        # The server tells its time in whole seconds, and the jitter is a tenth.
        interval = max(schedule.interval(age) for age in (before - 1, before, before + 1))
        delay = max(0.25 * interval, 1.0) if previous.task_id is None and before < 2 * MAX_INTERVAL else 0.0
        assert request.at - before <= 1.1 * interval + delay + 0.001
        before = request.at


@pytest.mark.parametrize("fault", [status(404, 3600), status(503, 3600)], ids=lambda fault: fault.name)
def test_failed_listing_delays_no_poll(on: Driver, fault: Fault) -> None:
    """``Retry-After`` of a 404 or 503 for the listing holds for listings only."""
    cloud = cloud_with_past(60.0)
    cloud.fault(fault, on="listing", times=2)
    on.wait(cloud, cloud.add(finishes(200, task_type="create_k8s_cluster_v2")))
    polls = [request.at for request in cloud.requests if "?" not in request.path]
    schedule = Schedule(history=prior("create_k8s_cluster_v2"))
    assert all(there - here < 1.2 * schedule.interval(here) for here, there in pairwise(polls))
    assert (listings(cloud) == 1) is (fault.name != hang().name)


def test_listing_may_take_a_second_at_any_price(on: Driver, events: list[Any]) -> None:
    """A wait with intervals much shorter than a second can learn too."""
    cloud = SimulatedCloud.virtual(latency=0.9, strict=False)
    cloud.add_past("create_vm", [60.0])
    on.wait(cloud, cloud.add(finishes(18)), price=0.001, on_event=events.append)
    assert [event.fields["count"] for event in events if event.name == "history.learned"] == [1]


def test_throttled_listing_blocks_all_requests(on: Driver) -> None:
    """A 429 for the listing delays the next poll as well."""
    cloud = cloud_with_past(60.0)
    cloud.fault(status(429, 30), on="listing")
    on.wait(cloud, cloud.add(finishes(60, task_type="create_k8s_cluster_v2")))
    listed = next(index for index, request in enumerate(cloud.requests) if "?" in request.path)
    assert cloud.requests[listed + 1].at - cloud.requests[listed].at >= 29.999


def test_last_poll_requests_no_history(on: Driver) -> None:
    """At the deadline a history would be of no use."""
    cloud = cloud_with_past(60.0)
    task_id = cloud.add(finishes(900, age=800, task_type="create_k8s_cluster_v2"))
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=0)
    assert listings(cloud) == 0


def test_history_is_shared_by_all_waits_of_a_waiter() -> None:
    """The second wait for the same type begins with the history that the first requested."""
    cloud = cloud_with_past(60.0, 61.0, 62.0)
    with Waiter(**cloud.options) as waiter:
        for _ in range(3):
            waiter.wait(cloud.add(finishes(60, task_type="create_k8s_cluster_v2")))
    assert listings(cloud) == 1


def test_history_is_shared_by_all_waiters_of_an_account() -> None:
    """A script that calls wait_for_task three times requests it once; another account or host has its own."""
    first = shared_history_cache("https://api", "apikey a")
    assert shared_history_cache("https://api", "apikey a") is first
    assert shared_history_cache("https://api", "apikey b") is not first
    assert shared_history_cache("https://other", "apikey a") is not first


def test_end_in_the_listing_is_confirmed_by_a_poll(on: Driver) -> None:
    """A listing that shows the task as ended causes an immediate poll, and is no result."""
    cloud = SimulatedCloud.virtual(latency=3)
    task_id = cloud.add(finishes(12))
    assert on.wait(cloud, task_id, price=8).ended
    assert [request.task_id for request in cloud.requests] == [task_id, None, task_id]
    assert cloud.requests[-1].at - cloud.requests[-2].at == pytest.approx(3)


def test_usual_range_is_known_before_any_history() -> None:
    """It is kept when durations become known, and is all that counts when they are not to be used."""
    history_cache, usual = HistoryCache(), (15.0, 30.0)
    assert history_cache.get(VM) == History(usual=usual)
    history_cache.store(VM, History([20.0], errors=[20.0]), now=0.0)
    assert history_cache.get(VM) == History([20.0], errors=[20.0], usual=usual)
    assert history_cache.get(VM, learned=False) == History(usual=usual)


@pytest.mark.parametrize("task_type", ["create_image", "", None])
def test_type_without_a_usual_range_has_no_history(task_type: str | None) -> None:
    """Neither has a task without a type."""
    assert HistoryCache().get(Task(id="a", state=TaskState.NEW, task_type=task_type)) is None


def test_errors_of_a_listing_are_distinguished() -> None:
    """Tasks in ERROR count as durations, and are named among them."""
    created = datetime(2026, 7, 1, tzinfo=UTC)
    ends = ((TaskState.ERROR, 7), (TaskState.FINISHED, 60), (TaskState.ERROR, 5))
    past = [
        Task(id=str(seconds), state=state, created_on=created, finished_on=created + timedelta(seconds=seconds))
        for state, seconds in ends
    ]
    history = history_of([TaskSnapshot(task, age=None) for task in past])
    assert history == History([7.0, 60.0, 5.0], errors=[7.0, 5.0])


def test_first_poll_follows_the_usual_range(on: Driver) -> None:
    """A new cluster is polled less often than a task of an unknown type, without any request for its history."""
    requests = []
    for task_type in ("create_k8s_cluster_v2", "create_image"):
        cloud = SimulatedCloud.virtual()
        on.wait(cloud, cloud.add(finishes(300, task_type=task_type)), learn=False)
        requests.append(len(cloud.requests))
    assert requests[0] < 0.7 * requests[1]


def test_type_is_claimed_once() -> None:
    """One wait requests the history for all."""
    history_cache = HistoryCache()
    assert [history_cache.claim("create_vm", began=0.0, now=9.0) for _ in range(3)] == [True, False, False]


def test_claim_without_result_expires() -> None:
    """A claim expires after a minute, each further one after twice as long, up to an hour; a success ends the row."""
    history_cache = HistoryCache()
    granted = [now for now in range(20_000) if history_cache.claim("create_vm", began=0.0, now=now)]
    assert [later - now for now, later in pairwise(granted)] == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    history_cache.store(VM, History(), now=20_000.0)
    again = [now for now in range(23_600, 23_700) if history_cache.claim("create_vm", began=23_600.0, now=now)]
    assert again == [23_600, 23_660]


def test_listing_full_of_running_tasks_is_requested_again() -> None:
    """After a hundred tasks were started together, the listing shows no others until some have ended."""
    history_cache, running = HistoryCache(), [1.0] * 100
    for history, again in ((History(running=running), True), (History([9.0], running=running), False), (History(), False)):
        assert history_cache.claim("create_vm", began=0.0, now=0.0)
        history_cache.store(VM, history, now=0.0)
        assert history_cache.claim("create_vm", began=0.0, now=60.0) is again
        history_cache = HistoryCache()


def test_types_are_claimed_independently() -> None:
    """A claim of one type does not block another."""
    history_cache = HistoryCache()
    assert history_cache.claim("create_vm", began=0.0, now=9.0)
    assert history_cache.claim("delete_vm", began=0.0, now=9.0)


def test_only_a_wait_that_began_with_an_old_history_renews_it() -> None:
    """A wait that began with a fresh history keeps it, however long it takes."""
    history_cache = HistoryCache()
    history_cache.store(VM, History(), now=0.0)
    claims = [history_cache.claim("create_vm", began=began, now=9_000.0) for began in (0.0, 3_599.0, 3_600.0, 3_601.0)]
    assert claims == [False, False, True, False]


def test_concurrent_threads_claim_once() -> None:
    """Of many threads that claim a type together, one succeeds."""
    history_cache = HistoryCache()
    with ThreadPoolExecutor(8) as pool:
        claims = pool.map(lambda _: history_cache.claim("create_vm", began=0.0, now=9.0), range(200))
        assert sum(claims) == 1


def test_failed_listing_is_repeated_later(on: Driver, events: list[Any]) -> None:
    """It is repeated a minute after the first failure and two after the second, until it succeeds."""
    cloud = cloud_with_past(500.0, 600.0, 700.0)
    cloud.fault(status(503), on="listing", times=2)
    on.wait(cloud, cloud.add(finishes(600, task_type="create_k8s_cluster_v2")), on_event=events.append)
    asked = [request.at for request in cloud.requests if "?" in request.path]
    assert [60 <= later - before < 60 + longest for (before, later), longest in zip(pairwise(asked), (8, 80), strict=True)]
    assert [event.name for event in events if event.name.startswith("history.")] == [
        "history.unavailable",
        "history.unavailable",
        "history.learned",
    ]


def test_old_history_is_renewed(on: Driver, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    """A history that is older than an hour is requested again, and later waits use the new one."""
    shared = HistoryCache()
    monkeypatch.setattr("waiter.session.HistoryCache", lambda: shared)
    cloud = cloud_with_past(60.0, 61.0, 62.0)
    listed = []
    for pause in (0, 1_000, 3_600):
        cloud.sleep(pause)
        on.wait(cloud, cloud.add(finishes(60, task_type="create_k8s_cluster_v2")), on_event=events.append)
        listed.append(listings(cloud))
    assert listed == [1, 1, 2]
    assert [event.fields["count"] for event in events if event.name == "history.learned"] == [3, 5]


def test_history_that_cannot_be_renewed_is_kept(on: Driver, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    """When a later listing fails, the old history remains in use."""
    shared = HistoryCache()
    monkeypatch.setattr("waiter.session.HistoryCache", lambda: shared)
    cloud = cloud_with_past(60.0, 61.0, 62.0)
    on.wait(cloud, cloud.add(finishes(60, task_type="create_k8s_cluster_v2")))
    cloud.sleep(4_000)
    cloud.fault(status(500), on="listing")
    on.wait(cloud, cloud.add(finishes(60, task_type="create_k8s_cluster_v2")), on_event=events.append)
    assert listings(cloud) == 2
    assert all("time_left" in event.fields for event in events if event.name == "history.unavailable")


def test_age_of_the_task_decides_when_history_is_requested(on: Driver) -> None:
    """A wait for an old task requests the history right after its first poll."""
    cloud = cloud_with_past(600.0, 610.0)
    on.wait(cloud, cloud.add(finishes(700, age=650, task_type="create_k8s_cluster_v2")))
    assert ["?" in request.path for request in cloud.requests[:2]] == [False, True]


def test_past_of_a_type_can_be_listed() -> None:
    """``Waiter.past`` returns the tasks with their ages, newest first."""
    cloud = cloud_with_past(60.0, 70.0)
    with Waiter(**cloud.options) as waiter:
        past = waiter.past("create_k8s_cluster_v2")
    took = [one.task.finished_on - one.task.created_on for one in past if one.task.finished_on and one.task.created_on]
    assert [length.total_seconds() for length in took] == [70, 60]


def test_ended_tasks_without_times_are_ignored() -> None:
    """A task without times has no duration; a running task counts with its age."""
    running = TaskSnapshot(Task(id="a", state=TaskState.RUNNING), age=7.0)
    timeless = TaskSnapshot(Task(id="b", state=TaskState.FINISHED), age=9.0)
    assert history_of([running, timeless]) == History(durations=(), running=(7.0,))


def test_ended_task_requests_no_history() -> None:
    """For a task that has ended at the first poll no history is requested."""
    cloud = cloud_with_past(60.0)
    wait_for_task(cloud.add(ended(task_type="create_k8s_cluster_v2"), watched=False), **cloud.options)
    assert listings(cloud) == 0


def test_long_delay_is_shortened_by_a_history_of_another_wait() -> None:
    """The interval now is that of the task's age now, with the history that another wait has requested."""
    now = [0.0]
    history_cache, settings = HistoryCache(), resolve({"api_key": "k", "learn": True, "clock": lambda: now[0]})
    state, task = WaitState("t-1", settings, history_cache), Task(id="t-1", state=TaskState.RUNNING, task_type="create_vm")
    state.record_snapshot(TaskSnapshot(task, 10.0))
    now[0] = 20.0
    history_cache.store(task, History([40.0] * 20), now=now[0])
    schedule = Schedule(history=history_cache.get(task))
    assert state.interval_now(99.0) == pytest.approx(schedule.interval(30.0), rel=0.101)
    assert schedule.interval(30.0) > 1.3 * Schedule().interval(30.0)


@example(past=[], timeout=11.0, price=1.0, latency=3.0, fault_rate=0.0)  # the listing was under way at the deadline
@given(
    past=st.lists(st.floats(min_value=0, max_value=5000), max_size=20),
    timeout=st.floats(min_value=0, max_value=3000),
    price=st.floats(min_value=0.01, max_value=100),
    latency=st.sampled_from([0.0, 0.05, 3.0]),
    fault_rate=st.sampled_from([0.0, 0.1]),
)
def test_last_poll_is_at_the_deadline(
    past: list[float], timeout: float, price: float, latency: float, fault_rate: float
) -> None:
    """For any history, latency and failures, the last poll begins at the deadline, or is under way then."""
    faults = status(500), html(200), truncated(), reset()  # none that slows polls down: the rate limit has priority
    cloud = SimulatedCloud.virtual(strict=False, latency=latency, fault_rate=fault_rate, usual_faults=faults)
    cloud.add_past("create_vm", past)
    task_id = cloud.add(never_ends(task_type="create_vm"))
    with pytest.raises(TaskTimeoutError), Waiter(**cloud.options, timeout=timeout, price=price) as waiter:
        waiter.wait(task_id)

    *earlier, last = (request.at for request in cloud.requests if request.task_id == task_id)
    assert timeout - EPSILON <= last + latency <= timeout + latency + EPSILON
    assert all(at + latency < timeout for at in earlier)
