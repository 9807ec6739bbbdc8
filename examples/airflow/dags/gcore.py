"""Three DAGs: wait for tasks that something else has started, start work and wait for it, and the same with a sensor.

Start the first with ``airflow dags trigger gcore_wait --conf '{"task_ids": ["26986bc0-748a-4448-b836-0a2aa465eb06"]}'``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
from airflow.sdk import BaseHook, Param, dag, task

from waiter.integrations.airflow.operators import GcoreTaskSensor, GcoreWaitOperator

RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=1)}
TASKS = {"task_ids": Param([], type="array")}


@dag(schedule=None, params=TASKS, render_template_as_native_obj=True)
def gcore_wait() -> None:
    """Wait for tasks without a worker slot."""
    GcoreWaitOperator(task_id="wait", task_ids="{{ params.task_ids }}", deferrable=True, **RETRIES)


@dag(schedule=None, params=TASKS, render_template_as_native_obj=True)
def gcore_sense() -> None:
    """Like gcore_wait, as a sensor."""
    GcoreTaskSensor(task_id="wait", task_ids="{{ params.task_ids }}", deferrable=True, timeout=7200, **RETRIES)


@dag(schedule=None)
def gcore_create() -> None:
    """Create an instance, wait for it, and use it. A retry takes up the wait and creates no second instance."""

    @task.gcore(deferrable=True, **RETRIES)
    def create() -> dict[str, Any]:
        gcore = BaseHook.get_connection("gcore_default")
        url = f"{gcore.host or 'https://api.gcore.com'}/cloud/v2/instances/1/7"
        headers = {"Authorization": f"apikey {gcore.password}"}
        answer: dict[str, Any] = httpx.post(url, json={"name": "web"}, headers=headers).raise_for_status().json()
        return answer

    @task
    def use(created: dict[str, list[str]]) -> str:
        return f"created {created['instances'][0]}"

    use(create())  # type: ignore[arg-type, unused-ignore]


gcore_wait()
gcore_sense()
gcore_create()
