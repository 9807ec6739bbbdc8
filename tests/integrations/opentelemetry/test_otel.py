"""Spans and metrics of waits, as the SDK of OpenTelemetry receives them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import itemgetter
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from waiter import (
    AsyncWaiter,
    AuthenticationError,
    Event,
    ResourceError,
    TaskError,
    TaskTimeoutError,
    Waiter,
    wait_for_task,
    wait_for_tasks,
)
from waiter.api.resources import Condition
from waiter.integrations import otel
from waiter.testing import SimulatedCloud, ended, fails, finishes, never_ends, refuse, resources_ready, status

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Telemetry:
    """What the SDK has received."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader])

    def instrument(self, **options: Any) -> None:
        otel.instrument(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options)

    def spans(self, kind: SpanKind = SpanKind.INTERNAL) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.kind is kind]

    def points(self, name: str) -> list[Any]:
        data: Any = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
        return [point for metric in metrics for point in metric.data.data_points]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    telemetry.instrument()
    yield telemetry
    otel.uninstrument()


async def wait_async(task_id: str, cloud: SimulatedCloud, **options: Any) -> None:
    async with AsyncWaiter(**cloud.async_options) as waiter:
        await waiter.wait(task_id, **options)


def wait_blocking(task_id: str, cloud: SimulatedCloud, **options: Any) -> None:
    with Waiter(**cloud.options) as waiter:
        waiter.wait(task_id, **options)


def wait_awaited(task_id: str, cloud: SimulatedCloud, **options: Any) -> None:
    asyncio.run(wait_async(task_id, cloud, **options))


Wait = Callable[..., None]


@pytest.fixture(params=[wait_blocking, wait_awaited])
def wait(request: pytest.FixtureRequest) -> Wait:
    given: Wait = request.param
    return given


def test_wait_is_one_span_with_an_event_for_each_transition(
    telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait
) -> None:
    """Its attributes name the task, and it is not an error."""
    task_id = gcore_cloud.add(finishes(19, {"instances": 1}))
    wait(task_id, gcore_cloud)
    [span] = telemetry.spans()
    assert span.name == "waiter.wait"
    assert dict(span.attributes or {}) == {
        "gcore.task.id": task_id,
        "gcore.task.type": "create_vm",
        "gcore.task.state": "FINISHED",
    }
    assert [(event.name, (event.attributes or {})["new"]) for event in span.events] == [
        ("task.state_changed", "RUNNING"),
        ("task.state_changed", "FINISHED"),
    ]
    assert span.status.status_code is StatusCode.UNSET
    assert not span.links


