"""``waiter wait --otel`` with the SDK of OpenTelemetry, and with a collector that speaks its protocol."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import waiter
from waiter.errors import ConfigurationError
from waiter.integrations import otel_command
from waiter.testing import SimulatedServer, ended, fails, finishes, never_ends

COMMAND = str(Path(sys.executable).with_name("waiter"))
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """A receiver of OTLP over HTTP. It keeps the spans, or answers with an error or not at all."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.paths: set[str] = set()
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()

    def receive(self, path: str, body: bytes) -> int:
        self.hold.wait(30)
        self.paths.add(path)
        if path == "/v1/traces" and self.status == 200:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.services |= {one.value.string_value for one in resource.resource.attributes if one.key == "service.name"}
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return self.status


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def environ(collector: Collector, gcore_server: SimulatedServer) -> Iterator[dict[str, str]]:
    """The environment of a pipeline that exports to the collector."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(collector.receive(self.path, body))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "PATH": os.environ["PATH"],
            "GCORE_API_KEY": gcore_server.cloud.api_key,
            "GCORE_BASE_URL": gcore_server.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "TRACEPARENT": f"00-{TRACE}-{PARENT}-01",
        }
        collector.hold.set()
        server.shutdown()


@pytest.fixture
def run(environ: dict[str, str]) -> Callable[..., Ran]:
    """Run ``waiter wait``."""

    def run(*argv: str, env: Mapping[str, str] | None = None) -> Ran:
        command = [COMMAND, "wait", *argv]
        ran = subprocess.run(command, env=environ | dict(env or {}), capture_output=True, text=True, check=False, timeout=60)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    return run


def attributes_of(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_spans_have_arrived_when_the_command_begins(
    run: Callable[..., Ran], collector: Collector, gcore_server: SimulatedServer
) -> None:
    """One span for each wait, in the trace of the pipeline, which the command after ``--`` continues too."""
    ids = [gcore_server.cloud.add(finishes(0.2)) for _ in range(2)]
    ran = run(*ids, "-q", "--otel", "--", "sh", "-c", "echo $TRACEPARENT $OTEL_SERVICE_NAME")
    assert ran == (0, f"00-{TRACE}-{PARENT}-01\n", "")
    assert {(span.name, span.trace_id.hex(), span.parent_span_id.hex()) for span in collector.spans} == {
        ("waiter.wait", TRACE, PARENT)
    }
    assert sorted(attributes_of(span)["gcore.task.id"] for span in collector.spans) == sorted(ids)
    assert {event.name for event in collector.spans[0].events} == {"task.state_changed"}
    assert collector.services == {"waiter"}
    assert collector.paths == {"/v1/traces", "/v1/metrics"}


@pytest.mark.parametrize("variable", [{"OTEL_SERVICE_NAME": "deploy"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=deploy"}])
def test_name_of_the_service_is_that_of_the_environment(
    run: Callable[..., Ran], collector: Collector, gcore_server: SimulatedServer, variable: dict[str, str]
) -> None:
    """Without one it is ``waiter``."""
    assert run(gcore_server.cloud.add(finishes(0)), "-q", env={"WAITER_OTEL": "1", **variable}).code == 0
    assert collector.services == {"deploy"}


def test_failed_wait_is_exported(run: Callable[..., Ran], collector: Collector, gcore_server: SimulatedServer) -> None:
    """The exit code is that of the wait."""
    assert run(gcore_server.cloud.add(fails(0)), "-q", "--otel").code == 1
    [span] = collector.spans
    assert attributes_of(span)["error.type"] == "TaskError"


def test_wait_for_a_resource_is_exported(environ: dict[str, str], collector: Collector, gcore_server: SimulatedServer) -> None:
    """``waiter until`` has the same option, and the same spans, one of them for a time-out."""
    gcore_server.cloud.add(ended({"volumes": ["v-1"]}), watched=False)
    path = "/cloud/v1/volumes/1/1/v-1"
    for value, code in (("available", 0), ("in-use", 124)):
        command = [COMMAND, "until", path, "--field", "status", "--is", value, "--timeout", "0", "-q", "--otel"]
        ran = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)
        assert ran.returncode == code
    good, bad = map(attributes_of, collector.spans)
    assert good == {"gcore.resource.path": path}
    assert bad == {"gcore.resource.path": path, "error.type": "TaskTimeoutError"}
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in collector.spans} == {(TRACE, PARENT)}


def test_interrupted_wait_is_exported(environ: dict[str, str], collector: Collector, gcore_server: SimulatedServer) -> None:
    """SIGTERM ends the span of a wait that is under way."""
    task_id = gcore_server.cloud.add(never_ends())
    with subprocess.Popen([COMMAND, "wait", task_id, "--otel"], env=environ, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert "RUNNING" in child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 143
    [span] = collector.spans
    assert attributes_of(span)["error.type"] == "KeyboardInterrupt"
    assert attributes_of(span)["gcore.task.state"] == "RUNNING"


def test_export_that_fails_is_one_warning(run: Callable[..., Ran], collector: Collector, gcore_server: SimulatedServer) -> None:
    """It changes neither the result nor the exit code."""
    collector.status = 400
    task_id = gcore_server.cloud.add(finishes(0, {"instances": ["vm-1"]}))
    ran = run(task_id, "-q", "--otel", "-o", "ids")
    assert (ran.code, ran.out, ran.err.count("\n")) == (0, "vm-1\n", 1)
    assert ran.err.startswith("waiter: telemetry: Failed to export ")
    assert "400" in ran.err
    logged = run(task_id, "--otel", "--log-format", "json").err.splitlines()
    assert json.loads(logged[-1])["level"] == "warning"


def test_collector_that_hangs_delays_the_exit_for_seconds_only(
    run: Callable[..., Ran], collector: Collector, gcore_server: SimulatedServer
) -> None:
    """The exporter itself would wait for minutes."""
    collector.hold.clear()
    ran = run(gcore_server.cloud.add(finishes(0)), "-q", "--otel", env={"OTEL_EXPORTER_OTLP_TIMEOUT": "600"})
    assert (ran.code, ran.err) == (0, "waiter: telemetry: not everything was exported within 5 s\n")


def test_exporter_that_is_missing_is_a_usage_error(run: Callable[..., Ran], gcore_server: SimulatedServer) -> None:
    """Nothing is polled, and the message names what is missing."""
    gcore_server.cloud.strict = False
    ran = run(gcore_server.cloud.add(finishes(0)), "--otel", env={"OTEL_TRACES_EXPORTER": "none-such"})
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("waiter: --otel: OpenTelemetry cannot be configured: ")
    assert "none-such" in ran.err
    assert gcore_server.cloud.requests == []


def test_provider_of_opentelemetry_instrument_is_used(
    environ: dict[str, str], collector: Collector, gcore_server: SimulatedServer
) -> None:
    """The SDK is configured once, with the name that the environment gives."""
    instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    command = [instrument, "--service_name", "pipeline", COMMAND, "wait", gcore_server.cloud.add(finishes(0)), "--otel", "-q"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert collector.services == {"pipeline"}
    assert len(collector.spans) == 1


@pytest.mark.parametrize("options", [[], ["--otel"]])
def test_nothing_of_opentelemetry_is_imported_unless_asked(
    environ: dict[str, str], gcore_server: SimulatedServer, options: list[str]
) -> None:
    """It would cost each step of a pipeline its time."""
    code = (
        "import sys; from waiter.cli import main; code = main(sys.argv[1:]);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'opentelemetry'})); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "wait", gcore_server.cloud.add(finishes(0)), "-q", "-o", "ids", *options]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == ("['opentelemetry']\n" if options else "[]\n")


def test_no_module_of_waiter_names_the_sdk() -> None:
    """The SDK is the user's; it is found by its entry points."""
    modules = Path(waiter.__file__).parent.rglob("*.py")
    assert [str(module) for module in modules if "opentelemetry.sdk" in module.read_text(encoding="utf-8")] == []


