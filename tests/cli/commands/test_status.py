"""``waiter status``."""

from __future__ import annotations

import json
import re

from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Run


def test_status_of_a_running_task_exits_0(run: Run) -> None:
    """A poll that succeeds is a success, whatever the state; the text has the age."""
    ran = run("status", ENDLESS, "-o", "text")
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(rf"RUNNING   create_vm  {ENDLESS}  \w+ old\n", ran.out)
    assert run("status", ENDLESS, "-o", "text", "--query", "tasks[0].state") == (0, "RUNNING\n", "")


def test_lowest_exit_code_of_several_tasks_counts(run: Run) -> None:
    """Every task is shown, and an error of the API is reported on standard error."""
    ran = run("status", BROKEN, UNKNOWN, GOOD)
    assert [task["state"] for task in json.loads(ran.out)["tasks"]] == ["ERROR", None, "FINISHED"]
    assert ran.code == 1
    assert ran.err == f"waiter: no such task for this account (404): NotFound Task {UNKNOWN} was not found ({UNKNOWN})\n"


def test_log_of_a_status_poll_is_empty(run: Run) -> None:
    """The log can be enabled, and a poll that succeeds is no event."""
    assert run("status", GOOD, "-o", "ids", "--log-format", "json") == (0, "vm-1\ndisk-1\ndisk-2\n", "")
