"""Wait in a Celery task. The IDs are its arguments, so that a retry takes up the wait.

``celery --app with_celery worker`` runs it with the broker of ``CELERY_BROKER_URL``.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from waiter import ApiError, TaskError, TasksError, wait_for_tasks

TIMEOUT = 3600
FINAL = (TaskError, TasksError)
app = Celery("with_celery", broker=os.environ.get("CELERY_BROKER_URL"))
# A task that is lost with its worker is delivered again.
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)


@app.task(autoretry_for=(ApiError,), dont_autoretry_for=FINAL, max_retries=5, retry_backoff=True, time_limit=TIMEOUT + 60)
def wait(task_ids: list[str]) -> dict[str, dict[str, list[Any]]]:
    """Return what each task created. One worker slot is enough for thousands of IDs."""
    return {task_id: created.as_dict() for task_id, created in wait_for_tasks(task_ids, timeout=TIMEOUT).items()}
