"""Traces and metrics of every wait, by OpenTelemetry's API.

    from waiter.integrations.otel import instrument

    instrument()

Providers, exporters and sampling are the application's. The names of spans, metrics and attributes are in
``examples/opentelemetry/README.md``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

from waiter.aio import AsyncWaiter
from waiter.errors import ApiError
from waiter.http.async_client import AsyncClient
from waiter.http.client import Client
from waiter.session import Session
from waiter.wait import Waiter

try:
    from opentelemetry import context, metrics, propagate, trace
except ImportError as error:
    message = "waiter.integrations.otel needs OpenTelemetry's API: pip install 'gcore-waiter[otel]'"
    raise ImportError(message) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from waiter.events import Event

_SPAN_EVENTS = {
    "task.state_changed",
    "poll.failed",
    "poll.recovered",
    "resource.state_changed",
    "resource.ready",
    "resource.failed",
}
# Attributes of a span that are not those of a metric, because each wait has a value of its own.
_IDENTITIES = {"gcore.task.id", "gcore.resource.path"}
_WAIT_BOUNDARIES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
# https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpclientrequestduration
_REQUEST_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_originals: list[tuple[type, str, Any]] = []
# What removes a recording ends it: its own thread, or the one that ends the process.
_under_way: set[_Recording] = set()


class _Method(NamedTuple):
    """A method of waiter's clients that sends one request; a shared one serves many waits.

    Without a template, its first argument has the path.
    """

    name: str
    template: str | None
    is_shared: bool = False


_METHODS = (
    _Method("get_task", "/cloud/v1/tasks/{task_id}"),
    _Method("list_history", "/cloud/v1/tasks"),
    _Method("list_active", "/cloud/v1/tasks", is_shared=True),
    _Method("get_resource", None),
)


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    requests: bool = False,
    backdate: bool = False,
) -> None:
    """Record every wait of this process from now on; calling it again replaces the earlier settings.

    ``requests`` adds a CLIENT span for each request to the API. ``backdate`` starts the span of a wait when its task was
    created. A wait that starts outside of any span continues the trace in ``TRACEPARENT``, ``TRACESTATE`` and ``BAGGAGE``.
    """
    uninstrument()
    telemetry = _Telemetry(tracer_provider, meter_provider, requests=requests, backdate=backdate)
    _replace(Session, "new_wait", _new_wait)
    _replace(Session, "new_resource_wait", _new_resource_wait)
    _replace(Waiter, "wait", telemetry.wait)
    _replace(Waiter, "until", telemetry.wait)
    _replace(AsyncWaiter, "wait", telemetry.async_wait)
    for method in _METHODS:
        _replace(Client, method.name, telemetry.request(method))
        _replace(AsyncClient, method.name, telemetry.async_request(method))


def uninstrument() -> None:
    """Undo ``instrument``; waits that are under way are recorded to their end."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)


def end_waits(error: BaseException) -> None:
    """End the spans of all waits that are under way with this error, for a process that is about to end."""
    for recording in list(_under_way):
        recording.end(error)


def _replace(owner: type, name: str, wrapper: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wraps(original)(wrapper(original)))


_begun: ContextVar[_Recording | None] = ContextVar("_begun", default=None)


