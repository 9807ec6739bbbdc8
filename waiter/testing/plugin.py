"""Fixtures for pytest: a simulated Gcore Cloud, in process or over real HTTP.

pytest imports this module everywhere that waiter is installed, so it imports nothing dear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from waiter.testing.cloud import SimulatedCloud, SimulatedServer

_passed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test itself passed: of one that failed, nothing more is asked."""
    report = yield
    if call.when == "call":
        item.stash[_passed] = report.passed
    return report


@pytest.fixture
def gcore_cloud(request: pytest.FixtureRequest) -> Iterator[SimulatedCloud]:
    """A strict `SimulatedCloud` in process, on a clock of its own: nothing sleeps for real.

    `wait_for_task(task_id, **gcore_cloud.options)` waits on it, or `async_options`. If the test
    passes, it must have asked for everything that was scripted, and for nothing else.
    """
    from waiter.testing.cloud import SimulatedCloud  # noqa: PLC0415 - see above

    cloud = SimulatedCloud.virtual()
    yield cloud
    _verify(request, cloud)


@pytest.fixture
def gcore_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedServer]:
    """A `SimulatedServer` that runs, on real time, with its strict `cloud`.

    GCORE_BASE_URL and GCORE_API_KEY lead there, so that code under test needs no change.
    """
    from waiter.testing.cloud import SimulatedCloud  # noqa: PLC0415 - see above

    cloud = SimulatedCloud()
    server = cloud.serve()
    with server as url:
        monkeypatch.setenv("GCORE_BASE_URL", url)
        monkeypatch.setenv("GCORE_API_KEY", cloud.api_key)
        yield server
    _verify(request, cloud)


def _verify(request: pytest.FixtureRequest, cloud: SimulatedCloud) -> None:
    if request.node.stash.get(_passed, False):
        cloud.verify()
