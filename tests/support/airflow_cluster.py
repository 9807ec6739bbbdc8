"""Airflow as it runs in production, component by component, on SQLite."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

AIRFLOW = str(Path(sys.executable).with_name("airflow"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Return the result of the condition once it is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.25)
    return result


class Component:
    """A process of Airflow with all of its children, in a session of their own."""

    def __init__(self, name: str, environ: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen([AIRFLOW, name], env=environ, stdout=output, stderr=output, start_new_session=True)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Cluster:
    """An API server, a scheduler, a DAG processor and a triggerer; a context manager."""

    def __init__(self, home: Path, connection: str) -> None:
        port = free_port()
        self._home = home
        self._url = f"http://127.0.0.1:{port}"
        self._environ = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_GCORE_DEFAULT": connection,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._url}/execution/",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            # Airflow's executor reports a deferral as late as this, and must not do so when the task has resumed.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        }
        self._components: dict[str, Component] = {}
        self._http = httpx.Client(base_url=self._url, trust_env=False, timeout=30)

    def start(self, name: str) -> None:
        self._components[name] = Component(name, self._environ, self._home / f"{name}.log")

    def kill(self, name: str) -> None:
        self._components.pop(name).kill()

    def __enter__(self) -> Self:
        self._home.mkdir()
        subprocess.run([AIRFLOW, "db", "migrate"], env=self._environ, check=True, capture_output=True)
        for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
            self.start(name)
        until(self._is_up)
        self._http.headers["Authorization"] = f"Bearer {self._http.get('/auth/token').json()['access_token']}"
        until(lambda: len(self.get("/dags").get("dags", [])) >= 3)
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        for component in self._components.values():
            component.kill()

    def _is_up(self) -> bool:
        with suppress(httpx.HTTPError):
            return self._http.get("/api/v2/monitor/health").is_success
        return False

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.get(f"/api/v2{path}").json()
        return answer

    def trigger(self, dag: str, **conf: Any) -> Run:
        answer = self._http.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf})
        return Run(self, f"/dags/{dag}/dagRuns/{answer.raise_for_status().json()['dag_run_id']}")

    def patch(self, path: str, body: dict[str, Any]) -> None:
        self._http.patch(f"/api/v2{path}", json=body).raise_for_status()

    def logs(self) -> str:
        """Return what tasks and triggers have logged."""
        return "".join(file.read_text() for file in sorted((self._home / "logs").rglob("*.log")) if file.is_file())


class Run:
    """A run of a DAG."""

    def __init__(self, cluster: Cluster, path: str) -> None:
        self._cluster = cluster
        self._path = path

    def task(self, name: str = "wait") -> dict[str, Any]:
        return self._cluster.get(f"{self._path}/taskInstances/{name}")

    def await_state(self, *states: str, name: str = "wait") -> dict[str, Any]:
        task: dict[str, Any] = until(lambda: (task := self.task(name)).get("state") in states and task)
        return task

    def result(self, name: str = "wait") -> Any:
        return self._cluster.get(f"{self._path}/taskInstances/{name}/xcomEntries/return_value?deserialize=true")["value"]

    def mark_failed(self, name: str = "wait") -> None:
        self._cluster.patch(f"{self._path}/taskInstances/{name}", {"new_state": "failed"})
