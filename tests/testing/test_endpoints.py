"""The endpoints, and the errors that they respond with."""

from __future__ import annotations

import re
from typing import Any

import pytest

from waiter.testing import SimulatedCloud, ended, finishes, never_ends, status

ID = "26986bc0-748a-4448-b836-0a2aa465eb06"
TASKS = "/cloud/v1/tasks"


@pytest.mark.parametrize(
    ("method", "target", "key", "status", "message", "expected"),
    [
        ("GET", ID, "apikey wrong$one", 401, "Bad permanent token: wrong$one", True),
        ("GET", ID, "", 401, "Authentication credentials were not provided", False),
        ("GET", ID, "APIKey", 401, "Authentication credentials were not provided", False),
        ("GET", ID, "Bearer simulated$key", 401, "Authentication credentials were not provided", False),
        ("GET", "unknown", None, 404, "Task unknown was not found", False),
        ("GET", "/cloud/v2/tasks", None, 404, "no such path", False),
        ("GET", f"{TASKS}/", None, 404, "no such path", False),
        ("POST", ID, None, 405, "method POST is not allowed", False),
        ("DELETE", TASKS, None, 405, "method DELETE is not allowed", False),
        ("POST", "unknown/acknowledge", None, 404, "Task unknown was not found", False),
        ("GET", f"{ID}/acknowledge", None, 405, "method GET is not allowed", False),
        ("GET", f"{TASKS}/acknowledge_all", None, 405, "method GET is not allowed", False),
    ],
)
def test_wrong_request_gets_an_error(  # noqa: PLR0913, PLR0917 - a table
    cloud: SimulatedCloud, send: Any, method: str, target: str, key: str | None, status: int, message: str, *, expected: bool
) -> None:
    """A wrong request gets an error response, and may be unexpected."""
    cloud.add(never_ends(), task_id=ID, watched=False)
    reply = send(cloud, target, method, key)
    assert (status, message) == (reply.status, reply.json["message"])
    assert {"exception_class", "message", "request_id"} == set(reply.json)
    assert reply.headers.get("Allow") == (None if status != 405 else "POST" if "acknowledge" in target else "GET")
    path = target if target.startswith("/") else f"{TASKS}/{target}"
    assert cloud.problems() == ([] if expected else [f"unexpected request: {method} {path}: {message}"])


@pytest.mark.parametrize("scheme", ["apikey", "APIKey", "APIKEY"])
def test_authentication_scheme_ignores_case(cloud: SimulatedCloud, send: Any, scheme: str) -> None:
    """The name of an authentication scheme is case-insensitive."""
    assert send(cloud, cloud.add(never_ends()), key=f"{scheme} simulated$key").status == 200


def test_request_starts_tasks(cloud: SimulatedCloud, send: Any, poll_at: Any) -> None:
    """A route that starts tasks responds with the IDs of new tasks, different ones each time."""
    cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(5, {"instances": 1}), finishes(5))
    first = send(cloud, "/cloud/v2/instances/1/1", "POST").json["tasks"]
    second = send(cloud, "/cloud/v2/instances/1/1", "POST").json["tasks"]
    assert len({*first, *second}) == 4
    for task_id in (*first, *second):
        assert poll_at(cloud, task_id, 0) == ["RUNNING"]
    cloud.sleep(5)
    made = [send(cloud, task_id).json["created_resources"] for task_id in (*first, *second)]
    assert made[0] != made[2]
    assert [made[1], made[3]] == [None, None]
    cloud.verify()


@pytest.mark.parametrize(
    ("path", "fields", "place"),
    [
        ("/cloud/v2/instances/7/76", {}, (7, 76)),
        ("/cloud/v1/volumes/7/76/v-1/extend", {}, (7, 76)),
        ("/cloud/v2/instances/7/76", {"project_id": 5, "region_id": 6}, (5, 6)),
        ("/cloud/v1/projects/7", {}, (1, 1)),
    ],
)
def test_started_task_belongs_to_the_project_and_region_of_the_request(
    cloud: SimulatedCloud, send: Any, path: str, fields: dict[str, Any], place: tuple[int, int]
) -> None:
    """Unless its script names others, so what it creates is found at the usual path."""
    cloud.on_request("POST", path, finishes(0, {"volumes": ["v"]}, **fields))
    task = send(cloud, send(cloud, path, "POST").json["tasks"][0]).json
    assert (task["project_id"], task["region_id"]) == place
    assert send(cloud, f"/cloud/v1/volumes/{place[0]}/{place[1]}/v").status == 200


