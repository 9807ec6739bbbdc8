"""Failed polls are retried until an outage has lasted too long."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from drivers import Driver
from fault_table import SURVIVED
from tenacity import wait_fixed

from waiter import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    InvalidResponseError,
    PermissionDeniedError,
    TaskTimeoutError,
)
from waiter.testing import (
    Fault,
    SimulatedCloud,
    drip,
    finishes,
    hang,
    never_ends,
    other_task,
    status,
)


def name_of(fault: Fault) -> str:
    return fault.name


def request_times(cloud: SimulatedCloud) -> list[int]:
    return [round(request.at) for request in cloud.requests]


@pytest.mark.parametrize("fault", SURVIVED, ids=name_of)
def test_every_transient_fault_is_survived(on: Driver, cloud: SimulatedCloud, fault: Fault) -> None:
    """One bad response delays a wait and does not end it."""
    task_id = cloud.add(finishes(10))
    cloud.fault(fault)
    assert on.wait(cloud, task_id).ended


def test_outage_of_four_minutes_with_every_fault_is_survived(on: Driver, events: list[Any]) -> None:
    """Any mix of faults is survived within max_outage."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(120, {"instances": ["i-1"]}))
    share = 240 / len(SURVIVED)
    for index, fault in enumerate(SURVIVED):
        cloud.outage(6 + index * share, share, fault)
    assert on.wait(cloud, task_id, on_event=events.append).created_resources.instances == ("i-1",)
    assert [event.name for event in events if event.name.startswith(("task.", "poll.recovered", "history."))] == [
        "task.state_changed",
        "history.learned",
        "poll.recovered",
        "task.state_changed",
        "task.finished",
    ]
    assert 246 <= cloud.elapsed < 295


def test_outage_longer_than_max_outage_ends_the_wait(on: Driver, cloud: SimulatedCloud) -> None:
    """The error says how long it lasted, what the last fault was, and that the task is still running."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.outage(0, 400, status(503, message="Maintenance"))
    with pytest.raises(ApiUnavailableError) as caught:
        on.wait(cloud, task_id)
    assert str(caught.value) == (
        f"no usable answer for 300 s: the API returned 503: ServiceUnavailable Maintenance ({task_id}); "
        "the task is still running"
    )
    assert (caught.value.status, caught.value.url) == (503, f"https://api.gcore.com/cloud/v1/tasks/{task_id}")
    assert isinstance(caught.value.__cause__, ApiUnavailableError)
    assert round(cloud.elapsed) == 300


def test_max_outage_counts_failures_in_a_row(on: Driver, cloud: SimulatedCloud) -> None:
    """Two outages with a good response between them are two outages."""
    task_id = cloud.add(finishes(100))
    cloud.outage(5, 40, status(500))
    cloud.outage(60, 30, status(500))
    assert on.wait(cloud, task_id, max_outage=50).ended


def test_invalid_responses_for_too_long_are_an_outage(on: Driver, cloud: SimulatedCloud) -> None:
    """The cause is the fault of the last response."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(other_task("somebody-elses"), times=math.inf)
    with pytest.raises(ApiUnavailableError, match="it describes task somebody-elses") as caught:
        on.wait(cloud, task_id, max_outage=20)
    assert isinstance(caught.value.__cause__, InvalidResponseError)


def test_timeout_in_an_outage_carries_the_last_error(on: Driver, cloud: SimulatedCloud) -> None:
    """The deadline holds in an outage."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.outage(5, 100, status(502))
    with pytest.raises(TaskTimeoutError, match="last seen RUNNING; the last poll failed: the API returned 502") as caught:
        on.wait(cloud, task_id, timeout=30)
    assert caught.value.last_error is not None
    assert (caught.value.last_error.status, round(cloud.elapsed)) == (502, 30)


@pytest.mark.parametrize("fault", [hang(), drip(part="headers"), drip(part="body")], ids=name_of)
def test_deadline_holds_to_within_one_request_timeout(on: Driver, cloud: SimulatedCloud, fault: Fault) -> None:
    """A server that does not respond, or sends a byte now and then, cannot hold a wait."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(fault, times=math.inf)
    with pytest.raises(TaskTimeoutError, match="never seen"):
        on.wait(cloud, task_id, timeout=60)
    assert 60 <= cloud.elapsed <= 70


