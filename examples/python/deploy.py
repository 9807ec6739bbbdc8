"""Create an instance through the API, wait for its task, and use the result: ``python deploy.py``.

Environment: ``GCORE_API_KEY``, and ``INSTANCES_URL`` such as
https://api.gcore.com/cloud/v2/instances/PROJECT_ID/REGION_ID.
"""

import os
import sys

import httpx

from waiter import TaskError, TaskTimeoutError, wait_for_task

INSTANCE = {
    "name": "web-1",
    "flavor": "g1-standard-1-2",
    "volumes": [{"source": "image", "image_id": "f01fd9a0-9548-48ba-82dc-a8c8b2d6f2f1", "size": 10, "boot_index": 0}],
    "interfaces": [{"type": "external"}],
}


def main() -> int:
    """Create the instance, print its ID, and return the exit code."""
    headers = {"Authorization": f"APIKey {os.environ['GCORE_API_KEY']}"}
    response = httpx.post(os.environ["INSTANCES_URL"], json=INSTANCE, headers=headers, timeout=30).raise_for_status()
    code = 0
    try:
        # The answer may name several tasks, which are awaited together: except* handles one error and many alike.
        created = wait_for_task(response.json(), timeout=1800)
        print(f"The new instance is {created.instances[0]}")
    except* TaskTimeoutError as timed_out:
        code = 124
        print("Still running:", *timed_out.exceptions, sep="\n  ", file=sys.stderr)
    except* TaskError as failed:
        code = 1
        print("Failed:", *failed.exceptions, sep="\n  ", file=sys.stderr)  # each names what its task left behind
    return code


if __name__ == "__main__":
    sys.exit(main())
