"""Tasks that are named by the paths of resources."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
from command_parts import Ran, Run

from waiter.cli.wait_thread import InboxReader
from waiter.console import signals
from waiter.events import Event
from waiter.testing import SimulatedCloud, ended, never_ends, status

VOLUME = "/cloud/v1/volumes/1/2/v-1"
FREE = "/cloud/v1/volumes/1/2/v-2"


class Account:
    """The command on a cloud in which a task that has ended holds one volume, and none another."""

    def __init__(self, run: Run, cloud: SimulatedCloud, url: str) -> None:
        self.cloud = cloud
        self.url = url
        self._run = run
        cloud.add(ended({"volumes": ["v-1"]}), task_id="holder")
        cloud.add(ended({"volumes": ["v-9"]}), task_id="creator")
        cloud.on_request("GET", VOLUME, json={"id": "v-1", "task_id": "holder", "creator_task_id": "creator"})
        cloud.on_request("GET", FREE, json={"id": "v-2", "task_id": None, "creator_task_id": "creator"})
        cloud.on_request("GET", "/cloud/v1/volumes/1/2", json={"count": 1, "results": [{"task_id": "holder"}]})
        cloud.on_request("GET", "/cloud/v1/regions", json={"name": "x"})

    def run(self, command: str, *argv: str, stdin: bytes = b"", **env: str) -> Ran:
        env = {"GCORE_BASE_URL": self.url, "GCORE_API_KEY": self.cloud.api_key, **env}
        return self._run(command, *argv, stdin=stdin, env=env)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.cloud.requests]


@pytest.fixture
def account(run: Run) -> Iterator[Account]:
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        yield Account(run, cloud, url)


def ids(ran: Ran) -> list[str]:
    return [task["id"] for task in json.loads(ran.out)["tasks"]]


@pytest.mark.parametrize("command", ["wait", "status"])
def test_path_stands_for_the_task_that_holds_the_resource(account: Account, command: str) -> None:
    """As an argument, as a URL and in a list on standard input; a listing stands for all that it shows."""
    for given in (VOLUME, f"{account.url}{VOLUME}", "/cloud/v1/volumes/{project_id}/{region_id}/v-1", "/cloud/v1/volumes/1/2"):
        ran = account.run(command, given, "-o", "json", GCORE_CLOUD_PROJECT_ID="1", GCORE_CLOUD_REGION_ID="2")
        assert (ran.code, ids(ran)) == (0, ["holder"])
    ran = account.run(command, "-", "creator", stdin=f"# volumes\n{VOLUME}\nholder\n".encode())
    assert (ran.code, ids(ran)) == (0, ["holder", "creator"])
    assert account.paths[0] == VOLUME


@pytest.mark.parametrize("command", ["wait", "status"])
def test_creator_of_a_resource_counts_only_with_the_option(account: Account, command: str) -> None:
    """A resource that no task holds has nothing to wait for, and standard error says so."""
    ran = account.run(command, FREE)
    assert (ran.code, ids(ran), ran.err) == (0, [], f"waiter: no task holds {FREE}\n")
    assert ids(account.run(command, FREE, "--creator")) == ["creator"]


@pytest.mark.parametrize("command", ["wait", "status", "ack"])
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("https://example.com/cloud/v1/volumes/1/2/v-1", "the URL must begin with "),
        ("/cloud/v1/../v1/volumes", "the path must not contain . or .. as a segment"),
        ("/home/me/ids.txt", "not a task ID: '/home/me/ids.txt' (@FILE reads a file)"),
        ('["/cloud/v1/volumes/1/2/v-1"]', "not a task ID: '/cloud/v1/volumes/1/2/v-1'"),
    ],
)
def test_nothing_is_sent_for_what_is_no_path_of_the_api(account: Account, command: str, given: str, problem: str) -> None:
    """The key goes to the configured host only, and an answer of the API does not choose what is requested."""
    ran = account.run(command, VOLUME, given)
    assert (ran.code, ran.out, account.paths) == (2, "", [])
    assert ran.err.startswith(f"waiter: {problem}")


@pytest.mark.parametrize("command", ["wait", "status"])
def test_resource_without_tasks_is_refused(account: Account, command: str) -> None:
    """As its JSON on standard input is."""
    assert account.run(command, "/cloud/v1/regions") == (2, "", "waiter: /cloud/v1/regions has no tasks: it has name\n")


def test_outage_is_survived_with_the_events_of_a_wait(account: Account) -> None:
    """The events of the resource have its path."""
    account.cloud.fault(status(503, retry_after=0.01))
    ran = account.run("wait", VOLUME, "-o", "events", "-q", "--timeout", "60")
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 0
    assert [event["event"] for event in events if event.get("path") == VOLUME] == [
        "wait.started",
        "poll.failed",
        "poll.recovered",
        "resource.ready",
        "wait.ended",
    ]
    assert events[-1]["tasks"][0]["id"] == "holder"


def test_outage_ends_as_that_of_a_wait(account: Account) -> None:
    """``status`` sends one request; the exit code of ``wait`` is that of the limit."""
    account.cloud.fault(status(503), times=inf)
    assert account.run("status", VOLUME).code == 5
    assert account.paths == [VOLUME]
    assert account.run("wait", VOLUME, "-q", "--timeout", "0.1").code == 124
    assert account.run("wait", VOLUME, "-q", "--timeout", "60", "--max-outage", "0.1").code == 5


def test_events_before_a_task_is_known_end_with_a_result(account: Account) -> None:
    """It has no tasks; other formats write nothing."""
    ran = account.run("wait", "/cloud/v1/regions", "-q", "-o", "events")
    *_, over, result = map(json.loads, ran.out.splitlines())
    assert (ran.code, over["event"], over["outcome"]) == (2, "wait.ended", "finished")
    assert (result["event"], result["tasks"]) == ("result", [])
    account.cloud.fault(status(503), times=inf)
    *_, over, result = map(json.loads, account.run("wait", VOLUME, "-q", "--timeout", "0.1", "-o", "events").out.splitlines())
    assert (over["outcome"], result["event"], result["tasks"]) == ("timed_out", "result", [])


def test_interrupted_request_of_a_resource_has_an_end(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an event, and the result follows, as for tasks."""

    def start(_: object, inbox: Any) -> threading.Thread:
        inbox.put(Event("wait.started", {"path": VOLUME}))
        return threading.Thread()

    def interrupt(_: InboxReader) -> None:
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr("waiter.cli.wait_thread.start_thread", start)
    monkeypatch.setattr(InboxReader, "read_until_done", interrupt)
    ran = account.run("wait", VOLUME, "-q", "-o", "events")
    started, over, result = map(json.loads, ran.out.splitlines())
    assert (ran.code, started["event"], result["event"], result["tasks"]) == (143, "wait.started", "result", [])
    assert (over["event"], over["outcome"], over["path"]) == ("wait.ended", "cancelled", VOLUME)


def test_resumed_wait_is_for_the_task(account: Account) -> None:
    """The resource may be held by another one then."""
    account.cloud.add(never_ends(), task_id="endless")
    path = "/cloud/v1/instances/1/2/i-1"
    account.cloud.on_request("GET", path, json={"id": "i-1", "task_id": "endless"})
    ran = account.run("wait", path, "-q", "--timeout", "0.1", "-o", "ids")
    assert (ran.code, ran.out) == (124, "")
    assert ran.err.endswith("to resume: waiter wait -q --timeout 0.1 -o ids endless\n")