@pytest.mark.parametrize(
    ("code", "error"),
    [(401, AuthenticationError), (403, PermissionDeniedError), (400, ApiError), (405, ApiError), (418, ApiError)],
)
def test_permanent_error_ends_the_wait(on: Driver, cloud: SimulatedCloud, code: int, error: type[ApiError]) -> None:
    """Waiting does not help against it."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(status(code))
    with pytest.raises(ApiError, match=str(code)) as caught:
        on.wait(cloud, task_id)
    assert type(caught.value) is error
    assert (caught.value.status, len(cloud.requests)) == (code, 1)
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("asked_for", "seconds"),
    [
        ("20", 20),
        ("Wed, 01 Jul 2026 12:00:25 GMT", 25),
        ("99999999999999999999", 100),
        ("31536000", 100),
        ("Thu, 01 Jul 2027 12:00:25 GMT", 100),
    ],
)
def test_retry_after_is_obeyed_within_the_deadline(on: Driver, asked_for: str, seconds: int) -> None:
    """Seconds or a date by the server's clock; a longer one ends with the final poll at the deadline."""
    cloud = SimulatedCloud.virtual(start=datetime(2026, 7, 1, 12, tzinfo=UTC))
    task_id = cloud.add(never_ends())
    cloud.fault(status(503, asked_for))
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=100, wait=wait_fixed(50))
    assert request_times(cloud)[1] == seconds


@pytest.mark.parametrize("asked_for", ["soon", "-5", "0", "", "1e3", "Wed, 01 Jul 1998 12:00:00 GMT"])
def test_invalid_retry_after_is_ignored(on: Driver, cloud: SimulatedCloud, asked_for: str) -> None:
    """Garbage, the past and zero leave the back-off as it is."""
    task_id = cloud.add(finishes(5))
    cloud.fault(status(429, asked_for))
    on.wait(cloud, task_id)
    assert request_times(cloud)[1] <= 1


def test_retry_after_is_obeyed_within_max_outage(on: Driver, cloud: SimulatedCloud) -> None:
    """A final poll is sent when max_outage ends."""
    task_id = cloud.add(finishes(30))
    cloud.fault(status(503, 600))
    assert on.wait(cloud, task_id, max_outage=60).ended
    assert request_times(cloud) == [0, 60]


def test_repeated_retry_after_does_not_prolong_an_outage(on: Driver, cloud: SimulatedCloud) -> None:
    """The wait ends when max_outage has passed."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(status(503, 25), times=math.inf)
    with pytest.raises(ApiUnavailableError, match="no usable answer for 60 s"):
        on.wait(cloud, task_id, max_outage=60, timeout=None)
    assert request_times(cloud) == [0, 25, 50, 60]


def test_failed_polls_are_reported_with_the_delay_to_the_next(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """``poll.failed`` counts the failures in a row, ``poll.recovered`` says how long they lasted."""
    task_id = cloud.add(finishes(20))
    cloud.fault(status(503, 5), times=2)
    on.wait(cloud, task_id, on_event=events.append)
    why = f"the API returned 503: ServiceUnavailable Service Unavailable ({task_id})"
    assert [dict(event.fields) for event in events if event.name.startswith("poll.")] == [
        {"task_id": task_id, "attempt": 1, "error": why, "status": 503, "retry_in": 5.0, "gives_up_in": 300.0},
        {"task_id": task_id, "attempt": 2, "error": why, "status": 503, "retry_in": 5.0, "gives_up_in": 295.0},
        {"task_id": task_id, "outage": 10.0},
    ]


def test_404_after_an_outage_has_its_full_grace(on: Driver, cloud: SimulatedCloud) -> None:
    """An outage before it does not use up the grace of a task that is not found."""
    task_id = cloud.add(finishes(20))
    cloud.fault(status(503, retry_after=15), times=3)
    cloud.fault(status(404), times=2)
    assert on.wait(cloud, task_id).ended


def test_key_file_is_read_again_after_a_401(on: Driver, cloud: SimulatedCloud, tmp_path: Path) -> None:
    """A key file that has changed is used."""
    file = tmp_path / "key"
    file.write_text("old$key\n")
    task_id = cloud.add(finishes(10))

    def rotate(_: Any) -> None:
        cloud.api_key = "new$key"
        file.write_text("new$key\n")

    cloud.api_key = "old$key"
    assert on.wait(cloud, task_id, api_key=file, on_event=rotate).ended
    assert [request.status for request in cloud.requests].count(401) == 1


def test_refused_key_that_was_never_accepted_ends_the_wait(on: Driver, cloud: SimulatedCloud, tmp_path: Path) -> None:
    """A refused key is not sent twice."""
    file = tmp_path / "key"
    file.write_text("wrong$key")
    task_id = cloud.add(never_ends(), watched=False)
    with pytest.raises(AuthenticationError):
        on.wait(cloud, task_id, api_key=file)
    assert len(cloud.requests) == 1


def rotate_after(cloud: SimulatedCloud, file: Path, *, refused_for: float) -> Any:
    """Return an ``on_event`` that changes the accepted key when the task is first seen, and the key's file later."""

    def on_event(event: Any) -> None:
        if event.name == "task.state_changed" and event.fields["old"] is None:
            cloud.api_key = "new$key"
        if event.name == "poll.failed" and cloud.elapsed >= refused_for:
            file.write_text("new$key")

    cloud.api_key = "old$key"
    file.write_text("old$key")
    return on_event