def _new_wait(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``Session.new_wait``, so that a wait that has begun is recorded beside the application's own ``on_event``."""

    def new_wait(session: Session, ref: Any, limits: Any = None) -> Any:  # noqa: ANN401 - as wrapped
        on_event = _recorded((limits or {}).get("on_event", session.settings.on_event))
        return original(session, ref, {**(limits or {}), "on_event": on_event})

    return new_wait


def _new_resource_wait(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``Session.new_resource_wait`` in the same way."""

    def new_resource_wait(session: Session, path: Any, check: Any, on_event: Any = None) -> Any:  # noqa: ANN401 - as wrapped
        return original(session, path, check, _recorded(on_event or session.settings.on_event))

    return new_resource_wait


def _recorded(own: Callable[[Event], object] | None) -> Callable[[Event], object] | None:
    """Return an ``on_event`` that also records the wait that has begun in this context, if there is one."""
    recording = _begun.get()
    if recording is None:
        return own
    _begun.set(None)

    def on_event(event: Event) -> None:
        recording.add(event)
        if own is not None:
            own(event)

    return on_event


class _Telemetry:
    """The instruments, the settings, and the trace that the environment names."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        *,
        requests: bool,
        backdate: bool,
    ) -> None:
        self.tracer = trace.get_tracer("waiter", tracer_provider=tracer_provider)
        meter = metrics.get_meter("waiter", meter_provider=meter_provider)
        self.active = meter.create_up_down_counter("waiter.waits.active", "{wait}", "Waits that are under way.")
        self.duration = meter.create_histogram(
            "waiter.wait.duration", "s", "Duration of waits.", explicit_bucket_boundaries_advisory=_WAIT_BOUNDARIES
        )
        self._request_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_REQUEST_BOUNDARIES,
        )
        self._requests = requests
        self.backdate = backdate
        names = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
        self.parent = propagate.extract({name.lower(): os.environ[name] for name in names if name in os.environ})

    def wait(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``Waiter.wait`` or ``Waiter.until``."""

        def wait(waiter: Waiter, *args: Any, **limits: Any) -> Any:  # noqa: ANN401 - as wrapped
            with _Recording(self):
                return original(waiter, *args, **limits)

        return wait

    def async_wait(self, original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Wrap ``AsyncWaiter.wait``."""

        async def wait(waiter: AsyncWaiter, task_id: Any, **limits: Any) -> Any:  # noqa: ANN401 - as wrapped
            with _Recording(self):
                return await original(waiter, task_id, **limits)

        return wait

    def request(self, method: _Method) -> Callable[[Any], Any]:
        """Wrap a method of ``Client`` that sends one request."""

        def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
            def send(client: Client, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as wrapped
                with self._sent(client, method, args) as attributes:
                    return _checked(original(client, *args, **options), attributes)

            return send

        return wrapper

    def async_request(self, method: _Method) -> Callable[[Any], Any]:
        """Wrap a method of ``AsyncClient`` that sends one request."""

        def wrapper(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def send(client: AsyncClient, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as wrapped
                with self._sent(client, method, args) as attributes:
                    return _checked(await original(client, *args, **options), attributes)

            return send

        return wrapper

    @contextmanager
    def _sent(self, client: Client | AsyncClient, method: _Method, args: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
        base_url: str = client.settings.base_url
        server = urlsplit(base_url)
        attributes: dict[str, Any] = {
            "http.request.method": "GET",
            "server.address": server.hostname,
            "server.port": server.port or {"https": 443, "http": 80}[server.scheme],
            "http.response.status_code": 200,
        }
        start = time.perf_counter()
        path = method.template.format(task_id=next(iter(args), None)) if method.template else args[0].path
        with self._request_span(method, f"{base_url}{path}") as span:
            try:
                yield attributes
            except BaseException as error:
                status = error.status if isinstance(error, ApiError) else None
                attributes["http.response.status_code"] = status
                attributes["error.type"] = str(status) if status and status >= 400 else type(error).__name__  # noqa: PLR2004
                span.set_status(trace.StatusCode.ERROR, str(error))
                raise
            finally:
                known = {name: value for name, value in attributes.items() if value is not None}
                span.set_attributes(known)
                self._request_duration.record(time.perf_counter() - start, known)

    def _request_span(self, method: _Method, url: str) -> AbstractContextManager[Span]:
        if not self._requests:
            return nullcontext(trace.INVALID_SPAN)
        template = {"url.template": method.template} if method.template else {}
        return self.tracer.start_as_current_span(
            " ".join(["GET", *template.values()]),
            context.Context() if method.is_shared else None,
            trace.SpanKind.CLIENT,
            {"url.full": url, **template},
            _links() if method.is_shared else None,
            record_exception=False,
            set_status_on_exception=False,
        )


def _checked(response: Any, attributes: dict[str, Any]) -> Any:  # noqa: ANN401 - as wrapped
    """Return the response; None is that of a resource which is gone."""
    if response is None:
        attributes["http.response.status_code"] = 404
    return response


def _links() -> list[trace.Link]:
    """Return links to the spans of all waits that are under way."""
    return [trace.Link(recording.span.get_span_context()) for recording in list(_under_way) if recording.span]


class _Recording:
    """One wait as a span and as measurements. A backdated span starts once the creation of the task is known."""

    def __init__(self, telemetry: _Telemetry) -> None:
        self._telemetry = telemetry
        self._start, self._started_at = time.perf_counter(), time.time_ns()
        self._early: list[tuple[str, Mapping[str, Any], int]] = []
        self._attributes: dict[str, str] = {}
        self._token: Token[context.Context] | None = None
        self.span: Span | None = None

    def __enter__(self) -> Self:
        self._telemetry.active.add(1)
        _begun.set(self)
        _under_way.add(self)
        if not self._telemetry.backdate:
            self._make_current(self._started_at)
        return self

    def add(self, event: Event) -> None:
        """Record an event, unless the span has ended."""
        if self not in _under_way:
            return
        task = event.task
        known = {
            "gcore.task.id": event.fields.get("task_id"),
            "gcore.resource.path": event.fields.get("path"),
            "gcore.task.type": task and task.task_type,
            "gcore.task.state": task and str(task.state),
        }
        self._attributes.update({name: value for name, value in known.items() if value})
        if event.name in _SPAN_EVENTS:
            fields = {name: value for name, value in event.fields.items() if value is not None}
            self._early.append((event.name, fields, time.time_ns()))
        if self.span is None and task and task.created_on:
            self._make_current(int(task.created_on.timestamp() * 1e9))
        if self.span:
            self._flush(self.span)

    def _make_current(self, start: int) -> None:
        self.span = self._start_span(start)
        self._token = context.attach(trace.set_span_in_context(self.span, self._parent()))

    def _start_span(self, start: int) -> Span:
        return self._telemetry.tracer.start_span("waiter.wait", self._parent(), start_time=start)

    def _parent(self) -> context.Context:
        is_inside = trace.get_current_span().get_span_context().is_valid
        return context.get_current() if is_inside else self._telemetry.parent

    def _flush(self, span: Span) -> None:
        for name, fields, at in self._early:
            span.add_event(name, fields, at)
        self._early.clear()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        _begun.set(None)
        self.end(error)
        if self._token:
            context.detach(self._token)

    def end(self, error: BaseException | None) -> None:
        """End the span with the error, if there is one, and record the duration; only the first call does anything."""
        try:
            _under_way.remove(self)
        except KeyError:
            return
        span = self.span or self._start_span(self._started_at)
        self._flush(span)
        span.set_attributes(self._attributes)
        labels = {name: value for name, value in self._attributes.items() if name not in _IDENTITIES}
        if error is not None:
            labels["error.type"] = type(error).__name__
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR, str(error))
        self._telemetry.active.add(-1)
        self._telemetry.duration.record(time.perf_counter() - self._start, labels)
        span.end()
