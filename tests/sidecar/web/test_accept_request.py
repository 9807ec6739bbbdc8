"""The body of a request for waits: its forms, and the members that are refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from waiter.console.result_json import result_json
from waiter.sidecar.model import RequestLimits
from waiter.sidecar.web.accept_request import read_accept_request
from waiter.sidecar.web.access_control import RequestRefusedError


def error_of(content: Any) -> str:
    with pytest.raises(RequestRefusedError) as caught:
        read_accept_request(msgspec.json.encode(content))
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"tasks": ["a"], "results": [], "x": 1}, "'results', 'x'"),
        ({"results": ["a"], "timeout": 5, "next": None}, "'next', 'timeout'"),
        ({"task_id": "a", "timeout": 5, "x": 1}, "'timeout', 'x'"),
        ({"id": "v", "task_id": "a", "timeout": 5, "size": 1}, "'timeout'"),
        ({"id": "a", "state": "NEW", "x": 1}, "'x'"),
        ({"id": "a", "state": "NEW", "task_type": "create_vm", "ready": True, "x": 1}, "'ready'"),
        (["b", {"task_id": "a", "x": 1}], "'x'"),
        ({"tasks": [{"id": "a", "state": "NEW", "webhook": "https://a.example"}]}, "'webhook'"),
        ({"results": [{"tasks": ["a"]}]}, "'tasks'"),
    ],
    ids=repr,
)
def test_unknown_members_are_refused_by_name(content: Any, names: str) -> None:
    """Beside each member that names tasks; those of a task or a resource of the API are not examined."""
    assert error_of(content) == f"unknown member: {names}"


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (result_json([{"id": "a", "state": "RUNNING"}, {"id": "b"}]), ["a", "b"]),
        ({"count": 1, "results": [{"id": "a", "state": "NEW", "task_type": "create_vm", "data": {}}]}, ["a"]),
        ({"instance_id": "i", "flavor": {}, "task_id": "a"}, ["a"]),
        ([{"id": "i", "task_id": None}, {"cluster_id": "c", "task_id": "a"}, {"task_id": "b"}], ["a", "b"]),
    ],
    ids=["output of waiter", "listing", "resource", "resources"],
)
def test_output_of_waiter_and_of_the_api_is_accepted(content: Any, ids: list[str]) -> None:
    """With all of its members."""
    assert read_accept_request(msgspec.json.encode(content)) == (ids, RequestLimits())
