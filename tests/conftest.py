"""Fixtures for all tests."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from drivers import Awaited, Blocking, Driver
from hypothesis import HealthCheck, settings

from waiter.testing import SimulatedCloud

# In the background of a script SIGINT and SIGQUIT are ignored, and processes that tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGQUIT"):
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
# nohup ignores SIGHUP. A handler, unlike a signal that is ignored, is not inherited by a new program; this process survives.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# .ci/integrations runs them, each in an environment of its own.
collect_ignore_glob = ["integrations/*/*"]

# CI tries more of them. How long they take says nothing on a machine that is shared.
settings.register_profile(
    "random",
    max_examples=int(os.environ.get("TEST_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
# The same examples in every run, so that it fails only because of a change; pytest --hypothesis-profile=random tries others.
settings.register_profile("waiter", settings.get_profile("random"), derandomize=True)
settings.load_profile("waiter")


@pytest.fixture(scope="session", autouse=True)
def _frozen_garbage_collector() -> Iterator[None]:
    """Exempt loaded modules from garbage collection, which would take a tenth of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _default_logging() -> Iterator[None]:
    """Undo what the command, which runs in this process, configures."""
    yield
    logging.getLogger("waiter").setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def on(request: pytest.FixtureRequest) -> Driver:
    """Run the test on the blocking and on the awaited driver."""
    make: Callable[[], Driver] = request.param
    return make()


@pytest.fixture
def cloud() -> Iterator[SimulatedCloud]:
    """Return a simulated cloud in virtual time; the test fails on an unexpected request and on a missing one."""
    cloud = SimulatedCloud.virtual()
    yield cloud
    cloud.verify()


@pytest.fixture
def events() -> list[Any]:
    """Return a list to collect events: ``on_event=events.append``."""
    return []
