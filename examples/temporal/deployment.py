"""A workflow that waits for Gcore tasks, and its worker.

Run a worker with ``python deployment.py worker``, and a workflow with ``python deployment.py start TASK_ID...``. The server is
that of ``TEMPORAL_ADDRESS``. The worker alone needs ``GCORE_API_KEY``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from typing import Any
from uuid import uuid4

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from waiter.integrations.temporal import GcoreActivities, wait_for_task

QUEUE = "deployments"
ADDRESS = os.environ.get("TEMPORAL_ADDRESS", "localhost:7233")


@workflow.defn
class Deployment:
    """Waits for the tasks of an answer of Gcore's API, and returns what they created."""

    @workflow.run
    async def run(self, answer: dict[str, list[str]], seconds: float = 7200, heartbeat_seconds: float = 30) -> dict[str, Any]:
        """Wait ``seconds`` at most; a worker that is lost is noticed after ``heartbeat_seconds``."""
        return await wait_for_task(
            answer, timeout=timedelta(seconds=seconds), heartbeat_timeout=timedelta(seconds=heartbeat_seconds)
        )


def worker(client: Client, gcore: GcoreActivities, waits: int = 1000) -> Worker:
    """Return a worker for the workflow and for so many ``waits``. Each is an activity; Temporal's own limit is 100."""
    return Worker(client, task_queue=QUEUE, workflows=[Deployment], activities=[gcore.wait], max_concurrent_activities=waits)


async def main(command: str, *task_ids: str) -> None:
    """Run a worker until it is stopped, or one workflow."""
    client = await Client.connect(ADDRESS)
    if command == "worker":
        async with GcoreActivities() as gcore:
            await worker(client, gcore).run()
    else:
        answer = {"tasks": list(task_ids)}
        print(await client.execute_workflow(Deployment.run, answer, id=f"deployment-{uuid4()}", task_queue=QUEUE))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
