"""Wait in a Dagster op: starting the work is an op of its own, so that a retry does not start it again."""

# Dagster reads the annotations when the file is imported: they cannot be postponed.
import os
from typing import Any

import httpx
from dagster import Backoff, Failure, OpExecutionContext, RetryPolicy, job, op

from waiter import TaskError, wait_for_task

API = os.environ.get("GCORE_BASE_URL", "https://api.gcore.com")


@op
def create() -> dict[str, Any]:
    """Start the creation of an instance, and return what the API answers."""
    headers = {"Authorization": f"apikey {os.environ['GCORE_API_KEY']}"}
    answer: dict[str, Any] = httpx.post(f"{API}/cloud/v2/instances/1/7", json={"name": "web"}, headers=headers).json()
    return answer


@op(retry_policy=RetryPolicy(max_retries=5, delay=10, backoff=Backoff.EXPONENTIAL))
def wait(context: OpExecutionContext, answer: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what was created. A task that has failed is not retried."""
    try:
        return wait_for_task(answer, timeout=3600, on_event=lambda event: context.log.info(event.name)).as_dict()
    except TaskError as error:
        raise Failure(str(error), metadata=error.created_resources.as_dict(), allow_retries=False) from error


@job
def deploy() -> None:
    """Create an instance and wait for it."""
    wait(create())
