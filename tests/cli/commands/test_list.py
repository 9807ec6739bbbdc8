"""``waiter list``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from command_parts import Ran, Run, Terminal

from waiter.cli.commands import list as command
from waiter.testing import Phase, Script, SimulatedCloud, fails, finishes, never_ends, status

VM = "11111111-1111-4111-8111-111111111111"
DISK = "22222222-2222-4222-8222-222222222222"
CLUSTER = "33333333-3333-4333-8333-333333333333"
BROKEN = "44444444-4444-4444-8444-444444444444"
IDS = {"volume_id": "726ecfcc-7fd0-4e30-a86e-7892524aa483", "instance_id": "a7e7e8d6-0bf7-4ac9-8170-831b47ee2ba9"}


class Account:
    """The command on a cloud with three active tasks and one in ERROR."""

    def __init__(self, run: Run, cloud: SimulatedCloud, url: str) -> None:
        self.cloud = cloud
        cloud.add(fails(0, fields={"data": {"name": "web-0"}}), task_id=BROKEN)
        cloud.add(Script(phases=(Phase("NEW"),), age=7000, task_type="create_k8s_cluster_v2"), task_id=CLUSTER)
        cloud.add(never_ends(task_type="attach_volume", age=63, fields={"data": IDS}, project_id=5), task_id=DISK)
        vm = Script(phases=(Phase("RUNNING", detailed_state="NETWORK"),), age=20.2, fields={"data": {"name": "web-1\x1b"}})
        cloud.add(vm, task_id=VM)
        cloud.add_past("create_vm", [30.0] * 20)
        self._run = run
        self.env = {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key}

    def run(self, *argv: str, **env: str) -> Ran:
        return self._run("list", *argv, env=self.env | env)

    @property
    def queries(self) -> list[str]:
        return [request.path.partition("?")[2] for request in self.cloud.requests]


@pytest.fixture
def account(run: Run) -> Iterator[Account]:
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        yield Account(run, cloud, url)


def test_active_tasks_are_a_table(account: Account) -> None:
    """Newest first: what each acts on, its state, its age, and how long it is likely to run."""
    ran = account.run("-o", "text")
    assert (ran.code, ran.err) == (0, "")
    header, vm, disk, cluster = ran.out.splitlines()
    assert header.split() == ["ID", "TYPE", "TARGET", "STATE", "AGE", "LEFT"]
    assert vm.split()[:4] == [VM, "create_vm", r"web-1\x1b", "RUNNING/NETWORK"]
    assert vm.split()[4] in {"20s", "21s", "22s"}
    assert "  about " in vm
    assert " left" not in vm
    assert disk.split()[:7] == [
        DISK,
        "attach_volume",
        "volume",
        f"{IDS['volume_id']},",
        "instance",
        IDS["instance_id"],
        "RUNNING",
    ]
    assert cluster.split() == [CLUSTER, "create_k8s_cluster_v2", "NEW", "1h56m"]


def test_json_has_the_shape_of_every_other_result(account: Account) -> None:
    """It adds the age and the time left, in seconds, and waiter reads it as a list of tasks."""
    ran = account.run()
    tasks = {task["id"]: task for task in json.loads(ran.out)["tasks"]}
    assert list(tasks) == [VM, DISK, CLUSTER]
    assert (tasks[VM]["status"], tasks[VM]["target"], 20 <= tasks[VM]["age"] < 25) == ("waiting", "web-1\x1b", True)
    assert 0 < tasks[VM]["time_left"] < tasks[VM]["time_left_p90"] < 20
    assert (tasks[CLUSTER]["time_left"], tasks[CLUSTER]["time_left_p90"]) == (None, None)
    assert account.run("--query", "tasks[0].target", "-o", "text").out == "web-1\\x1b\n"


def test_ids_are_those_of_the_tasks(account: Account) -> None:
    """For ``waiter list -o ids | waiter wait -``; without other requests."""
    assert account.run("-o", "ids", "--project", "1") == (0, f"{VM}\n{CLUSTER}\n", "")
    assert account.queries == ["state=NEW&state=RUNNING&project_id=1&order_by=desc&limit=500&offset=0"]


def test_states_are_selected(account: Account) -> None:
    """Case does not matter, and --all selects every state."""
    task = json.loads(account.run("--state", "Error").out)["tasks"][0]
    assert (task["id"], task["status"], task["error"]) == (BROKEN, "failed", "No valid host was found")
    assert len(account.run("--all", "-o", "ids").out.split()) == 24
    lines = [line.split() for line in account.run("--all", "-o", "text").out.splitlines()]
    assert [BROKEN, "create_vm", "web-0", "ERROR"] in [line[:4] for line in lines]
    assert lines[-1][-3:] == ["20h00m", "took", "30s"]


def test_history_of_each_type_is_requested_once(account: Account) -> None:
    """Unless it is not wanted, and a type without a history has its usual duration."""
    account.cloud.fault(status(500), on="listing", times=0)
    account.run("--no-learn")
    assert len(account.queries) == 1
    account.cloud.requests.clear()
    account.run()
    assert sorted(query.partition("&")[0] for query in account.queries) == [
        "state=NEW",
        "task_type=attach_volume",
        "task_type=create_k8s_cluster_v2",
        "task_type=create_vm",
    ]


def test_history_that_cannot_be_had_is_left_out(account: Account) -> None:
    """The usual duration of the type stands for it."""
    account.cloud.on_request("GET", "/cloud/v1/tasks", json={"count": 1, "results": [{"id": "a", "state": "NEW"}]})
    assert account.run("-o", "text").out == "ID  STATE\na   NEW\n"
    row = {"id": "a", "state": "NEW", "task_type": "create_vm", "created_on": "2999-01-01T00:00:00Z"}
    account.cloud._endpoints.routes.clear()
    account.cloud.on_request("GET", "/cloud/v1/tasks", json={"count": 1, "results": [row]})
    assert account.run("-o", "text").out.splitlines()[1] == "a   create_vm  NEW    0s   usually 15s to 30s"


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        (["--state", "error", "--type", "x"], {}, "no task found (ERROR, type x)"),
        (
            [],
            {"GCORE_CLOUD_PROJECT_ID": "9", "GCORE_CLOUD_REGION_ID": "8"},
            "no task found (NEW or RUNNING, project 9, region 8)",
        ),
        (["--all", "--project=9"], {"GCORE_CLOUD_PROJECT_ID": "1"}, "no task found (project 9)"),
    ],
)
def test_no_task_is_a_success(account: Account, argv: list[str], env: dict[str, str], message: str) -> None:
    """Standard error says what was asked for."""
    ran = account.run(*argv, **env)
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"tasks": [], "created_resources": {}}, f"waiter: {message}\n")
    assert account.run(*argv, "-o", "text", **env).out == ""


def test_errors_have_the_usual_exit_codes(account: Account) -> None:
    """A listing is requested once."""
    ran = account.run(GCORE_CLOUD_PROJECT_ID="five")
    assert ran == (2, "", "waiter: GCORE_CLOUD_PROJECT_ID must be a number, not 'five'\n")
    account.cloud.fault(status(503))
    ran = account.run(GCORE_CLOUD_PROJECT_ID="")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith("waiter: the API returned 503")
    assert account.run(GCORE_API_KEY="wrong").code == 3


def test_longer_list_is_cut_with_a_warning(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest tasks are shown."""
    monkeypatch.setattr(command, "DEFAULT_LIMIT", 2)
    ran = account.run("-o", "ids")
    assert ran.out == f"{VM}\n{DISK}\n"
    assert ran.err == "waiter: only the newest 2 tasks are listed: use --state, --project, --region or --type\n"


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_table_fits_the_terminal(account: Account, terminal: Callable[..., Terminal], columns: int) -> None:
    """No line wraps, and every ID is whole."""
    code, screen = terminal("list", env=account.env, columns=columns).finish()
    assert code == 0
    assert [task_id for task_id in (VM, DISK, CLUSTER) if any(task_id in line for line in screen)] == [VM, DISK, CLUSTER]
    assert len(screen) == (6 if columns <= 80 else 4)


def test_listed_task_can_be_finished_by_the_time_it_is_shown(account: Account) -> None:
    """The table is as the API saw the tasks."""
    account.cloud.add(finishes(0), task_id="done")
    assert "done" not in account.run("-o", "ids").out


@pytest.mark.parametrize("option", ["--interval", "--max-outage"])
def test_option_of_the_watch_alone_is_refused(run: Run, option: str) -> None:
    """Without --watch it would have no effect; in the environment it may be meant for another command."""
    for argv in ([option, "5"], [f"{option}=5"]):
        ran = run("list", *argv)
        told = f"waiter list: {option} goes with --watch: without it, the tasks are listed once"
        assert (ran.code, ran.out, ran.err.splitlines()[0]) == (2, "", told)
    assert run("list", env={"WAITER_INTERVAL": "5", "WAITER_MAX_OUTAGE": "5"}).code == 0
