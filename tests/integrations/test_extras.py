"""What each integration says when its package is missing. The rest of their tests need these packages: see .ci/integrations."""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

import waiter

INTEGRATIONS = Path(waiter.__file__).parent / "integrations"


@pytest.mark.parametrize(
    ("file", "package", "extra"),
    [
        ("otel.py", "opentelemetry", "otel"),
        ("temporal.py", "temporalio", "temporal"),
        ("airflow/__init__.py", "airflow", "airflow"),
    ],
)
def test_missing_package_is_named_with_its_extra(file: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that installs it, and the extra exists."""
    assert extra in (metadata("gcore-waiter").get_all("Provides-Extra") or [])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'gcore-waiter\[{extra}\]'"):
        runpy.run_path(str(INTEGRATIONS / file))