def test_task_is_acknowledged(cloud: SimulatedCloud, send: Any, poll_at: Any) -> None:
    """A request acknowledges one task, and the response is the task; a fault of its polls does not apply."""
    task_id, other = cloud.add(finishes(5)), cloud.add(ended())
    cloud.fault(status(503), on="task")
    cloud.sleep(2)
    reply = send(cloud, f"{task_id}/acknowledge", "POST")
    assert (reply.status, reply.json["id"], reply.json["state"]) == (200, task_id, "RUNNING")
    assert (reply.json["acknowledged_at"], reply.json["acknowledged_by"]) == ("2026-07-01T13:37:16", 1)
    assert poll_at(cloud, task_id, 3, 6) == [503, "FINISHED"]
    assert send(cloud, task_id).json["acknowledged_at"] == "2026-07-01T13:37:16"
    assert send(cloud, other).json["acknowledged_at"] is None
    assert [request.task_id for request in cloud.requests[:2]] == [task_id, task_id]
    cloud.verify()


def test_all_tasks_are_acknowledged(cloud: SimulatedCloud, send: Any) -> None:
    """A request acknowledges all tasks, or those of a project and region; the response has no body."""
    places = {"a": (1, 1), "b": (1, 2), "c": (2, 2)}
    for name, (project, region) in places.items():
        cloud.add(ended(project_id=project, region_id=region), task_id=name)
    raw = cloud.respond("POST", f"{TASKS}/acknowledge_all?project_id=1&region_id=2", {"authorization": "apikey simulated$key"})
    assert (raw.status, raw.body) == (204, b"")
    cloud.sleep(60)
    cloud.respond("POST", f"{TASKS}/acknowledge_all?project_id=1", {"authorization": "apikey simulated$key"})
    times = [send(cloud, name).json["acknowledged_at"] for name in places]
    assert times == ["2026-07-01T13:38:14", "2026-07-01T13:37:14", None]


@pytest.mark.parametrize("target", [f"{TASKS}/acknowledge_all?state=NEW", f"{TASKS}/t/acknowledge?force=yes"])
def test_unknown_parameters_of_acknowledge_are_unexpected(cloud: SimulatedCloud, target: str) -> None:
    """A parameter that the API does not have is unexpected, and the rest of the request is done."""
    cloud.add(never_ends(), task_id="t")
    status = cloud.respond("POST", target, {"authorization": "apikey simulated$key"}).status
    assert status in {200, 204}
    assert len([problem for problem in cloud.problems() if "unknown parameters" in problem]) == 1


def test_route_responds_with_filled_in_json(cloud: SimulatedCloud, send: Any) -> None:
    """Placeholders become the started tasks, what they create, and the segments of the path."""
    cloud.on_request(
        "POST",
        "/cloud/v2/instances/{project}/{region}",
        finishes(5, {"instances": ["i-1"], "volumes": ["v-1", "v-2"]}),
        json={
            "tasks": "{tasks}",
            "first": "{tasks[0]}",
            "ids": ["{instances[0]}", "{volumes}"],
            "in": "p{project}/{region}",
            "n": 1,
        },
        status=201,
    )
    reply = send(cloud, "/cloud/v2/instances/7/8", "POST")
    task_id = reply.json["first"]
    assert (201, {"tasks": [task_id], "first": task_id, "ids": ["i-1", ["v-1", "v-2"]], "in": "p7/8", "n": 1}) == (
        reply.status,
        reply.json,
    )


def test_route_without_tasks_knows_all_created_ids(cloud: SimulatedCloud, send: Any) -> None:
    """A route that starts no task responds with the IDs that all tasks have created so far."""
    cloud.on_request("GET", "/servers", json={"results": "{instances}", "last": "{instances[1]}"})
    cloud.on_request("GET", "/all", json=["{instances}", "{caas_containers}"])
    cloud.add(finishes(5, {"instances": ["i-1"]}), watched=False)
    cloud.add(finishes(9, {"instances": ["i-2"]}), watched=False)
    shown = []
    for _ in range(3):
        shown.append((send(cloud, "/all").json, send(cloud, "/servers").status))
        cloud.sleep(5)
    assert shown == [([[], []], 404), ([["i-1"], []], 404), ([["i-1", "i-2"], []], 200)]
    assert send(cloud, "/servers").json == {"results": ["i-1", "i-2"], "last": "i-2"}
    cloud.verify()


def test_route_may_send_no_body(cloud: SimulatedCloud) -> None:
    """With json=None the response has no body."""
    cloud.on_request("DELETE", "/cloud/v1/keypairs/*", json=None, status=204)
    response = cloud.respond("DELETE", "/cloud/v1/keypairs/k", {"authorization": "apikey simulated$key"})
    assert (response.status, response.body) == (204, b"")


@pytest.mark.parametrize(
    ("json", "status", "message"),
    [
        ({"id": "{server}"}, 200, "GET /x/{id}: unknown placeholder server"),
        (["{instances[0]}", {"a": "{b} {c}"}], 200, "GET /x/{id}: unknown placeholder b, c"),
        ({"id": "{"}, 200, "Single '{' encountered in format string"),
        ({"id": "{id}"}, 799, "799 is not a valid HTTPStatus"),
    ],
)
def test_impossible_route_raises(cloud: SimulatedCloud, json: object, status: int, message: str) -> None:
    """A route that could not respond is refused when it is made."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cloud.on_request("GET", "/x/{id}", json=json, status=status)
