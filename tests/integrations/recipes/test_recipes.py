"""The recipes for other engines, each run by its engine against a simulated API."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from prefect.testing.utilities import prefect_test_harness

from waiter import TaskError
from waiter.testing import SimulatedServer, ended, fails, finishes

EXAMPLES = Path(__file__).parents[3] / "examples/recipes"
PATH = "/cloud/v2/instances/*/*"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for what the engines store, and no telemetry. Prefect starts a server of its own, which may take long."""
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", f"sqlite:///{tmp_path}/dbos.sqlite")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def recipe(name: str) -> ModuleType:
    """Import it anew, since it reads the address of the API when it is imported."""
    sys.modules.pop(name, None)
    return import_module(name)


def test_asyncio(gcore_server: SimulatedServer) -> None:
    """All instances are created together."""
    gcore_server.cloud.on_request("POST", PATH, finishes(0.5, {"instances": ["i-1"]}))
    command = [sys.executable, str(EXAMPLES / "with_asyncio.py"), "web-1", "web-2"]
    ran = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["web-1: i-1", "web-2: i-1"]


def test_celery(gcore_server: SimulatedServer) -> None:
    """A worker in a thread, with a broker in memory."""
    ids = [gcore_server.cloud.add(ended({"instances": ["i-1"]})), gcore_server.cloud.add(finishes(0.5, {"volumes": ["v-1"]}))]
    bad = gcore_server.cloud.add(fails(0))
    module = recipe("with_celery")
    module.app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    with start_worker(module.app, perform_ping_check=False, pool="solo"):
        assert module.wait.delay(ids).get(timeout=30) == {ids[0]: {"instances": ["i-1"]}, ids[1]: {"volumes": ["v-1"]}}
        with pytest.raises(Exception, match="No valid host was found"):
            module.wait.delay([bad]).get(timeout=30)


def test_dagster(gcore_server: SimulatedServer) -> None:
    """Its logs have waiter's events."""
    gcore_server.cloud.on_request("POST", PATH, finishes(0.5, {"instances": ["i-1"]}))
    result: Any = recipe("with_dagster").deploy.execute_in_process()
    assert result.output_for_node("wait") == {"instances": ["i-1"]}


def test_dagster_does_not_retry_a_failed_task(gcore_server: SimulatedServer) -> None:
    """Five retries are allowed."""
    gcore_server.cloud.on_request("POST", PATH, fails(0, "boom"))
    result: Any = recipe("with_dagster").deploy.execute_in_process(raise_on_error=False)
    assert not result.success
    assert [event for event in result.all_node_events if event.is_step_up_for_retry] == []


def test_prefect(gcore_server: SimulatedServer) -> None:
    """On a server that it starts itself; a failed task is not retried."""
    module = recipe("with_prefect")
    gcore_server.cloud.on_request("POST", PATH, finishes(0.5, {"instances": ["i-1"]}))
    with prefect_test_harness(server_startup_timeout=120):
        assert asyncio.run(module.deploy("web")) == {"instances": ["i-1"]}
        task_id = gcore_server.cloud.add(fails(0))

        async def wait() -> Any:
            return await module.wait({"tasks": [task_id]})

        with pytest.raises(TaskError):
            asyncio.run(module.flow(wait)())
    assert sum(request.task_id == task_id for request in gcore_server.cloud.requests) == 1


def test_dbos(gcore_server: SimulatedServer) -> None:
    """On SQLite."""
    gcore_server.cloud.on_request("POST", PATH, finishes(0.5, {"instances": ["i-1"]}))
    module = recipe("with_dbos")

    async def run() -> Any:
        module.DBOS(config=module.CONFIG)
        module.DBOS.launch()
        return await module.deploy("web")

    try:
        assert asyncio.run(run()) == {"instances": ["i-1"]}
    finally:
        module.DBOS.destroy()
