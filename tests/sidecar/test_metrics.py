"""The metrics: how much, how often and how long, and nothing that names a resource."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sidecar_parts import NOW, make_task

from waiter.sidecar.metrics import MOST_TASK_TYPES, Metrics
from waiter.sidecar.model import Status, Wait

TIMES = {"created_on": "2027-01-15T08:00:00", "finished_on": "2027-01-15T08:00:19"}


def samples(metrics: Metrics) -> Mapping[str, float]:
    """Read what Prometheus would, buckets and ``_created`` left out."""
    body, content_type = metrics.exposed("text/plain")
    assert content_type.startswith("text/plain; version=")
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name.startswith("waiter") and not sample.name.endswith(("_bucket", "_created"))
    }


NOTHING = {
    **{f"waiter_waits['{status}']": 0 for status in Status},
    "waiter_poll_seconds_count[]": 0,
    "waiter_poll_seconds_sum[]": 0,
    "waiter_detection_delay_seconds_count[]": 0,
    "waiter_detection_delay_seconds_sum[]": 0,
}


def test_waits_are_counted_by_how_far_they_have_come() -> None:
    """Those that are there now; a status that no wait has is 0."""
    waits = [Wait(id=str(number), accepted_at=NOW) for number in range(3)]
    waits[0] = waits[0].over(Status.FAILED, NOW)
    assert samples(Metrics(lambda: waits)) == NOTHING | {"waiter_waits['failed']": 1, "waiter_waits['waiting']": 2}


def test_polls_are_counted_by_what_became_of_them() -> None:
    """And how long each took."""
    metrics = Metrics(list)
    for status in (200, 200, 401, 403, 404, 429, 503, None):
        metrics.polled(0.5, status)
    counts = {"ok": 2, "refused": 2, "not_found": 1, "unusable": 2, "no_answer": 1}
    polls = {f"waiter_polls_total['{result}']": count for result, count in counts.items()}
    seconds = {"waiter_poll_seconds_count[]": 8, "waiter_poll_seconds_sum[]": 4.0}
    assert samples(metrics) == NOTHING | polls | seconds


def test_tasks_are_measured_by_type_and_end() -> None:
    """How long they took by the API's times, and how late their end was seen, as far as both are known."""
    metrics = Metrics(list)
    metrics.task_ended(make_task(state="FINISHED", **TIMES), 1.5)
    metrics.task_ended(make_task(state="ERROR", **TIMES), None)
    metrics.task_ended(make_task(state="FINISHED"), None)
    assert samples(metrics) == NOTHING | {
        "waiter_task_seconds_count['create_vm', 'finished']": 1,
        "waiter_task_seconds_sum['create_vm', 'finished']": 19,
        "waiter_task_seconds_count['create_vm', 'error']": 1,
        "waiter_task_seconds_sum['create_vm', 'error']": 19,
        "waiter_detection_delay_seconds_count[]": 1,
        "waiter_detection_delay_seconds_sum[]": 1.5,
    }


@pytest.mark.parametrize("task_type", [None, "Create VM", "x" * 65, 'evil"} 1'])
def test_a_strange_type_is_other(task_type: str | None) -> None:
    """What comes from outside makes no label of its own."""
    metrics = Metrics(list)
    metrics.task_ended(make_task(state="FINISHED", task_type=task_type, **TIMES), None)
    assert samples(metrics)["waiter_task_seconds_count['finished', 'other']"] == 1


def test_the_number_of_types_is_bounded() -> None:
    """Each is a time series for ever: the first hundred have their own."""
    metrics = Metrics(list)
    for number in [*range(MOST_TASK_TYPES + 5), 0]:
        metrics.task_ended(make_task(state="FINISHED", **TIMES | {"task_type": f"t{number}"}), None)
    found = samples(metrics)
    assert found["waiter_task_seconds_count['finished', 'other']"] == 5
    assert found["waiter_task_seconds_count['finished', 't0']"] == 2
    assert len(found) == len(NOTHING) + 2 * (MOST_TASK_TYPES + 1)


def test_openmetrics_is_spoken_too() -> None:
    """To a scraper that asks for it."""
    body, content_type = Metrics(list).exposed("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
