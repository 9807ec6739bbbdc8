"""The metrics: counts and durations, without the name of any resource."""

from __future__ import annotations

import re
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator
from platform import python_version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from waiter._version import __version__
from waiter.outcome import WaitStatus
from waiter.sidecar.model import Wait
from waiter.task import Task

# Task types come from the API, and each value of a label is a time series that Prometheus keeps.
MAX_TASK_TYPES = 100
_TASK_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESULTS = {200: "ok", 401: "refused", 403: "refused", 404: "not_found", None: "no_answer"}
_TASK_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_DELAY_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60)


# A series beside each counter and histogram with the time of its creation, which nothing here uses.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics that Prometheus reads."""

    def __init__(self, waits: Callable[[], Iterable[Wait]]) -> None:
        self._registry = registry = CollectorRegistry()
        self._task_types: set[str] = set()
        self._gauges: dict[str, Gauge] = {}
        registry.register(_WaitCollector(waits))
        ProcessCollector(registry=registry)
        build = {"version": __version__, "python": python_version()}
        Info("waiter_build", "The versions of waiter and Python", registry=registry).info(build)
        self._polls = Counter("waiter_polls", "Requests to the API, by result", ["result"], registry=registry)
        self._last_poll = Gauge(
            "waiter_last_poll_timestamp_seconds",
            "When the last request to the API ended, by result",
            ["result"],
            registry=registry,
        )
        self._poll_seconds = Histogram("waiter_poll_seconds", "Response time of the API", registry=registry)
        self._webhooks = Counter(
            "waiter_webhook_attempts", "Attempts to deliver webhooks, by result", ["result"], registry=registry
        )
        for result in ("delivered", "failed", "given_up"):
            self._webhooks.labels(result)  # increase() misses the first of a series that begins with it
        self._task_seconds = Histogram(
            "waiter_task_seconds",
            "Duration of tasks from creation to end, by the API's own timestamps",
            ["task_type", "state"],
            buckets=_TASK_SECONDS,
            registry=registry,
        )
        self._delay_seconds = Histogram(
            "waiter_detection_delay_seconds",
            "Time from the end of a task to the poll that saw it",
            buckets=_DELAY_SECONDS,
            registry=registry,
        )

    def add_gauge(self, name: str, description: str, read: Callable[[], float], **labels: str) -> None:
        """Add a gauge, or a series with other labels to it, whose value is read at each scrape."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, description, list(labels), registry=self._registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def record_poll(self, seconds: float, status: int | None) -> None:
        """Record a request and its HTTP status, None when there was no response."""
        result = _RESULTS.get(status, "unusable")
        self._polls.labels(result).inc()
        self._last_poll.labels(result).set_to_current_time()
        self._poll_seconds.observe(seconds)

    def record_webhook(self, result: str) -> None:
        """Record an attempt to deliver a webhook: ``delivered`` or ``failed``; ``given_up`` when there will be no other."""
        self._webhooks.labels(result).inc()

    def record_task_end(self, task: Task, delay: float | None) -> None:
        """Record a task that has ended, and the seconds from its end to the poll that saw it."""
        if task.created_on and task.finished_on:
            took = (task.finished_on - task.created_on).total_seconds()
            self._task_seconds.labels(self._label(task.task_type), task.state.lower()).observe(max(0.0, took))
        if delay is not None:
            self._delay_seconds.observe(delay)

    def _label(self, task_type: str | None) -> str:
        if task_type is None or not _TASK_TYPE.fullmatch(task_type):
            return "other"
        if len(self._task_types) < MAX_TASK_TYPES:
            self._task_types.add(task_type)
        return task_type if task_type in self._task_types else "other"

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the body and the content type that a scraper accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _WaitCollector(Collector):
    def __init__(self, waits: Callable[[], Iterable[Wait]]) -> None:
        self._waits = waits

    def collect(self) -> Iterator[Metric]:
        count = Count(wait.status for wait in self._waits())
        family = GaugeMetricFamily("waiter_waits", "Stored waits, by status", labels=["state"])
        for status in WaitStatus:
            family.add_metric([status], count[status])
        yield family
