"""Telemetry of a run: what the entry point of an integration records, because the command imports no integration."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from waiter.errors import ConfigurationError

GROUP = "waiter.telemetry"

# Records every wait of this process while it is entered, and exports what it has recorded before it is left.
Telemetry = Callable[[], AbstractContextManager[None]]


def load_telemetry(args: argparse.Namespace) -> Telemetry:
    """Return what records the waits of this run. Raises ConfigurationError if it is not installed."""
    if not args.otel:
        return nullcontext
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, only needed with --otel

    for entry_point in entry_points(group=GROUP, name="otel"):
        try:
            telemetry: Telemetry = entry_point.load()
        except ImportError as error:
            message = f"--otel: {error}"
            raise ConfigurationError(message) from error
        return telemetry
    message = f"--otel: gcore-waiter is not installed with its entry points ({GROUP})"
    raise ConfigurationError(message)
