"""Commands that send one request for each task."""

from __future__ import annotations

import json

import pytest
from command_parts import Run


@pytest.mark.parametrize("command", ["status", "ack"])
def test_empty_list_of_tasks_is_a_success(run: Run, command: str) -> None:
    """Without a task there is no request, and the result is empty."""
    ran = run(command, "-", stdin=b'{"tasks": []}', env={"GCORE_API_KEY": ""})
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"tasks": [], "created_resources": {}}, "")
