"""Fixtures for the tests of the command."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from command_fixtures import (  # noqa: F401 - fixtures
    cloud,
    demonstration,
    environ,
    process,
    run,
    start,
    terminal,
    url,
)


@pytest.fixture
def kept_signals() -> Iterator[None]:
    """Restores what `exec_command` sets before it replaces the process: without SIGPIPE ignored, a closed pipe ends pytest."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
