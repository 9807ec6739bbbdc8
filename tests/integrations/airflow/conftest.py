"""An Airflow of its own: its settings, its database, and a connection to a simulated Gcore Cloud."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waiter.testing import SimulatedServer

HOME = Path(tempfile.mkdtemp(prefix="airflow-"))
# Airflow reads them when it is imported.
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[3] / "examples/airflow/dags"),
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
}


def airflow(*command: str) -> str:
    """Run a command of Airflow, and return what it prints."""
    ran = subprocess.run([Path(sys.executable).with_name("airflow"), *command], capture_output=True, text=True, check=True)
    return ran.stdout


@pytest.fixture(scope="session", autouse=True)
def _database() -> Iterator[None]:
    airflow("db", "migrate")
    yield
    shutil.rmtree(HOME)


@pytest.fixture
def connect(gcore_server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the connection ``gcore_default`` to the simulated cloud, with this extra; no other source of a key is left."""
    monkeypatch.delenv("GCORE_API_KEY")
    monkeypatch.delenv("GCORE_BASE_URL")

    def set_connection(key: str = gcore_server.cloud.api_key, **extra: Any) -> None:
        connection = {"conn_type": "gcore", "host": gcore_server.url, "password": key, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_GCORE_DEFAULT", json.dumps(connection))

    set_connection()
    return set_connection
