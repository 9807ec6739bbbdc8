"""``waiter wait --otel``: the waits of one run of the command, exported before the process ends.

The command finds ``record`` by the entry point ``otel`` of the group ``waiter.telemetry``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points

from waiter.console import stderr
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError
from waiter.integrations.otel import end_waits, instrument, uninstrument

# isort: split
# Below waiter's own module, whose error names the extra if the package is missing.
from opentelemetry import metrics, trace

# Seconds in which everything must be exported; exporters themselves retry for longer.
EXPORT_TIMEOUT = 5.0
_NOT_CONFIGURED = (
    "--otel: no SDK of OpenTelemetry is configured: pip install 'opentelemetry-distro[otlp]', "
    "or run waiter under opentelemetry-instrument"
)


@contextmanager
def record() -> Iterator[None]:
    """Record every wait inside, and export what was recorded, within ``EXPORT_TIMEOUT`` seconds.

    An SDK that is not configured yet is configured as ``opentelemetry-instrument`` does it, from the ``OTEL_*`` variables.
    A failed export is a warning. Raises ConfigurationError if no SDK is installed, or if it cannot be configured.
    """
    warnings = _Warnings()
    # They stay: an exporter that is late logs until the process ends.
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(warnings)
    logger.propagate = False
    _configure()
    instrument()
    try:
        yield
    finally:
        uninstrument()
        # A signal leaves waits under way in their thread.
        end_waits(KeyboardInterrupt("interrupted; the task is still running"))
        if not _shut_down(time.monotonic() + EXPORT_TIMEOUT):
            warnings.add(f"not everything was exported within {EXPORT_TIMEOUT:g} s")
        if warnings.texts:
            stderr.warn(f"telemetry: {warnings.summary()}")


class _Warnings(logging.Handler):
    """Keeps the warnings of OpenTelemetry, which would be written in the middle of the progress."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a record."""
        self.add(record.getMessage())

    def add(self, text: str) -> None:
        """Keep a message."""
        self.texts.append(text)

    def summary(self) -> str:
        """Return the first message, which is the cause of the others, on one line, and the number of the others."""
        others = len(self.texts) - 1
        return printable(" ".join(self.texts[0].split())) + (f" (and {others} more)" if others else "")


def _configure() -> None:
    """Configure the SDK by the installed distribution, unless the process has a tracer provider already."""
    if not _is_configured():
        if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
            os.environ.setdefault("OTEL_SERVICE_NAME", "waiter")
        try:
            for group in ("distro", "configurator"):
                _configure_by(group)
        except Exception as error:
            message = f"--otel: OpenTelemetry cannot be configured: {error}"
            raise ConfigurationError(message) from error
    if not _is_configured():
        raise ConfigurationError(_NOT_CONFIGURED)


def _is_configured() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _configure_by(group: str) -> None:
    """Call ``configure()`` of the first entry point of the group, or of the one that ``OTEL_PYTHON_<GROUP>`` names.

    https://opentelemetry.io/docs/zero-code/python/configuration/
    """
    wanted = os.environ.get(f"OTEL_PYTHON_{group.upper()}")
    for entry_point in entry_points(group=f"opentelemetry_{group}"):
        if wanted in {None, entry_point.name}:
            entry_point.load()().configure()
            return


def _shut_down(deadline: float) -> bool:
    """Shut down both providers, which exports what they hold; return whether that was done before the deadline."""
    threads = [
        # As daemons, so that an exporter that hangs does not keep the process.
        threading.Thread(target=provider.shutdown, daemon=True)
        for provider in (trace.get_tracer_provider(), metrics.get_meter_provider())
        if hasattr(provider, "shutdown")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
