"""The fields of a simulated task, and how they change over its phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from waiter.testing import Phase, Request, Script, SimulatedCloud, ended, fails, finishes, never_ends

ID = "26986bc0-748a-4448-b836-0a2aa465eb06"
TASKS = "/cloud/v1/tasks"


def test_ended_task_shows_every_field(cloud: SimulatedCloud, send: Any) -> None:
    """A task that ended shows every field of the API description, and the header Date is the server's time."""
    cloud.add(finishes(19, {"instances": ["i-1"]}, project_id=7, region_id=8), task_id=ID)
    cloud.sleep(20.5)
    reply = send(cloud, ID)
    request_id = reply.json.pop("request_id")
    assert reply.json == {
        "acknowledged_at": None,
        "acknowledged_by": None,
        "client_id": 1,
        "created_on": "2026-07-01T13:37:14",
        "created_resources": {"instances": ["i-1"]},
        "data": None,
        "detailed_state": None,
        "error": None,
        "finished_on": "2026-07-01T13:37:33",
        "id": ID,
        "job_id": None,
        "lifecycle_policy_id": None,
        "project_id": 7,
        "region_id": 8,
        "schedule_id": None,
        "state": "FINISHED",
        "task_type": "create_vm",
        "updated_on": "2026-07-01T13:37:33",
        "user_client_id": 1,
        "user_id": 1,
    }
    assert len(request_id) == 36
    assert reply.headers == {"Content-Type": "application/json", "Date": "Wed, 01 Jul 2026 13:37:34 GMT"}
    assert cloud.requests == [Request(20.5, "GET", f"{TASKS}/{ID}", ID, 200)]
    cloud.verify()


def test_phases_follow_each_other(cloud: SimulatedCloud, send: Any) -> None:
    """Each phase lasts its seconds; resources and finished_on are null before the end."""
    phases = (Phase("NEW", 1), Phase("RUNNING", 2, "NETWORK"), Phase("RUNNING", 2, "POST_DEPLOY_SETUP"), Phase("FINISHED"))
    task_id = cloud.add(Script(phases=phases, created_resources={"clusters": ["c"]}))
    shown = []
    for _ in range(6):
        fields = send(cloud, task_id).json
        names = ("state", "detailed_state", "updated_on", "finished_on", "created_resources")
        shown.append(tuple(fields[name] for name in names))
        cloud.sleep(1)
    assert shown == [
        ("NEW", None, None, None, None),
        ("RUNNING", "NETWORK", "2026-07-01T13:37:15", None, None),
        ("RUNNING", "NETWORK", "2026-07-01T13:37:15", None, None),
        ("RUNNING", "POST_DEPLOY_SETUP", "2026-07-01T13:37:17", None, None),
        ("RUNNING", "POST_DEPLOY_SETUP", "2026-07-01T13:37:17", None, None),
        ("FINISHED", None, "2026-07-01T13:37:19", "2026-07-01T13:37:19", {"clusters": ["c"]}),
    ]


def test_failed_task_shows_its_resources(cloud: SimulatedCloud, send: Any) -> None:
    """A failed task shows its error, and what it created before."""
    task_id = cloud.add(fails(5, "Quota exceeded", {"volumes": ["v"]}))
    cloud.sleep(5)
    fields = send(cloud, task_id).json
    assert (fields["state"], fields["error"], fields["created_resources"]) == ("ERROR", "Quota exceeded", {"volumes": ["v"]})


def test_numbers_of_resources_become_ids(cloud: SimulatedCloud, send: Any) -> None:
    """A number becomes as many IDs of the type of its kind; with all_kinds, the other kinds are empty lists."""
    task_id = cloud.add(ended({"instances": 2, "ddos_profiles": 1, "projects": [5]}, all_kinds=True))
    resources = send(cloud, task_id).json["created_resources"]
    given = {kind: ids for kind, ids in resources.items() if ids}
    assert [("ddos_profiles", [int]), ("instances", [str, str]), ("projects", [int])] == [
        (kind, [type(one) for one in ids]) for kind, ids in given.items()
    ]
    assert (len(resources), sum(ids == [] for ids in resources.values())) == (36, 33)


def test_scripted_fields_replace_the_usual_ones(cloud: SimulatedCloud, send: Any) -> None:
    """A script replaces, adds and removes fields of the response."""
    fields = {"data": {"name": "vm"}, "novel": 1, "created_on": None, "job_id": msgspec.UNSET}
    shown = send(cloud, cloud.add(ended(fields=fields))).json
    assert (shown["data"], shown["novel"], shown["created_on"], "job_id" in shown) == ({"name": "vm"}, 1, None, False)


def test_same_seed_generates_the_same_ids(make_cloud: Callable[..., SimulatedCloud]) -> None:
    """The same seed generates the same IDs, another seed other IDs."""
    first, again, other = (make_cloud(seed=seed).add(never_ends()) for seed in (1, 1, 2))
    assert first == again != other


def test_task_starts_with_the_first_poll(cloud: SimulatedCloud, send: Any, poll_at: Any) -> None:
    """A task with starts_when_seen is in no listing before its first poll, and its age counts from then."""
    task_id = cloud.add(finishes(5, starts_when_seen=True))
    cloud.sleep(60)
    assert send(cloud, TASKS).json == {"count": 0, "results": []}
    assert poll_at(cloud, task_id, 61, 66) == ["RUNNING", "FINISHED"]
    assert send(cloud, TASKS).json["results"][0]["created_on"] == "2026-07-01T13:38:15"