def test_error_of_a_task_stands_in_the_span(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """``error.type`` is the class of waiter's error, the description its message."""
    with pytest.raises(TaskError) as raised:
        wait(gcore_cloud.add(fails(5)), gcore_cloud)
    [span] = telemetry.spans()
    assert (span.attributes or {})["error.type"] == "TaskError"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == str(raised.value)


def test_wait_that_was_refused_is_a_span_too(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """No task was seen, so that only the reason is known."""
    gcore_cloud.fault(status(401))
    with pytest.raises(AuthenticationError):
        wait(gcore_cloud.add(never_ends(), watched=False), gcore_cloud)
    [span] = telemetry.spans()
    assert (span.attributes or {})["error.type"] == "AuthenticationError"


def test_failed_poll_is_an_event(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """The outage and its end can be seen in the span."""
    gcore_cloud.fault(refuse())
    wait(gcore_cloud.add(ended()), gcore_cloud)
    [span] = telemetry.spans()
    assert [event.name for event in span.events] == ["poll.failed", "poll.recovered", "task.state_changed"]


def test_span_lasts_until_the_resources_are_ready(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """What their endpoints show are events too."""
    task_id = gcore_cloud.add(resources_ready(30, finishes(19, {"images": ["m-1"]})))
    wait(task_id, gcore_cloud, ready=True)
    [span] = telemetry.spans()
    names = [event.name for event in span.events]
    assert names[-2:] == ["resource.state_changed", "resource.ready"]
    assert {(event.attributes or {}).get("resource_id") for event in span.events[-2:]} == {"m-1"}
    assert span.status.status_code is StatusCode.UNSET


def test_on_event_of_the_caller_is_still_called(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """Each event arrives there too."""
    events: list[Event] = []
    wait(gcore_cloud.add(finishes(3)), gcore_cloud, on_event=events.append)
    assert {"task.state_changed", "task.finished"} <= {event.name for event in events}
    assert len(telemetry.spans()) == 1


def test_on_event_of_the_waiter_is_still_called(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """As it is without instrumentation."""
    events: list[Event] = []
    wait_for_task(gcore_cloud.add(ended()), **gcore_cloud.options, on_event=events.append)
    assert [event.name for event in events] == ["wait.started", "task.state_changed", "task.finished", "wait.ended"]
    assert len(telemetry.spans()) == 1


def test_single_poll_is_not_a_wait(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """``status`` has no span of its own."""
    with Waiter(**gcore_cloud.options) as waiter:
        waiter.status(gcore_cloud.add(ended()))
    assert telemetry.spans() == []


def test_span_is_a_child_of_the_current_one(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """Whatever the environment says."""
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("deploy") as deploy:
        wait(gcore_cloud.add(ended()), gcore_cloud)
    span = next(span for span in telemetry.spans() if span.name == "waiter.wait")
    assert span.parent == deploy.get_span_context()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_several_blocking_waits_are_children_of_the_current_span(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """Although they run on an event loop in another thread."""
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("deploy") as deploy:
        wait_for_tasks([gcore_cloud.add(finishes(n)) for n in range(3)], **gcore_cloud.options)
    spans = [span for span in telemetry.spans() if span.name == "waiter.wait"]
    assert [span.parent for span in spans] == [deploy.get_span_context()] * 3


class Baggage(SpanProcessor):
    """Keeps the baggage that each span starts with."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_start(self, span: object, parent_context: context.Context | None = None) -> None:  # noqa: ARG002 - the base's
        self.seen.append(dict(baggage.get_all(parent_context)))


def test_trace_of_the_environment_is_continued(
    monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait
) -> None:
    """A pipeline hands its trace on in ``TRACEPARENT``, ``TRACESTATE`` and ``BAGGAGE``."""
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{PARENT}-01")
    monkeypatch.setenv("TRACESTATE", "ci=42")
    monkeypatch.setenv("BAGGAGE", "stage=blue")
    processor = Baggage()
    telemetry.tracer_provider.add_span_processor(processor)
    telemetry.instrument()
    wait(gcore_cloud.add(ended()), gcore_cloud)
    [span] = telemetry.spans()
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(span.parent.trace_state) == {"ci": "42"}
    assert processor.seen == [{"stage": "blue"}]


def test_backdated_span_starts_when_the_task_was_created(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """What happened before its creation was known is in it all the same."""
    telemetry.instrument(backdate=True)
    gcore_cloud.fault(refuse())
    task_id = gcore_cloud.add(finishes(100, age=60))
    created_on = None

    def keep(event: Event) -> None:
        nonlocal created_on
        created_on = event.task.created_on if event.task else None

    wait(task_id, gcore_cloud, on_event=keep)
    [span] = telemetry.spans()
    assert created_on is not None
    assert span.start_time == int(created_on.timestamp() * 1e9)
    assert [event.name for event in span.events][:2] == ["poll.failed", "poll.recovered"]


def test_backdated_span_of_a_task_that_was_never_seen(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """It starts when the wait ends."""
    telemetry.instrument(backdate=True)
    gcore_cloud.fault(refuse(), times=1000)
    with pytest.raises(TaskTimeoutError):
        wait(gcore_cloud.add(never_ends(), watched=False), gcore_cloud, timeout=5)
    gcore_cloud.strict = False
    [span] = telemetry.spans()
    assert (span.attributes or {})["error.type"] == "TaskTimeoutError"


def test_duration_of_waits_is_measured(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """By type, state and error, and never by ID, which would make a series of each task."""
    wait(gcore_cloud.add(finishes(3)), gcore_cloud)
    with suppress(TaskError):
        wait(gcore_cloud.add(fails(3)), gcore_cloud)
    points = telemetry.points("waiter.wait.duration")
    assert [dict(point.attributes) for point in points] == [
        {"gcore.task.type": "create_vm", "gcore.task.state": "FINISHED"},
        {"gcore.task.type": "create_vm", "gcore.task.state": "ERROR", "error.type": "TaskError"},
    ]
    assert [point.count for point in points] == [1, 1]


def test_waits_under_way_are_counted(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """Up when one starts, down when it ends."""
    active: list[int] = []
    count = lambda _: active.append(telemetry.points("waiter.waits.active")[0].value)  # noqa: E731
    wait(gcore_cloud.add(finishes(3)), gcore_cloud, on_event=count)
    assert set(active) == {1}
    assert telemetry.points("waiter.waits.active")[0].value == 0


def test_requests_are_measured_by_the_http_conventions(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """Each as one point, and without spans unless these are asked for."""
    gcore_cloud.fault(status(503))
    gcore_cloud.fault(refuse())
    wait(gcore_cloud.add(ended()), gcore_cloud)
    common = {"http.request.method": "GET", "server.address": "api.gcore.com", "server.port": 443}
    assert [dict(point.attributes) for point in telemetry.points("http.client.request.duration")] == [
        {**common, "http.response.status_code": 503, "error.type": "503"},
        {**common, "error.type": "ApiUnavailableError"},
        {**common, "http.response.status_code": 200},
    ]
    assert telemetry.spans(SpanKind.CLIENT) == []


def test_requests_can_be_spans(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """Children of the wait, by the conventions for HTTP; a listing of past tasks is one too."""
    telemetry.instrument(requests=True)
    gcore_cloud.fault(status(503))
    task_id = gcore_cloud.add(finishes(100))
    wait(task_id, gcore_cloud)
    [wait_span] = telemetry.spans()
    failed, *others = telemetry.spans(SpanKind.CLIENT)
    assert failed.name == "GET /cloud/v1/tasks/{task_id}"
    assert failed.parent == wait_span.context
    assert dict(failed.attributes or {}) == {
        "url.full": f"https://api.gcore.com/cloud/v1/tasks/{task_id}",
        "url.template": "/cloud/v1/tasks/{task_id}",
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "server.address": "api.gcore.com",
        "server.port": 443,
        "error.type": "503",
    }
    assert failed.status.status_code is StatusCode.ERROR
    assert {span.status.status_code for span in others} == {StatusCode.UNSET}
    assert {span.name for span in others} == {"GET /cloud/v1/tasks/{task_id}", "GET /cloud/v1/tasks"}
    assert all(span.parent == wait_span.context for span in others)
    assert {len(span.links) for span in others} == {0}


VOLUME = "/cloud/v1/volumes/1/1/v-1"


def until(cloud: SimulatedCloud, **condition: Any) -> None:
    with Waiter(**cloud.options) as waiter:
        waiter.until(VOLUME, Condition(itemgetter("status"), **condition))


def test_wait_for_a_resource_is_one_span(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """It has the path, which is no attribute of a metric. A failing value is an error."""
    telemetry.instrument(backdate=True)
    gcore_cloud.add(ended({"volumes": ["v-1"]}), watched=False)
    before = time.time_ns()
    until(gcore_cloud, values=["available"])
    with pytest.raises(ResourceError):
        until(gcore_cloud, values=["in-use"], fails=["available"])
    good, bad = telemetry.spans()
    assert dict(good.attributes or {}) == {"gcore.resource.path": VOLUME}
    assert [event.name for event in good.events] == ["resource.state_changed", "resource.ready"]
    assert good.start_time is not None
    assert good.end_time is not None
    assert before <= good.start_time <= good.end_time
    assert dict(bad.attributes or {}) == {"gcore.resource.path": VOLUME, "error.type": "ResourceError"}
    points = telemetry.points("waiter.wait.duration")
    assert sorted(str(dict(point.attributes)) for point in points) == ["{'error.type': 'ResourceError'}", "{}"]
    assert [point.value for point in telemetry.points("waiter.waits.active")] == [0]


def test_request_for_a_resource_can_be_a_span(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """Its path has no template. One that is gone was answered with 404."""
    telemetry.instrument(requests=True)
    gcore_cloud.fault(status(404), times=1)
    gcore_cloud.add(ended({"volumes": ["v-1"]}), watched=False)
    until(gcore_cloud, gone=True)
    [wait_span], [span] = telemetry.spans(), telemetry.spans(SpanKind.CLIENT)
    assert (span.name, span.parent) == ("GET", wait_span.context)
    attributes = dict(span.attributes or {})
    assert (attributes["url.full"], attributes["http.response.status_code"]) == (f"https://api.gcore.com{VOLUME}", 404)
    assert "url.template" not in attributes


def test_listing_links_to_the_waits_that_it_serves(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """It is the child of none of them."""
    telemetry.instrument(requests=True)
    ids = [gcore_cloud.add(finishes(60)) for _ in range(400)]

    async def wait_for_all() -> None:
        async with AsyncWaiter(**gcore_cloud.async_options) as waiter:
            await waiter.wait_all(ids)

    asyncio.run(wait_for_all())
    waits = {span.context.span_id for span in telemetry.spans() if span.context}
    listings = [span for span in telemetry.spans(SpanKind.CLIENT) if len(span.links) > 1]
    assert listings
    assert {span.name for span in listings} == {"GET /cloud/v1/tasks"}
    assert {span.parent for span in listings} == {None}
    assert all({link.context.span_id for link in span.links} <= waits for span in listings)


def test_cancelled_wait_ends_its_span(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """The current span is again that of before."""
    task_id = gcore_cloud.add(never_ends())

    async def cancel() -> None:
        async with AsyncWaiter(**gcore_cloud.async_options) as waiter:
            seen = asyncio.Event()
            waiting = asyncio.create_task(waiter.wait(task_id, on_event=lambda _: seen.set()))
            await seen.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(cancel())
    [span] = telemetry.spans()
    assert (span.attributes or {})["error.type"] == "CancelledError"
    assert telemetry.points("waiter.waits.active")[0].value == 0


def test_instrumenting_twice_records_once(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """The later settings hold."""
    telemetry.instrument()
    wait(gcore_cloud.add(ended()), gcore_cloud)
    assert len(telemetry.spans()) == 1


def test_uninstrument_restores_what_was_replaced(telemetry: Telemetry, gcore_cloud: SimulatedCloud, wait: Wait) -> None:
    """No wait is recorded afterwards."""
    otel.uninstrument()
    wait(gcore_cloud.add(ended()), gcore_cloud)
    assert telemetry.spans() == []


def test_key_stands_nowhere(telemetry: Telemetry, gcore_cloud: SimulatedCloud) -> None:
    """Neither in a name nor in an attribute nor in an event."""
    telemetry.instrument(requests=True)
    gcore_cloud.fault(status(401))
    with pytest.raises(AuthenticationError):
        wait_for_task(gcore_cloud.add(never_ends(), watched=False), **gcore_cloud.options)
    spans = [span.to_json() for span in [*telemetry.spans(), *telemetry.spans(SpanKind.CLIENT)]]
    assert len(spans) == 2
    assert gcore_cloud.api_key not in "".join(spans)


def test_sdk_is_never_imported_by_waiter() -> None:
    """The API alone is enough, and records nothing."""
    code = (
        "import sys, waiter.integrations.otel as otel; otel.instrument();"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_base_url_with_a_port_is_named(telemetry: Telemetry) -> None:
    """The address and the port of the server that was asked."""
    cloud = SimulatedCloud.virtual(base_url="http://127.0.0.1:8123")
    wait_for_task(cloud.add(ended()), **cloud.options)
    [point] = telemetry.points("http.client.request.duration")
    assert (point.attributes["server.address"], point.attributes["server.port"]) == ("127.0.0.1", 8123)
    assert httpx.URL(cloud.base_url).port == 8123
