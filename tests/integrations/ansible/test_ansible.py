"""The collection for Ansible, as ansible-core runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waiter.testing import SimulatedServer, ended, fails, finishes, never_ends, resources_fail

EXAMPLES = Path(__file__).parents[3] / "examples/ansible"
MODULE = "gcore.waiter.gcore_wait"


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of Ansible in the folder of the example."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"PATH": path, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false"}
    tool = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    return subprocess.run(tool, cwd=EXAMPLES, env=os.environ | settings | environ, capture_output=True, text=True, check=False)


def wait(*task_ids: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run the module alone, and return its result with whether it failed."""
    given = json.dumps({"task_ids": task_ids, **arguments})
    command = ["ansible", "localhost", "-m", MODULE, "-a", given, "-e", f"ansible_python_interpreter={sys.executable}"]
    ran = run(*command, *(["--check"] if check else []))
    found = re.search(r"^localhost \| (SUCCESS|FAILED!) => ({.*?^})", ran.stdout, re.DOTALL | re.MULTILINE)
    assert found, ran.stdout + ran.stderr
    return {"failed": found[1] != "SUCCESS", **json.loads(found[2])}


def test_result_is_what_the_tasks_created(gcore_server: SimulatedServer) -> None:
    """It is the same when it runs again, and nothing is changed."""
    ids = [gcore_server.cloud.add(finishes(1, {"instances": ["i-1"]})), gcore_server.cloud.add(ended({"volumes": ["v-1"]}))]
    first, again = wait(*ids), wait(*ids)
    assert first["created_resources"] == {"instances": ["i-1"], "volumes": ["v-1"]}
    assert [(task["id"], task["state"]) for task in first["tasks"]] == [(task_id, "FINISHED") for task_id in ids]
    assert first == again
    assert not first["changed"]
    assert gcore_server.cloud.api_key not in json.dumps(first)


def test_failure_names_what_was_created(gcore_server: SimulatedServer) -> None:
    """By all tasks, so that it can be deleted."""
    good = gcore_server.cloud.add(finishes(0, {"instances": ["i-1"]}))
    bad = gcore_server.cloud.add(fails(0, "No valid host was found", {"volumes": ["v-1"]}))
    result = wait(good, bad)
    assert result["failed"]
    assert "No valid host was found" in result["msg"]
    assert result["created_resources"] == {"instances": ["i-1"], "volumes": ["v-1"]}


def test_resource_that_fails_after_its_task_is_a_failure(gcore_server: SimulatedServer) -> None:
    """With ready, the module waits for what the tasks created, too."""
    task_id = gcore_server.cloud.add(resources_fail(0, finishes(0, {"images": ["m-1"]})))
    assert not wait(task_id)["failed"]
    result = wait(task_id, ready=True)
    assert (result["failed"], "images m-1 failed" in result["msg"]) == (True, True)
    assert result["created_resources"] == {"images": ["m-1"]}


def test_check_mode_polls_once(gcore_server: SimulatedServer) -> None:
    """It does not wait."""
    result = wait(gcore_server.cloud.add(never_ends()), check=True)
    assert (result["tasks"][0]["state"], result["changed"]) == ("RUNNING", False)
    assert len(gcore_server.cloud.requests) == 1


def test_time_out_is_a_failure(gcore_server: SimulatedServer) -> None:
    """The message says how to resume."""
    result = wait(gcore_server.cloud.add(never_ends()), timeout=0)
    assert result["failed"]
    assert "not ended after" in result["msg"]


def test_bad_id_is_a_failure(gcore_server: SimulatedServer) -> None:
    """No request is sent for it."""
    assert "not a task ID" in wait("a/b")["msg"]
    assert gcore_server.cloud.requests == []


def playbook(server: SimulatedServer) -> subprocess.CompletedProcess[str]:
    assert server.cloud.requests == []
    variables = f"project=1 region=7 ansible_python_interpreter={sys.executable}"
    return run("ansible-playbook", "deploy.yml", "-e", variables)


def test_playbook_creates_an_instance(gcore_server: SimulatedServer) -> None:
    """The example, as it stands."""
    gcore_server.cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(1, {"instances": ["i-1"]}))
    ran = playbook(gcore_server)
    assert "created i-1" in ran.stdout
    assert ran.returncode == 0


def test_playbook_rescues_a_failure(gcore_server: SimulatedServer) -> None:
    """The resources that are left are at hand in the rescue."""
    gcore_server.cloud.on_request("POST", "/cloud/v2/instances/*/*", fails(1, "boom", {"volumes": ["v-1"]}))
    ran = playbook(gcore_server)
    assert "to delete: " in ran.stdout
    assert "v-1" in ran.stdout
    assert ran.returncode != 0


def test_documentation_can_be_read() -> None:
    """By ``ansible-doc``, with every option that the module takes."""
    text = run("ansible-doc", MODULE).stdout
    assert "Waits until tasks have ended" in text
    document = json.loads(run("ansible-doc", "--json", MODULE).stdout)[MODULE]
    assert set(document["doc"]["options"]) == {"task_ids", "api_key", "base_url", "timeout", "max_outage", "ready"}
    assert set(document["return"]) == {"created_resources", "tasks"}


@pytest.mark.parametrize("target", [["deploy.yml"], ["ansible_collections/gcore/waiter"]])
def test_lint_finds_nothing(target: list[str]) -> None:
    """With the strictest profile."""
    ran = run("ansible-lint", "--offline", "--strict", "--profile", "production", *target)
    assert ran.returncode == 0, ran.stdout + ran.stderr
