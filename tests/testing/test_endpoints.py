"""The endpoints, and the errors that they respond with."""

from __future__ import annotations

from typing import Any

import pytest

from waiter.testing import SimulatedCloud, finishes, never_ends

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
    assert reply.headers.get("Allow") == ("GET" if status == 405 else None)
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