class Providers:
    """Providers that are set as those of the process, which can be done only once without this."""

    def __init__(self) -> None:
        self.tracer: Any = trace.ProxyTracerProvider()
        self.meter: Any = metrics.NoOpMeterProvider()
        self._exporter = InMemorySpanExporter()

    def configure(self) -> None:
        self.tracer = TracerProvider()
        self.tracer.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter = MeterProvider([InMemoryMetricReader()])

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


class Configured:
    """What an entry point of a distribution loads."""

    calls: list[str]

    def __init__(self, name: str, act: Callable[[], None] = lambda: None) -> None:
        self.name, self._act = name, act

    def load(self) -> Callable[[], Configured]:
        return lambda: self

    def configure(self) -> None:
        self.calls.append(self.name)
        self._act()


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    providers = Providers()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: providers.tracer)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: providers.meter)
    monkeypatch.setattr(trace, "get_tracer", lambda name, **_: providers.tracer.get_tracer(name))
    monkeypatch.setattr(metrics, "get_meter", lambda name, **_: providers.meter.get_meter(name))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "test")
    Configured.calls = []
    yield providers
    logger = logging.getLogger("opentelemetry")
    logger.handlers.clear()
    logger.propagate = True


def install(monkeypatch: pytest.MonkeyPatch, **groups: list[Configured]) -> None:
    found = {f"opentelemetry_{group}": points for group, points in groups.items()}
    monkeypatch.setattr(otel_command, "entry_points", lambda group: found.get(group, []))


