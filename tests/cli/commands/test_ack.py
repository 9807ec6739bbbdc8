"""``waiter ack``, and ``waiter wait --ack``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from command_parts import UNKNOWN, Ran, Run

from waiter import Task, Waiter
from waiter.testing import SimulatedCloud, ended, fails, never_ends


class Account:
    """The command on a cloud that records requests."""

    def __init__(self, run: Run, cloud: SimulatedCloud, url: str) -> None:
        self.cloud = cloud
        self.good = cloud.add(ended({"instances": ["vm-1"]}))
        self.broken = cloud.add(fails(0))
        self.endless = cloud.add(never_ends())
        self._run = run
        self._env = {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key}

    def run(self, *argv: str) -> Ran:
        return self._run(*argv, env=self._env)

    @property
    def acknowledged(self) -> list[str | None]:
        return [request.task_id for request in self.cloud.requests if request.method == "POST"]


@pytest.fixture
def account(run: Run) -> Iterator[Account]:
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        yield Account(run, cloud, url)


def test_tasks_are_acknowledged(account: Account) -> None:
    """Each task is acknowledged once and shown, and the exit code is 0 whatever the states."""
    ran = account.run("ack", account.endless, account.broken, account.endless)
    assert (ran.code, ran.err) == (0, "")
    assert [task["state"] for task in json.loads(ran.out)["tasks"]] == ["RUNNING", "ERROR"]
    # The requests are sent together, in any order.
    assert sorted(map(str, account.acknowledged)) == sorted([account.endless, account.broken])


def test_unknown_task_exits_4(account: Account) -> None:
    """An error of the API is reported on standard error, and the other tasks are acknowledged."""
    ran = account.run("ack", UNKNOWN, account.good)
    assert (ran.code, json.loads(ran.out)["created_resources"]) == (4, {"instances": ["vm-1"]})
    assert ran.err == f"waiter: no such task for this account (404): NotFound Task {UNKNOWN} was not found ({UNKNOWN})\n"


def test_wait_acknowledges_ended_tasks(account: Account) -> None:
    """With --ack, tasks that have ended are acknowledged, and no others."""
    tasks = (account.good, account.broken, account.endless)
    assert account.run("wait", *tasks, "--ack", "--timeout", "1s", "--quiet").code == 1
    assert set(account.acknowledged) == {account.good, account.broken}


def test_tasks_are_acknowledged_together(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the others does not pause meanwhile, and the command ends after all acknowledgements."""
    together = threading.Barrier(2, timeout=30)
    acknowledge = Waiter.acknowledge

    def acknowledge_together(waiter: Waiter, task_id: str) -> Task:
        together.wait()
        return acknowledge(waiter, task_id)

    monkeypatch.setattr(Waiter, "acknowledge", acknowledge_together)
    assert account.run("wait", account.good, account.broken, "--ack", "--quiet").code == 1
    assert set(account.acknowledged) == {account.good, account.broken}


def test_failed_acknowledgement_is_a_warning(account: Account) -> None:
    """If a task cannot be acknowledged, the result and the exit code are those of the wait."""
    account.cloud.on_request("POST", "/cloud/v1/tasks/*/acknowledge", json={}, status=500)
    ran = account.run("wait", account.good, "--ack", "-o", "ids")
    assert (ran.code, ran.out) == (0, "vm-1\n")
    assert "waiter: not acknowledged: the API returned 500" in ran.err
