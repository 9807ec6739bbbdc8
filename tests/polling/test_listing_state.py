"""A listing that is repeated through an outage, as a wait repeats its polls."""

from __future__ import annotations

from math import inf

import pytest

from waiter import ApiUnavailableError, AuthenticationError, TaskTimeoutError, Waiter
from waiter.api.requests import TaskFilter
from waiter.config.settings import resolve
from waiter.events import Event
from waiter.polling.listing_state import ListingState
from waiter.testing import Fault, SimulatedCloud, hang, never_ends, status


def requested_at(cloud: SimulatedCloud) -> list[float]:
    return [round(request.at, 3) for request in cloud.requests]


def test_outage_is_survived_and_reported() -> None:
    """With the events of a wait, which have the path in the place of an ID; a success ends the listing."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.add(never_ends(), task_id="a")
    cloud.fault(status(503), on="listing", times=2)
    events: list[Event] = []
    with Waiter(**cloud.options, on_event=events.append) as waiter:
        assert [one.task.id for one in waiter.await_listing(TaskFilter(), 10)] == ["a"]
    assert len(cloud.requests) == 3
    assert [(event.name, event.task_id) for event in events] == [
        ("poll.failed", "/cloud/v1/tasks"),
        ("poll.failed", "/cloud/v1/tasks"),
        ("poll.recovered", "/cloud/v1/tasks"),
    ]
    assert (events[0].fields["status"], events[0].fields["gives_up_in"]) == (503, 300.0)


def test_last_request_is_made_when_the_outage_is_over() -> None:
    """Retry-After is obeyed within that time."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(status(429, retry_after=25), times=inf)
    with (
        Waiter(**cloud.options, max_outage=60.0) as waiter,
        pytest.raises(ApiUnavailableError, match=r"^no usable answer for 60 s: the API returned 429") as caught,
    ):
        waiter.await_listing(TaskFilter(), 10)
    assert (requested_at(cloud), caught.value.status) == ([0.0, 25.0, 50.0, 60.0], 429)


@pytest.mark.parametrize("fault", [status(503), hang()], ids=["503", "no answer"])
def test_outage_beyond_the_deadline_is_a_timeout(fault: Fault) -> None:
    """As that of a wait is; a request that is under way then is the final one."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(fault, times=inf)
    with Waiter(**cloud.options, timeout=20.0) as waiter, pytest.raises(TaskTimeoutError) as caught:
        waiter.await_listing(TaskFilter(), 10)
    message = str(caught.value)
    assert message.startswith("not as awaited after ")
    assert " s: the list of tasks is not seen yet; the last poll failed: " in message
    assert 20.0 <= caught.value.waited <= 30.0


def test_time_that_was_waited_has_three_decimals() -> None:
    """As in the error and the events of a wait."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(status(503), times=inf)
    with Waiter(**cloud.options, timeout=20.1234567) as waiter, pytest.raises(TaskTimeoutError) as caught:
        waiter.await_listing(TaskFilter(), 10)
    assert caught.value.waited == 20.123


@pytest.mark.parametrize(("left", "seconds"), [(25.0, 30.0), (20.0, 30.0), (15.0, 25.0), (0.5, 10.5), (0.0, 5.0), (-1.0, 5.0)])
def test_page_may_take_half_a_minute_but_not_far_beyond_the_deadline(left: float, seconds: float) -> None:
    """A request that is sent at the deadline is the final one, and may take as long as a final poll."""
    now = [0.0]
    state = ListingState(resolve({"api_key": "1$abcdef", "timeout": 25.0, "clock": lambda: now[0]}, {}))
    now[0] = 25.0 - left
    assert state.request_timeout == seconds


def test_outage_begins_when_the_listing_is_requested() -> None:
    """Not when the state was made."""
    now = [0.0]
    state = ListingState(resolve({"api_key": "1$abcdef", "max_outage": 50.0, "clock": lambda: now[0]}, {}))
    now[0] = 10.0
    state.record_start()
    state.record_failure(ApiUnavailableError("x"))
    stops = []
    for now[0] in (55.0, 60.0):
        stops.append(state.should_stop())
    assert stops == [False, True]


def test_refused_key_ends_the_listing() -> None:
    """No repetition mends it."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(status(401), times=inf)
    with Waiter(**cloud.options) as waiter, pytest.raises(AuthenticationError):
        waiter.await_listing(TaskFilter(), 10)
    assert len(cloud.requests) == 1


def test_time_of_the_listing_counts_towards_the_timeout() -> None:
    """Of the waits that follow."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.add(never_ends(), task_id="a")
    with Waiter(**cloud.options, timeout=20.0) as waiter:
        waiter.reduce_timeout(15.0)
        with pytest.raises(TaskTimeoutError) as caught:
            waiter.wait("a")
        assert caught.value.waited == 5.0
        waiter.reduce_timeout(15.0)
        with pytest.raises(TaskTimeoutError) as caught:
            waiter.wait("a")
        assert caught.value.waited == 0.0
