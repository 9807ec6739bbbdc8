"""Fixtures for the tests of the command."""

from __future__ import annotations

import signal
import threading
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


@pytest.fixture(autouse=True)
def _no_wait_continues() -> Iterator[None]:
    """A wait whose command was interrupted within pytest would disturb later tests: it polls, looks up names, draws numbers."""
    yield
    for thread in threading.enumerate():
        if thread.name == "waiter":
            thread.join(60)
            assert not thread.is_alive(), "the wait of this test is still running"
