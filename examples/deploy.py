"""Start work through the API, wait for it, and use what it made: ``python deploy.py``.

It needs ``GCORE_API_KEY``, and ``INSTANCES_URL`` such as https://api.gcore.com/cloud/v2/instances/PROJECT_ID/REGION_ID.
"""

import json
import os
import sys
from pathlib import Path

import httpx

from waiter import TaskError, TaskTimeoutError, wait_for_task


def main() -> int:
    """Create an instance and say what came of it."""
    wanted = json.loads(Path(__file__).with_name("instance.json").read_text(encoding="utf-8"))
    headers = {"Authorization": f"apikey {os.environ['GCORE_API_KEY']}"}
    started = httpx.post(os.environ["INSTANCES_URL"], json=wanted, headers=headers).raise_for_status().json()
    try:
        created = wait_for_task(started, timeout=1800)
    except TaskError as error:
        print(f"It failed: {error.error}; to clean up: {error.created_resources.as_dict()}", file=sys.stderr)
        return 1
    except TaskTimeoutError as error:
        print(f"It goes on: waiter wait {error.task_id}", file=sys.stderr)
        return 124
    print(f"The new instance is {created.instances[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
