"""All responses of the simulation against the public API description, with openapi-core.

The description has no response but 200, allows additional fields, and requires few of those that
it names: what the validator does not check is compared here. The validator also accepts any word
as a boolean of the query.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from werkzeug.datastructures import ImmutableMultiDict

from waiter.testing import (
    Fault,
    Phase,
    Script,
    SimulatedCloud,
    ended,
    fails,
    finishes,
    never_ends,
    says,
    truncated,
    vanishes,
    wrong_types,
)
from waiter.testing.listing import PARAMETERS
from waiter.testing.script import INTEGER_KINDS, KINDS

TASKS = "/cloud/v1/tasks"
DESCRIPTION = msgspec.json.decode((Path(__file__).parent.parent / "api" / "tasks.openapi.json").read_bytes())
SCHEMAS = DESCRIPTION["components"]["schemas"]
API = OpenAPI.from_dict(DESCRIPTION)


def check(cloud: SimulatedCloud, target: str) -> Any:
    """Send a request, validate it and its response, and return the body decoded."""
    response = cloud.respond("GET", target, {"authorization": f"apikey {cloud.api_key}"})
    path, _, query = target.partition("?")
    request = MockRequest("https://api.gcore.com", "get", path, headers={"Authorization": f"apikey {cloud.api_key}"})
    request.parameters.query = ImmutableMultiDict(parse_qsl(query))
    mock_response = MockResponse(response.body, response.status, response.headers, "application/json")
    API.validate_request(request)
    API.validate_response(request, mock_response)
    return msgspec.json.decode(response.body)


@pytest.fixture
def full(make_cloud: Any) -> SimulatedCloud:
    """Return a cloud with a task of every scenario."""
    cloud: SimulatedCloud = make_cloud()
    cloud.add(finishes(5, dict.fromkeys(KINDS, 2)), task_id="all")
    cloud.add(ended({"instances": 1}, all_kinds=True), task_id="empty")
    cloud.add(ended(), task_id="null")
    cloud.add(fails(5, resources={"volumes": 1}), task_id="fails")
    cloud.add(never_ends(fields={"data": {"name": "vm"}, "acknowledged_by": 5}), task_id="never")
    cloud.add(vanishes(9), task_id="vanishes")
    cloud.add_past("create_vm", [19, 25], errors=[1])
    return cloud


def test_task_is_as_described(full: SimulatedCloud) -> None:
    """A task of every scenario is as described before and after its end, and has every field of the description."""
    for _ in range(2):
        for task_id in ("all", "empty", "null", "fails", "never", "vanishes"):
            assert list(SCHEMAS["TaskSerializer"]["properties"]) == list(check(full, f"{TASKS}/{task_id}"))
        full.sleep(5)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?limit=1000&offset=1&order_by=asc",
        "?state=NEW&state=RUNNING&task_type=create_vm&is_acknowledged=false",
        "?project_id=1&project_id=2&region_id=1&sorting=desc",
        "?from_timestamp=2026-07-01T13:37:14Z&to_timestamp=2026-07-01T13:37:14%2B00:00",
    ],
)
def test_listing_is_as_described(full: SimulatedCloud, query: str) -> None:
    """Every parameter is as described, and so is every listing, empty or not."""
    full.sleep(5)
    assert {"count", "results"} == set(check(full, f"{TASKS}{query}"))


def test_kinds_are_those_of_the_description() -> None:
    """The kinds of resources are those of the description, and so are the types of their IDs."""
    described = SCHEMAS["CreatedResources"]["properties"]
    assert tuple(described) == KINDS
    assert tuple(kind for kind in described if described[kind]["items"]["type"] == "integer") == INTEGER_KINDS


def test_parameters_are_those_of_the_description(full: SimulatedCloud) -> None:
    """The listing knows every parameter of the description, and no other."""
    names = {parameter["name"] for parameter in DESCRIPTION["paths"][TASKS]["get"]["parameters"]}
    assert set(PARAMETERS) == names
    check(full, f"{TASKS}?colour=red")
    assert full.problems()[0] == f"unexpected request: GET {TASKS}?colour=red: unknown parameters colour"


@pytest.mark.parametrize(
    "fault", [truncated(), wrong_types(), says([]), says({"id": "all"}), says({"count": -1, "results": []})]
)
@pytest.mark.parametrize("target", [f"{TASKS}/all", TASKS])
def test_validator_finds_wrong_responses(full: SimulatedCloud, fault: Fault, target: str) -> None:
    """A response that is not as described is found, so that the tests above can fail."""
    full.fault(fault)
    with pytest.raises((OpenAPIError, msgspec.DecodeError)):
        check(full, target)


@pytest.mark.parametrize(
    "query",
    [
        "limit=1001",
        "limit=0",
        "limit=x",
        "offset=-1",
        "state=ENDED",
        "order_by=up",
        "project_id=x",
        "to_timestamp=now",
    ],
)
def test_simulation_and_validator_reject_the_same_requests(full: SimulatedCloud, query: str) -> None:
    """A request that the validator rejects gets a 400 from the simulation."""
    with pytest.raises(OpenAPIError):
        check(full, f"{TASKS}?{query}")
    assert [request.status for request in full.requests] == [400]


phases = st.builds(
    Phase,
    state=st.sampled_from(SCHEMAS["TaskState"]["enum"]),
    seconds=st.floats(0, 1e4),
    detailed_state=st.none() | st.sampled_from(SCHEMAS["TaskDetailedStateEnum"]["enum"]),
)
scripts = st.builds(
    Script,
    phases=st.lists(phases, min_size=1, max_size=4).map(tuple),
    task_type=st.sampled_from(["create_vm", "delete_volume"]),
    created_resources=st.none() | st.dictionaries(st.sampled_from(KINDS), st.integers(0, 2)),
    all_kinds=st.booleans(),
    error=st.none() | st.text(),
    project_id=st.integers(),
    age=st.floats(0, 1e5),
)


@given(
    script=scripts,
    seconds=st.floats(0, 1e5),
    speed=st.floats(0.1, 1e3),
    skew=st.floats(-1e5, 1e5),
    notation=st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f"]),
)
def test_any_script_is_as_described(script: Script, seconds: float, speed: float, skew: float, notation: str) -> None:
    """At any time, a task of any script is as described, and the same in a listing."""
    cloud = SimulatedCloud.virtual(speed=speed, skew=skew, notation=notation)
    cloud.add(script, task_id="t")
    cloud.sleep(seconds)
    assert [check(cloud, f"{TASKS}/t")] == check(cloud, TASKS)["results"]
