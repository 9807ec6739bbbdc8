"""``waiter wait --active``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import inf

import pytest
from command_parts import Ran, Run

from waiter.cli import active_tasks
from waiter.cli.commands.wait import resume_command
from waiter.cli.registry import load_command
from waiter.testing import SimulatedCloud, ended, never_ends, reset, status


class Account:
    """The command on a cloud with three tasks that never end, and one that has ended."""

    def __init__(self, run: Run, cloud: SimulatedCloud, url: str) -> None:
        self.cloud = cloud
        cloud.add(never_ends(fields={"data": {"name": "web-1"}}), task_id="old")
        cloud.add(never_ends(region_id=2), task_id="new")
        cloud.add(never_ends(project_id=5), task_id="other")
        cloud.add(ended({"instances": ["vm-1"]}, fields={"data": {"name": "web-2"}}), task_id="done")
        self._run = run
        self._env = {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key}

    def run(self, *argv: str, **env: str) -> Ran:
        return self._run("wait", *argv, env={"WAITER_TIMEOUT": "0.1", **self._env, **env})


@pytest.fixture
def account(run: Run) -> Iterator[Account]:
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        yield Account(run, cloud, url)


def ids(ran: Ran) -> list[str]:
    return [task["id"] for task in json.loads(ran.out)["tasks"]]


def test_all_active_tasks_are_awaited(account: Account) -> None:
    """Those that a listing shows now, newest first; filters select some of them."""
    ran = account.run("--active")
    assert (ran.code, ids(ran)) == (124, ["other", "new", "old"])
    assert "waiter: create_vm web-1 old is RUNNING (" in ran.err
    assert ids(account.run("--active", "--project", "1")) == ["new", "old"]
    assert ids(account.run("--active", "--project", "5", "--project=1", "--region", "2")) == ["new"]


def test_active_task_that_ends_is_a_success(account: Account) -> None:
    """It may have ended a moment after the listing."""
    row = {"id": "done", "state": "RUNNING", "task_type": "create_vm"}
    account.cloud.on_request("GET", "/cloud/v1/tasks", json={"count": 1, "results": [row]})
    ran = account.run("--active", "-o", "ids")
    assert (ran.code, ran.out) == (0, "vm-1\n")
    assert ran.err.startswith("waiter: create_vm web-2 done is FINISHED")


def test_project_and_region_default_to_the_environment(account: Account) -> None:
    """As in ``waiter list``."""
    ran = account.run("--active", GCORE_CLOUD_PROJECT_ID="1", GCORE_CLOUD_REGION_ID="2")
    assert ids(ran) == ["new"]
    assert account.run("--active", GCORE_CLOUD_REGION_ID="two").err == (
        "waiter: GCORE_CLOUD_REGION_ID must be a number, not 'two'\n"
    )


def test_no_active_task_is_a_success(account: Account) -> None:
    """The result is empty, standard error says so, and the command after ``--`` would be run."""
    ran = account.run("--active", "--type", "create_bm")
    assert (ran.code, json.loads(ran.out)) == (0, {"tasks": [], "created_resources": {}})
    assert ran.err == "waiter: no task found (NEW or RUNNING, type create_bm)\n"


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["done", "--active"], "--active stands for the IDs of all active tasks: leave out either --active or TASK_ID"),
        (["-", "--active"], "--active stands for the IDs of all active tasks: leave out either --active or TASK_ID"),
        (["--active", "--creator"], "--creator goes with a resource: --active waits for tasks"),
    ],
)
def test_active_tasks_exclude_ids(account: Account, argv: list[str], problem: str) -> None:
    """The user meant one of them: a union would wait for tasks of others."""
    ran = account.run(*argv)
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (2, "", f"waiter wait: {problem}")
    assert account.cloud.requests == []


def test_outage_of_the_listing_is_survived(account: Account) -> None:
    """As an outage of a wait is; the first failure is reported."""
    account.cloud.fault(status(503, retry_after=0.1), on="listing")
    account.cloud.fault(reset(), on="listing")
    row = {"id": "done", "state": "RUNNING", "task_type": "create_vm"}
    account.cloud.on_request("GET", "/cloud/v1/tasks", json={"count": 1, "results": [row]})
    ran = account.run("--active", "--region", "2", WAITER_TIMEOUT="60")
    assert (ran.code, ids(ran)) == (0, ["done"])
    assert re.match(
        r"waiter: the list of tasks: the API returned 503.*, retrying, gives up in (1m00|\d\d)s$", ran.err.splitlines()[0]
    )
    assert ran.err.count("retrying") == 1


def test_outage_ends_with_max_outage(account: Account) -> None:
    """Then the last error is the message."""
    account.cloud.fault(status(503), on="listing", times=inf)
    ran = account.run("--active", "--max-outage", "0.1", "-q", WAITER_TIMEOUT="60")
    assert (ran.code, ran.out) == (5, "")
    assert re.match(r"waiter: no usable answer for \d+ s: the API returned 503", ran.err)


def test_outage_of_the_listing_ends_with_the_timeout(account: Account) -> None:
    """With the exit code of a wait that timed out; nothing is known to be resumed."""
    account.cloud.fault(status(503), on="listing", times=inf)
    ran = account.run("--active", "-q")
    assert (ran.code, ran.out) == (124, "")
    assert re.match(
        r"waiter: not as awaited after \d+ s: the list of tasks is not seen yet; the last poll failed: the", ran.err
    )


def test_outage_of_the_listing_is_an_event(account: Account) -> None:
    """Before those of the waits."""
    account.cloud.fault(status(503, retry_after=0.01), on="listing")
    row = {"id": "done", "state": "RUNNING", "task_type": "create_vm"}
    account.cloud.on_request("GET", "/cloud/v1/tasks", json={"count": 1, "results": [row]})
    ran = account.run("--active", "-o", "events", "-q", WAITER_TIMEOUT="60")
    events = [json.loads(line) for line in ran.out.splitlines()]
    names = [event["event"] for event in events]
    assert names[:3] == ["poll.failed", "poll.recovered", "wait.started"]
    assert names[-2:] == ["wait.ended", "result"]
    assert [event["path"] for event in events[:2]] == ["/cloud/v1/tasks"] * 2


def test_refused_listing_ends_the_wait(account: Account) -> None:
    """No repetition mends it."""
    ran = account.run("--active", GCORE_API_KEY="wrong")
    assert (ran.code, ran.out, len(account.cloud.requests)) == (3, "", 1)


def test_too_many_tasks_are_refused(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """None would be left out silently."""
    monkeypatch.setattr(active_tasks, "DEFAULT_LIMIT", 1)
    ran = account.run("--active")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "waiter: more than 1 tasks are active: use --project, --region or --type\n"


@pytest.mark.parametrize("filters", [[], ["--project", "1", "--region=2"], ["--type", "create_vm"]])
def test_wait_is_resumed_for_the_same_tasks(filters: list[str]) -> None:
    """By their IDs, because others may be active by then."""
    argv = ["--active", *filters, "--timeout", "5", "-q"]
    args = load_command("wait").make_parser().parse(argv, {})
    args.argv, args.command = argv, None
    assert resume_command(args, ["a", "b"]) == "waiter wait --timeout 5 -q a b"
