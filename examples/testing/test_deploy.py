"""Tests of a deployment against the simulated Gcore Cloud: ``pytest test_deploy.py``."""

import pytest

from waiter import CreatedResources, TaskError, TaskTimeoutError, wait_for_task
from waiter.testing import SimulatedCloud, SimulatedServer, fails, finishes, never_ends, status


def deploy(task_id: str) -> CreatedResources:
    """Represent your own code, which reads GCORE_BASE_URL and GCORE_API_KEY as usual."""
    return wait_for_task(task_id, timeout=60)


def test_deployment_survives_an_outage(gcore_cloud: SimulatedCloud) -> None:
    """Four minutes of 503 in virtual time, and the instance is returned."""
    task_id = gcore_cloud.add(finishes(300, {"instances": ["i-1"]}))
    gcore_cloud.outage(10, 240, status(503))
    assert wait_for_task(task_id, **gcore_cloud.options).instances == ("i-1",)


def test_failure_names_what_is_left(gcore_cloud: SimulatedCloud) -> None:
    """A volume of a failed task can be deleted."""
    task_id = gcore_cloud.add(fails(20, "No valid host was found", {"volumes": ["v-1"]}))
    with pytest.raises(TaskError) as caught:
        wait_for_task(task_id, **gcore_cloud.options)
    assert caught.value.created_resources.volumes == ("v-1",)


def test_time_out_keeps_the_last_state(gcore_cloud: SimulatedCloud) -> None:
    """An hour of virtual time takes milliseconds."""
    task_id = gcore_cloud.add(never_ends())
    with pytest.raises(TaskTimeoutError) as caught:
        wait_for_task(task_id, timeout=3600, **gcore_cloud.options)
    assert caught.value.last_task is not None


def test_unchanged_code_over_http(gcore_server: SimulatedServer) -> None:
    """The environment points to the simulation."""
    task_id = gcore_server.cloud.add(finishes(0.2, {"instances": ["i-1"]}))
    assert deploy(task_id).instances == ("i-1",)
