"""Commands that send one request for each task."""

from __future__ import annotations

import json
import threading

import pytest
from command_parts import EMPTY, GOOD, Run

from waiter import Waiter
from waiter.task import TaskSnapshot


@pytest.mark.parametrize("command", ["status", "ack"])
def test_empty_list_of_tasks_is_a_success(run: Run, command: str) -> None:
    """Without a task there is no request, and the result is empty."""
    ran = run(command, "-", stdin=b'{"tasks": []}', env={"GCORE_API_KEY": ""})
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"tasks": [], "created_resources": {}}, "")


def test_requests_are_under_way_together(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few at a time; the results are in the order of the IDs."""
    together = threading.Barrier(2, timeout=30)
    poll = Waiter.snapshot

    def snapshot(waiter: Waiter, task_id: str) -> TaskSnapshot:
        together.wait()
        return poll(waiter, task_id)

    monkeypatch.setattr(Waiter, "snapshot", snapshot)
    ran = run("status", GOOD, EMPTY)
    assert [task["id"] for task in json.loads(ran.out)["tasks"]] == [GOOD, EMPTY]
