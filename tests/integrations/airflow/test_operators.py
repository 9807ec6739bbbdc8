"""The operator, the sensor and the decorator, in DAGs that Airflow runs by ``dag.test()``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG
from structlog.testing import capture_logs

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag  # type: ignore[attr-defined, no-redef, unused-ignore]

from waiter.integrations.airflow.operators import MARGIN, GcoreTaskSensor, GcoreWaitOperator
from waiter.integrations.airflow.trigger import GcoreTaskTrigger
from waiter.testing import SimulatedServer, ended, fails, finishes, missing, never_ends, refuse

Connect = Callable[..., None]


@cache
def example(dag_id: str) -> DAG:
    dag: DAG = DagBag().dags[dag_id]
    return dag


@pytest.fixture(autouse=True)
def _connected(connect: Connect) -> None:
    connect()


class Ran:
    """A task instance after ``dag.test()``."""

    def __init__(self, dag: DAG, task: str = "wait", **conf: Any) -> None:
        self.run: Any = dag.test(run_conf=conf)
        self._ti = next(ti for ti in self.run.get_task_instances() if ti.task_id == task)
        self.ended = (str(self._ti.state), self._ti.try_number)

    @property
    def result(self) -> Any:
        return self._ti.xcom_pull(task_ids=self._ti.task_id)


@pytest.mark.parametrize("dag", ["gcore_wait", "gcore_sense"])
def test_result_is_what_the_tasks_created(dag: str, gcore_server: SimulatedServer) -> None:
    """As an XCom that the next task takes apart."""
    task_id = gcore_server.cloud.add(finishes(1, {"instances": ["i-1"]}))
    ran = Ran(example(dag), task_ids=[task_id])
    assert (ran.ended, ran.result) == (("success", 1), {"instances": ["i-1"]})


@pytest.mark.parametrize("dag", ["gcore_wait", "gcore_sense"])
def test_failed_task_is_not_retried(dag: str, gcore_server: SimulatedServer) -> None:
    """Three retries are allowed, and none would help."""
    assert Ran(example(dag), task_ids=[gcore_server.cloud.add(fails(1))]).ended == ("failed", 1)


def test_work_is_started_once(gcore_server: SimulatedServer) -> None:
    """The function returns the answer of the API; the next task gets the ID of the instance."""
    cloud = gcore_server.cloud
    cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(1, {"instances": ["i-1"]}))
    ran = Ran(example("gcore_create"), "use")
    assert (ran.ended, ran.result) == (("success", 1), "created i-1")
    assert [request.method for request in cloud.requests].count("POST") == 1
    assert variables() == []


def test_retry_takes_up_the_wait(gcore_server: SimulatedServer, connect: Connect) -> None:
    """An outage ends the first try; the second finds the IDs of what the first has started."""
    connect(max_outage=0)
    cloud = gcore_server.cloud
    cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(1, {"instances": ["i-1"]}))
    cloud.fault(refuse(), times=2, on="task")
    ran = Ran(example("gcore_create"), "create")
    assert (ran.ended, ran.result) == (("success", 2), {"instances": ["i-1"]})
    assert [request.method for request in cloud.requests].count("POST") == 1
    assert variables() == []


def variables() -> list[Any]:
    with sqlite3.connect(Path(os.environ["AIRFLOW_HOME"], "airflow.db")) as database:
        return database.execute("SELECT key FROM variable").fetchall()


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("unit", schedule=None) as dag:
        yield dag


CONTEXT: Any = {}


def test_wait_without_deferring(dag: DAG, gcore_server: SimulatedServer) -> None:
    """In the worker, with the same result."""
    task_id = gcore_server.cloud.add(finishes(1, {"instances": ["i-1"]}))
    operator = GcoreWaitOperator(task_id="wait", task_ids=task_id, deferrable=False, dag=dag)
    with capture_logs() as logs:
        assert operator.execute(CONTEXT) == {"instances": ["i-1"]}
    assert {log["gcore_task_id"] for log in logs if "gcore_task_id" in log} == {task_id}


def test_failure_names_what_was_created(dag: DAG, gcore_server: SimulatedServer) -> None:
    """The resources may need to be deleted."""
    task_id = gcore_server.cloud.add(fails(0, "boom", {"volumes": ["v-1"]}))
    operator = GcoreWaitOperator(task_id="wait", task_ids=task_id, deferrable=False, dag=dag)
    with pytest.raises(AirflowFailException, match=r'boom.*created all the same: {"volumes": \["v-1"\]}'):
        operator.execute(CONTEXT)


@pytest.mark.parametrize("timeout", [600, timedelta(minutes=10)])
def test_time_out_of_airflow_lies_beyond_the_deadline(
    dag: DAG, timeout: float | timedelta, gcore_server: SimulatedServer
) -> None:
    """So that the last poll is made."""
    task_id = gcore_server.cloud.add(never_ends())
    operator = GcoreWaitOperator(task_id="wait", task_ids=task_id, deferrable=True, timeout=timeout, dag=dag)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    assert isinstance(deferred.value.trigger, GcoreTaskTrigger)
    assert deferred.value.timeout == timedelta(minutes=10) + MARGIN


def test_wait_for_ever(dag: DAG, gcore_server: SimulatedServer) -> None:
    """Neither has a time-out."""
    task_id = gcore_server.cloud.add(never_ends())
    operator = GcoreWaitOperator(task_id="wait", task_ids=task_id, deferrable=True, timeout=None, dag=dag)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    assert deferred.value.timeout is None
    assert isinstance(deferred.value.trigger, GcoreTaskTrigger)
    assert deferred.value.trigger.deadline is None


def test_task_that_has_ended_is_not_deferred(dag: DAG, gcore_server: SimulatedServer) -> None:
    """One poll says so."""
    task_id = gcore_server.cloud.add(ended({"instances": ["i-1"]}))
    operator = GcoreWaitOperator(task_id="wait", task_ids=task_id, deferrable=True, dag=dag)
    assert operator.execute(CONTEXT) == {"instances": ["i-1"]}
    assert len(gcore_server.cloud.requests) == 1


def test_nothing_to_wait_for(dag: DAG, gcore_server: SimulatedServer) -> None:
    """No task, no request, no trigger."""
    assert GcoreWaitOperator(task_id="wait", task_ids={"tasks": []}, deferrable=True, dag=dag).execute(CONTEXT) == {}
    assert gcore_server.cloud.requests == []


def test_default_is_that_of_airflow(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    """``[operators] default_deferrable``."""
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert GcoreWaitOperator(task_id="wait", task_ids="a", dag=dag).deferrable
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "False")
    assert not GcoreTaskSensor(task_id="sense", task_ids="a", dag=dag).deferrable


def sensor(dag: DAG, *ids: str) -> GcoreTaskSensor:
    return GcoreTaskSensor(task_id="wait", task_ids=list(ids), deferrable=False, poke_interval=0.1, timeout=60, dag=dag)


def test_sensor_pokes_until_the_tasks_have_ended(dag: DAG, gcore_server: SimulatedServer) -> None:
    """An outage is not an end."""
    gcore_server.cloud.fault(refuse())
    ids = [gcore_server.cloud.add(ended({"volumes": ["v-1"]})), gcore_server.cloud.add(finishes(1, {"instances": ["i-1"]}))]
    assert sensor(dag, *ids).execute(CONTEXT) == {"volumes": ["v-1"], "instances": ["i-1"]}


def test_sensor_fails_with_its_task(dag: DAG, gcore_server: SimulatedServer) -> None:
    """The failure is not retried."""
    with pytest.raises(AirflowFailException, match="create_vm failed: boom"):
        sensor(dag, gcore_server.cloud.add(fails(0, "boom"))).execute(CONTEXT)


def test_sensor_fails_for_a_task_that_does_not_exist(dag: DAG, gcore_server: SimulatedServer) -> None:
    """Nor is a refusal."""
    with pytest.raises(AirflowFailException, match="404"):
        sensor(dag, gcore_server.cloud.add(missing())).execute(CONTEXT)


def test_worker_that_is_killed_says_what_continues(dag: DAG, gcore_server: SimulatedServer) -> None:
    """Nothing is cancelled at Gcore."""
    gcore_server.cloud.add(never_ends(), watched=False)
    with capture_logs() as logs:
        GcoreWaitOperator(task_id="wait", task_ids="a", dag=dag).on_kill()
    assert [log["event"] for log in logs] == ["the tasks continue at Gcore"]
