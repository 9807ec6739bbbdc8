"""Fixtures for the tests of the sidecar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sidecar_parts import Report, Sidecar

from waiter.testing import SimulatedCloud


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and selenium; runs when asked for with -m browser")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    browser_tests = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=browser_tests)
    items[:] = [item for item in items if item not in browser_tests]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    figures = [value for one in reports for name, value in one.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("".join(f"{figure}\n" for figure in figures))


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Report a figure, which is printed with the result."""
    return partial(record_property, "figure")


@pytest.fixture
def sidecar(tmp_path: Path) -> Sidecar:
    return Sidecar(tmp_path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCloud]:
    """A simulated cloud over real HTTP; the environment has its address."""
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        monkeypatch.setenv("GCORE_BASE_URL", url)
        monkeypatch.setenv("GCORE_API_KEY", cloud.api_key)
        yield cloud
