"""What the tests of the sidecar share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# Makes sidecar_parts importable: the tests are no package.
from sidecar_parts import House

from waiter.testing import SimulatedCloud


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and selenium; runs when asked for with -m browser")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    browsing = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=browsing)
    items[:] = [item for item in items if item not in browsing]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCloud]:
    """A cloud over real HTTP, to which the environment leads."""
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        monkeypatch.setenv("GCORE_BASE_URL", url)
        monkeypatch.setenv("GCORE_API_KEY", cloud.api_key)
        yield cloud
