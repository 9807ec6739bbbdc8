"""What the tests of the wait share."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from drivers import Awaited, Blocking, Driver
from hypothesis import settings

from waiter.testing import SimulatedCloud

# CI tries more of them. How long one takes says nothing on a machine that is shared.
settings.register_profile("waiter", max_examples=int(os.environ.get("TEST_EXAMPLES", "30")), deadline=None)
settings.load_profile("waiter")


@pytest.fixture(scope="session", autouse=True)
def _what_is_loaded_stays() -> Iterator[None]:
    """The garbage collector passes over what is loaded by now; looking at it again and again costs a tenth of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _logging_as_it_comes() -> Iterator[None]:
    """The command configures logging, and tests run it in this process."""
    yield
    logging.getLogger("waiter").setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def on(request: pytest.FixtureRequest) -> Driver:
    """Each test that asks for it runs on the blocking and on the awaited driver."""
    make: Callable[[], Driver] = request.param
    return make()


@pytest.fixture
def cloud() -> Iterator[SimulatedCloud]:
    """A simulated cloud in virtual time, which fails the test on what was not asked for and on what never came."""
    cloud = SimulatedCloud.virtual()
    yield cloud
    cloud.verify()


@pytest.fixture
def events() -> list[Any]:
    """Collects events: ``on_event=events.append``."""
    return []
