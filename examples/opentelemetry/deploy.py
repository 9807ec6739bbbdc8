"""Wait for a task, and print its spans and metrics instead of sending them anywhere: ``python deploy.py TASK_ID``."""

from __future__ import annotations

import sys

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from waiter import wait_for_task
from waiter.integrations.otel import instrument

tracer_provider = TracerProvider()
tracer_provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(tracer_provider)
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())]))
instrument()

with trace.get_tracer("deploy").start_as_current_span("deploy"):
    print(wait_for_task(sys.argv[1]))
