"""The metrics: how much, how often and how long, and never the name of a resource."""

from __future__ import annotations

import re
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from waiter.sidecar.model import Status, Wait
from waiter.task import Task

# The type of a task comes from outside, and each value of a label is a time series of its own for ever.
MOST_TASK_TYPES = 100
_TASK_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESULTS = {200: "ok", 401: "refused", 403: "refused", 404: "not_found", None: "no_answer"}
_TASK_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_DELAY_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60)


class Metrics:
    """What Prometheus reads."""

    def __init__(self, waits: Callable[[], Iterable[Wait]]) -> None:
        self._registry = registry = CollectorRegistry()
        self._task_types: set[str] = set()
        registry.register(_Waits(waits))
        ProcessCollector(registry=registry)
        self._polls = Counter("waiter_polls", "Requests to the API, by what became of them", ["result"], registry=registry)
        self._poll_seconds = Histogram("waiter_poll_seconds", "How long the API took to answer", registry=registry)
        self._task_seconds = Histogram(
            "waiter_task_seconds",
            "How long tasks took, from creation to end, by the API's own times",
            ["task_type", "state"],
            buckets=_TASK_SECONDS,
            registry=registry,
        )
        self._delay_seconds = Histogram(
            "waiter_detection_delay_seconds",
            "How long after their end tasks were seen to have ended",
            buckets=_DELAY_SECONDS,
            registry=registry,
        )

    def polled(self, seconds: float, status: int | None) -> None:
        """Count a request that was answered with this HTTP status, or not at all."""
        self._polls.labels(_RESULTS.get(status, "unusable")).inc()
        self._poll_seconds.observe(seconds)

    def task_ended(self, task: Task, delay: float | None) -> None:
        """Count a task that has ended, and how late that was seen."""
        if task.created_on and task.finished_on:
            took = (task.finished_on - task.created_on).total_seconds()
            self._task_seconds.labels(self._label(task.task_type), task.state.lower()).observe(max(0.0, took))
        if delay is not None:
            self._delay_seconds.observe(delay)

    def _label(self, task_type: str | None) -> str:
        if task_type is None or not _TASK_TYPE.fullmatch(task_type):
            return "other"
        if len(self._task_types) < MOST_TASK_TYPES:
            self._task_types.add(task_type)
        return task_type if task_type in self._task_types else "other"

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """Give the body and the content type that a scraper accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Waits(Collector):
    def __init__(self, waits: Callable[[], Iterable[Wait]]) -> None:
        self._waits = waits

    def collect(self) -> Iterator[Metric]:
        count = Count(wait.status for wait in self._waits())
        family = GaugeMetricFamily("waiter_waits", "Waits that are kept, by how far they have come", labels=["state"])
        for status in Status:
            family.add_metric([status], count[status])
        yield family
