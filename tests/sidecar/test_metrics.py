"""The metrics: counts and durations, without the name of any resource."""

from __future__ import annotations

from collections.abc import Mapping
from platform import python_version

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sidecar_parts import NOW, make_task

from waiter._version import __version__
from waiter.outcome import WaitStatus
from waiter.sidecar.metrics import MAX_TASK_TYPES, Metrics
from waiter.sidecar.model import Wait

TIMES = {"created_on": "2027-01-15T08:00:00", "finished_on": "2027-01-15T08:00:19"}


def samples(metrics: Metrics) -> Mapping[str, float]:
    """Return the samples that Prometheus reads, without buckets."""
    body, content_type = metrics.render("text/plain")
    assert content_type.startswith("text/plain; version=")
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name.startswith("waiter") and not sample.name.endswith("_bucket")
    }


EMPTY = {
    f"waiter_build_info{sorted([__version__, python_version()])}": 1,
    **{f"waiter_waits['{status}']": 0 for status in WaitStatus},
    "waiter_poll_seconds_count[]": 0,
    "waiter_poll_seconds_sum[]": 0,
    "waiter_detection_delay_seconds_count[]": 0,
    "waiter_detection_delay_seconds_sum[]": 0,
    **{f"waiter_webhook_attempts_total['{result}']": 0 for result in ("delivered", "failed", "given_up")},
}


def test_waits_are_counted_by_status() -> None:
    """A status without waits is 0."""
    waits = [Wait(id=str(number), accepted_at=NOW) for number in range(3)]
    waits[0] = waits[0].with_end(WaitStatus.FAILED, NOW)
    assert samples(Metrics(lambda: waits)) == EMPTY | {"waiter_waits['failed']": 1, "waiter_waits['waiting']": 2}


def test_polls_are_counted_by_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The response time of each is recorded too, and when the last one of each result ended."""
    monkeypatch.setattr("time.time", lambda: NOW)
    metrics = Metrics(list)
    for status in (200, 200, 401, 403, 404, 429, 503, None):
        metrics.record_poll(0.5, status)
    counts = {"ok": 2, "refused": 2, "not_found": 1, "unusable": 2, "no_answer": 1}
    polls = {f"waiter_polls_total['{result}']": count for result, count in counts.items()}
    seconds = {"waiter_poll_seconds_count[]": 8, "waiter_poll_seconds_sum[]": 4.0}
    found = dict(samples(metrics))
    last = {result: found.pop(f"waiter_last_poll_timestamp_seconds['{result}']") for result in counts}
    assert found == EMPTY | polls | seconds
    assert set(last.values()) == {NOW}


def test_webhooks_are_counted_by_result() -> None:
    """Each series exists from the start, so that the increase to its first value is seen."""
    metrics = Metrics(list)
    metrics.record_webhook("failed")
    assert samples(metrics) == EMPTY | {"waiter_webhook_attempts_total['failed']": 1}


def test_tasks_are_measured_by_type_and_state() -> None:
    """The duration by the API's timestamps and the detection delay are recorded where they are known."""
    metrics = Metrics(list)
    metrics.record_task_end(make_task(state="FINISHED", **TIMES), 1.5)
    metrics.record_task_end(make_task(state="ERROR", **TIMES), None)
    metrics.record_task_end(make_task(state="FINISHED"), None)
    assert samples(metrics) == EMPTY | {
        "waiter_task_seconds_count['create_vm', 'finished']": 1,
        "waiter_task_seconds_sum['create_vm', 'finished']": 19,
        "waiter_task_seconds_count['create_vm', 'error']": 1,
        "waiter_task_seconds_sum['create_vm', 'error']": 19,
        "waiter_detection_delay_seconds_count[]": 1,
        "waiter_detection_delay_seconds_sum[]": 1.5,
    }


@pytest.mark.parametrize("task_type", [None, "Create VM", "x" * 65, 'evil"} 1'])
def test_unusual_type_is_other(task_type: str | None) -> None:
    """A malformed task type gets no label."""
    metrics = Metrics(list)
    metrics.record_task_end(make_task(state="FINISHED", task_type=task_type, **TIMES), None)
    assert samples(metrics)["waiter_task_seconds_count['finished', 'other']"] == 1


def test_number_of_type_labels_is_limited() -> None:
    """Each label is a time series; only the first hundred types get one."""
    metrics = Metrics(list)
    for number in [*range(MAX_TASK_TYPES + 5), 0]:
        metrics.record_task_end(make_task(state="FINISHED", **TIMES | {"task_type": f"t{number}"}), None)
    found = samples(metrics)
    assert found["waiter_task_seconds_count['finished', 'other']"] == 5
    assert found["waiter_task_seconds_count['finished', 't0']"] == 2
    assert len(found) == len(EMPTY) + 2 * (MAX_TASK_TYPES + 1)


def test_openmetrics_is_supported() -> None:
    """A scraper that accepts it gets it."""
    body, content_type = Metrics(list).render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert b"_created" not in body
