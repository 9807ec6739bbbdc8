"""The example DAGs on a real scheduler, DAG processor and triggerer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from airflow.triggers.base import BaseTrigger
from airflow_cluster import Cluster, until

from waiter.testing import SimulatedCloud, fails, finishes, never_ends, refuse


@pytest.fixture(scope="module")
def cloud() -> SimulatedCloud:
    return SimulatedCloud()


@pytest.fixture(scope="module")
def cluster(cloud: SimulatedCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its connection allows outages of one second only, so that one can be seen to end."""
    with cloud.serve() as url:
        connection = {"conn_type": "gcore", "host": url, "password": cloud.api_key, "extra": {"max_outage": 1}}
        with Cluster(tmp_path_factory.mktemp("cluster") / "home", json.dumps(connection)) as cluster:
            yield cluster


def test_deferred_task_is_resumed_with_what_was_created(cluster: Cluster, cloud: SimulatedCloud) -> None:
    """Its log has the transitions, and the key stands in no log."""
    task_id = cloud.add(finishes(8, {"instances": ["i-1"]}, starts_when_seen=True))
    run = cluster.trigger("gcore_wait", task_ids=[task_id])
    run.await_state("deferred")
    assert run.await_state("success", "failed")["state"] == "success"
    assert run.result() == {"instances": ["i-1"]}
    assert f'"gcore_task_id":"{task_id}"' in cluster.logs()
    assert cloud.api_key not in cluster.logs()


def test_failed_task_ends_on_its_first_try(cluster: Cluster, cloud: SimulatedCloud) -> None:
    """Although three retries are allowed."""
    run = cluster.trigger("gcore_wait", task_ids=[cloud.add(fails(8, starts_when_seen=True))])
    task = run.await_state("success", "failed", "up_for_retry")
    assert (task["state"], task["try_number"]) == ("failed", 1)


def test_another_triggerer_takes_over(cluster: Cluster, cloud: SimulatedCloud) -> None:
    """The first one is killed in the middle of a wait."""
    task_id = cloud.add(finishes(20, {"instances": ["i-1"]}, starts_when_seen=True))
    run = cluster.trigger("gcore_wait", task_ids=[task_id])
    run.await_state("deferred")
    until(lambda: polls(cloud, task_id) > 1)
    cluster.kill("triggerer")
    before = polls(cloud, task_id)
    cluster.start("triggerer")
    assert run.await_state("success", "failed")["state"] == "success"
    assert run.result() == {"instances": ["i-1"]}
    assert polls(cloud, task_id) > before


def polls(cloud: SimulatedCloud, task_id: str) -> int:
    return sum(request.task_id == task_id for request in list(cloud.requests))


def has_stopped(cloud: SimulatedCloud, task_id: str) -> bool:
    """Return whether five seconds pass without a poll."""
    before = polls(cloud, task_id)
    time.sleep(5)
    return polls(cloud, task_id) == before


def test_marked_as_failed(cluster: Cluster, cloud: SimulatedCloud) -> None:
    """The trigger stops polling, and cancels nothing at Gcore; its log says so where Airflow lets it."""
    task_id = cloud.add(never_ends())
    run = cluster.trigger("gcore_wait", task_ids=[task_id])
    run.await_state("deferred")
    until(lambda: polls(cloud, task_id) > 1)
    run.mark_failed()
    until(lambda: has_stopped(cloud, task_id))
    assert ("the tasks continue at Gcore" in cluster.logs()) == hasattr(BaseTrigger, "on_kill")
    assert {request.method for request in cloud.requests if request.task_id == task_id} == {"GET"}


def test_retry_takes_up_the_wait(cluster: Cluster, cloud: SimulatedCloud) -> None:
    """The outage ends the first try in the triggerer; no second instance is created."""
    cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(20, {"instances": ["i-1"]}))
    run = cluster.trigger("gcore_create")
    run.await_state("deferred", name="create")
    cloud.outage(0, 5, refuse(), on="task")
    run.await_state("up_for_retry", "queued", "running", name="create")
    assert run.await_state("success", "failed", name="use")["state"] == "success"
    assert run.result("use") == "created i-1"
    assert run.task("create")["try_number"] > 1
    assert sum(request.method == "POST" for request in cloud.requests) == 1
