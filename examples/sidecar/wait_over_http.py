"""Ask the sidecar to wait for a task, and print what the task created: ``python wait_over_http.py TASK_ID``.

``SIDECAR`` is its address, http://127.0.0.1:8080 unless set. Needs nothing but Python.
"""

import json
import os
import sys
from typing import Any
from urllib.request import Request, urlopen

SIDECAR = os.environ.get("SIDECAR", "http://127.0.0.1:8080")


def call(path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """Send a GET, or a POST if there is a body, and return the JSON of the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(SIDECAR + path, data, {"Content-Type": "application/json"})  # noqa: S310 - the address is configured
    with urlopen(request, timeout=90) as response:  # noqa: S310
        return json.load(response)


def main(task_id: str) -> int:
    """Wait until the task has ended, and return the exit code."""
    call("/v1/waits", {"tasks": [task_id]})
    while (wait := call(f"/v1/waits/{task_id}?wait=60s"))["status"] == "waiting":
        pass
    if wait["status"] != "finished":
        print(wait["error"], file=sys.stderr)
        return 1
    print(wait["created_resources"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