def test_sdk_is_configured_by_the_first_entry_points(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, gcore_server: SimulatedServer
) -> None:
    """The distribution before the configurator; waits are recorded inside only."""
    configurators = [Configured("first", providers.configure), Configured("second")]
    install(monkeypatch, distro=[Configured("distro")], configurator=configurators)
    with otel_command.record():
        waiter.wait_for_task(gcore_server.cloud.add(finishes(0)))
    waiter.wait_for_task(gcore_server.cloud.add(finishes(0)))
    assert Configured.calls == ["distro", "first"]
    assert [span.name for span in providers.spans()] == ["waiter.wait"]


def test_environment_chooses_among_several_distributions(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """``OTEL_PYTHON_DISTRO`` and ``OTEL_PYTHON_CONFIGURATOR`` have their names."""
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "b")
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "d")
    install(
        monkeypatch,
        distro=[Configured("a"), Configured("b")],
        configurator=[Configured("c"), Configured("d", providers.configure)],
    )
    with otel_command.record():
        pass
    assert Configured.calls == ["b", "d"]


def test_configured_sdk_is_not_configured_again(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application or ``opentelemetry-instrument`` has done it."""
    providers.configure()
    install(monkeypatch, distro=[Configured("distro")], configurator=[Configured("configurator")])
    with otel_command.record():
        pass
    assert Configured.calls == []


def test_missing_sdk_is_named(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    assert isinstance(providers.tracer, trace.ProxyTracerProvider)
    install(monkeypatch)
    with pytest.raises(ConfigurationError, match=r"pip install 'opentelemetry-distro\[otlp\]'"), otel_command.record():
        pass


def test_configuration_that_fails_is_a_configuration_error(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the text of the SDK."""
    assert providers.spans() == ()

    def refuse() -> None:
        message = "no exporter otlp"
        raise RuntimeError(message)

    install(monkeypatch, configurator=[Configured("configurator", refuse)])
    with pytest.raises(ConfigurationError, match="cannot be configured: no exporter otlp"), otel_command.record():
        pass


def test_wait_that_is_under_way_is_ended(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, gcore_server: SimulatedServer
) -> None:
    """Once: its own end comes later and changes nothing."""
    providers.configure()
    install(monkeypatch)
    task_id = gcore_server.cloud.add(finishes(0.5))
    seen, resume = threading.Event(), threading.Event()

    def pause(event: waiter.Event) -> None:
        if event.task:
            seen.set()
            resume.wait(30)

    thread = threading.Thread(target=waiter.wait_for_task, args=(task_id,), kwargs={"on_event": pause})
    with otel_command.record():
        thread.start()
        assert seen.wait(30)
    resume.set()
    thread.join()
    [span] = providers.spans()
    assert (span.attributes or {})["error.type"] == "KeyboardInterrupt"


@pytest.mark.parametrize(("resource", "service"), [("", "waiter"), ("service.name=deploy", None)])
def test_service_has_a_name(providers: Providers, monkeypatch: pytest.MonkeyPatch, resource: str, service: str | None) -> None:
    """The variable is left unset where another one has the name."""
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", resource)
    install(monkeypatch, configurator=[Configured("configurator", providers.configure)])
    with otel_command.record():
        pass
    assert os.environ.get("OTEL_SERVICE_NAME") == service


def test_warnings_of_the_sdk_are_summed_up(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one line, which has no control characters, after the wait; other levels are left out."""
    providers.configure()
    install(monkeypatch)
    with otel_command.record():
        logger = logging.getLogger("opentelemetry.exporter")
        logger.warning("refused\n\x1b[31m%s", "twice")
        logger.error("and again")
        logger.info("details")
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "waiter: telemetry: refused \\x1b[31mtwice (and 1 more)\n"


def test_export_has_a_deadline(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Providers that cannot be shut down have nothing to export."""
    hang = threading.Event()
    providers.configure()
    providers.meter = metrics.NoOpMeterProvider()
    install(monkeypatch)
    monkeypatch.setattr(otel_command, "EXPORT_TIMEOUT", 0.01)
    monkeypatch.setattr(providers.tracer, "shutdown", hang.wait)
    with otel_command.record():
        pass
    hang.set()
    assert capsys.readouterr().err == "waiter: telemetry: not everything was exported within 0.01 s\n"