@pytest.mark.parametrize("code", [401, 403])
def test_key_that_was_accepted_may_be_refused_for_a_minute(
    on: Driver, cloud: SimulatedCloud, tmp_path: Path, code: int
) -> None:
    """A mounted secret lags behind its rotation; the key is read again before each poll is given up."""
    task_id = cloud.add(finishes(40))
    if code == 403:
        cloud.outage(5, 30, status(403))
    file = tmp_path / "key"
    on_event = rotate_after(cloud, file, refused_for=40) if code == 401 else None
    file.write_text(cloud.api_key)
    assert on.wait(cloud, task_id, api_key=file, on_event=on_event, learn=False).ended


def test_key_that_is_refused_for_longer_ends_the_wait(on: Driver, cloud: SimulatedCloud, tmp_path: Path) -> None:
    """The error is that of the refused key, and the grace is that of the refusals alone."""
    task_id = cloud.add(never_ends(), watched=False)
    file = tmp_path / "key"
    cloud.outage(1, 20, status(503))
    with pytest.raises(AuthenticationError):
        on.wait(cloud, task_id, api_key=file, on_event=rotate_after(cloud, file, refused_for=math.inf), learn=False)
    refused_at = [request.at for request in cloud.requests if request.at >= 21]
    assert refused_at[-1] - refused_at[0] == pytest.approx(60.0, abs=0.01)


def test_key_that_cannot_change_ends_the_wait_when_it_is_refused(on: Driver, cloud: SimulatedCloud) -> None:
    """A string is the same in a minute."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.outage(5, 1000, status(401))
    with pytest.raises(AuthenticationError):
        on.wait(cloud, task_id, learn=False)
    assert cloud.elapsed < 15


def test_retry_after_is_limited_to_an_hour(on: Driver, cloud: SimulatedCloud) -> None:
    """A wait without limits polls again after an hour."""
    task_id = cloud.add(finishes(30))
    cloud.fault(status(503, 10**9))
    assert on.wait(cloud, task_id, timeout=None, max_outage=10**6).ended
    assert request_times(cloud) == [0, 3600]


def test_request_timeout_grows_with_failures(on: Driver, cloud: SimulatedCloud) -> None:
    """Up to half a minute for one response."""
    task_id = cloud.add(finishes(0))
    cloud.fault(hang(29), times=math.inf)
    assert on.wait(cloud, task_id).ended
    assert [request.task_id for request in cloud.requests] == [task_id] * 5


def test_request_timeout_is_at_most_half_a_minute(on: Driver, cloud: SimulatedCloud) -> None:
    """After any number of failures."""
    task_id = cloud.add(never_ends(), watched=False)
    cloud.fault(hang(), times=math.inf)
    with pytest.raises(ApiUnavailableError):
        on.wait(cloud, task_id)
    assert 30 < max(later - earlier for earlier, later in pairwise(request_times(cloud))) < 30 + 15 * 1.25 + 1
