"""Fixtures for pytest: a simulated Gcore Cloud, in process or over real HTTP.

pytest imports this module in every environment with waiter, so it imports nothing that is slow to load.
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
    """Record whether the test itself passed: `verify` is skipped for a failed test."""
    report = yield
    if call.when == "call":
        item.stash[_passed] = report.passed
    return report


@pytest.fixture
def gcore_cloud(request: pytest.FixtureRequest) -> Iterator[SimulatedCloud]:
    """Provide a strict `SimulatedCloud` in process, on a `VirtualClock`: no test sleeps for real.

    Pass `**gcore_cloud.options` (or `async_options`) to waiter. A test that passes is then an
    error if it sent an unexpected request, or did not use everything that it scripted.
    """
    from waiter.testing.cloud import SimulatedCloud  # noqa: PLC0415 - see above

    cloud = SimulatedCloud.virtual()
    yield cloud
    _verify(request, cloud)


@pytest.fixture
def gcore_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedServer]:
    """Provide a running `SimulatedServer` with a strict `cloud`, in real time.

    GCORE_BASE_URL and GCORE_API_KEY are set to it, so that the code under test needs no change.
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
