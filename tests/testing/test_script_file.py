"""A cloud made from a mapping: every part, and every error."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

import waiter.testing
from waiter.testing import SimulatedCloud, VirtualClock, cloud_from_script
from waiter.testing.script_file import schema

TASKS = "/cloud/v1/tasks"

SCRIPT = """
api_key = "file$key"
speed = 2

[[tasks]]
id = "vm"
phases = [{ state = "NEW", seconds = 2 }, { state = "RUNNING", seconds = 4 }, { state = "FINISHED" }]
created_resources = { instances = ["i"], volumes = 1 }

[[tasks]]
task_type = "create_bm"
phases = [{ state = "RUNNING", seconds = inf, detailed_state = "NETWORK" }]

[[past]]
task_type = "create_vm"
durations = [19, 25]
errors = [1]

[[requests]]
path = "/cloud/v1/volumes/*/*"
tasks = [{ phases = [{ state = "FINISHED" }], task_type = "create_volume" }]

[[faults]]
fault = "status"
options = { code = 503, retry_after = "2" }
times = 2
task = "vm"

[[faults]]
fault = "html"
start = 10
seconds = 4
on = "listing"

[[faults]]
fault = "reset"
start = 100
"""


@pytest.fixture
def scripted() -> SimulatedCloud:
    clock = VirtualClock()
    return cloud_from_script(tomllib.loads(SCRIPT), clock=clock, sleep=clock.sleep)


def test_all_parts_are_applied(scripted: SimulatedCloud, send: Any) -> None:
    """A file with every part does what the methods of the same names do."""
    states = []
    for _ in range(5):
        reply = send(scripted, "vm")
        states.append(reply.json.get("state", reply.status))
        scripted.sleep(1)
    assert states == [503, 503, "RUNNING", "FINISHED", "FINISHED"]
    assert scripted.api_key == "file$key"
    assert [_listed_after(scripted, seconds) for seconds in (0, 1, 1)] == [502, 502, 200]
    started = send(scripted, "/cloud/v1/volumes/1/1", "POST").json["tasks"]
    page = send(scripted, f"{TASKS}?limit=100").json["results"]
    assert started == [page[0]["id"]]
    assert {("create_volume", "FINISHED"), ("create_vm", "FINISHED"), ("create_vm", "ERROR"), ("create_bm", "RUNNING")} == {
        (task["task_type"], task["state"]) for task in page
    }
    scripted.sleep(50)
    assert None is scripted.respond("GET", TASKS, {"authorization": "apikey file$key"}).sent_status


def _listed_after(cloud: SimulatedCloud, seconds: float) -> int:
    cloud.sleep(seconds)
    answer = cloud.respond("GET", TASKS, {"authorization": f"apikey {cloud.api_key}"})
    return answer.status


def test_options_override_the_file() -> None:
    """JSON may have whole numbers of seconds, and options of the caller override those of the file."""
    script = json.loads('{"speed": 3, "latency": 1, "tasks": [{"phases": [{"state": "RUNNING"}]}]}')
    cloud = cloud_from_script(script, speed=10.0, api_key="mine$key")
    assert (cloud.api_key, cloud.speed, cloud.latency) == ("mine$key", 10.0, 1)


def test_empty_file_is_an_empty_cloud() -> None:
    """A file without content is a cloud without tasks."""
    assert cloud_from_script({}).problems() == []


def test_one_error_names_all_problems() -> None:
    """One error names the problems of all parts."""
    script = {
        "speed": 0,
        "tasks": [
            {"id": "a", "phases": []},
            {"id": "b", "phases": [{"state": "NEW"}]},
            {"id": "b", "phases": [{"state": "NEW"}]},
        ],
        "past": {"task_type": "create_vm"},
        "requests": [{"tasks": []}],
        "faults": [
            {"fault": "flood"},
            {"fault": "status", "options": {"code": 799}},
            {"fault": "status", "options": {"colour": "red"}},
            {"fault": "reset", "task": "c"},
            {"fault": "reset", "often": 3},
        ],
    }
    with pytest.raises(ValueError, match="options") as caught:
        cloud_from_script(script)
    names = "status, html, empty, redirect, says, truncated, wrong_types, other_task, hang, reset, refuse, half_body, drip"
    assert str(caught.value).splitlines() == [
        "options: Expected `float` > 0.0 - at `$.speed`",
        "tasks[0]: a script needs a phase",
        "past: not a list",
        "requests[0]: Object missing required field `path`",
        f"faults[0]: 'flood' is none of {names}",
        "faults[1]: 799 is not a valid HTTPStatus",
        "faults[2]: status() got an unexpected keyword argument 'colour'",
        "faults[4]: Object contains unknown field `often`",
        "tasks: duplicate ID b",
        "faults: there is no task c",
    ]


def test_outage_may_end_after_a_number_of_requests(send: Any) -> None:
    """An outage of a file has `times` as that of a cloud has; a route has JSON of its own."""
    clock = VirtualClock()
    file = {
        "all_kinds": True,
        "faults": [{"fault": "status", "options": {"code": 503}, "start": 5, "times": 2}],
        "requests": [{"path": "/x/{id}", "method": "GET", "json": {"id": "{id}"}, "status": 203}],
    }
    cloud = cloud_from_script(file, clock=clock, sleep=clock.sleep)
    statuses = []
    for _ in range(4):
        statuses.append(send(cloud, "/x/1").status)
        cloud.sleep(5)
    assert statuses == [203, 503, 503, 203]
    assert send(cloud, "/x/1").json == {"id": "1"}


SHIPPED = Path(waiter.testing.__file__).with_name("simulation.schema.json")


def test_shipped_schema_is_the_one_of_the_parser() -> None:
    """The schema in the package is what the parser's own types say."""
    assert json.loads(SHIPPED.read_text()) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())


TASK = {"phases": [{"state": "RUNNING"}]}


@pytest.mark.parametrize(
    ("file", "valid"),
    [
        (tomllib.loads(SCRIPT), True),
        ({}, True),
        ({"$schema": "./simulation.schema.json", "speed": 2.5, "all_kinds": True, "notation": "%Y"}, True),
        ({"tasks": [{**TASK, "id": "a", "created_resources": {"instances": 2, "volumes": ["v", 3]}}]}, True),
        ({"requests": [{"path": "/x", "json": {"id": 1}, "status": 200, "method": "GET"}]}, True),
        ({"requests": [{"path": "/x", "tasks": [TASK]}]}, True),
        ({"faults": [{"fault": "hang"}, {"fault": "drip", "options": {"part": "body"}, "on": "task"}]}, True),
        ({"speed": 0}, False),
        ({"fault_rate": 2}, False),
        ({"colour": "red"}, False),
        ({"seed": "x"}, False),
        ({"tasks": {}}, False),
        ({"tasks": [{"id": "a"}]}, False),
        ({"tasks": [{"phases": []}]}, False),
        ({"tasks": [{"phases": [{"state": "NEW", "seconds": -1}]}]}, False),
        ({"tasks": [{"phases": [{"state": "NEW", "second": 1}]}]}, False),
        ({"tasks": [{**TASK, "created_resources": {"instances": "i"}}]}, False),
        ({"past": [{"task_type": "create_vm"}]}, False),
        ({"requests": [{"tasks": []}]}, False),
        ({"requests": [{"path": "/x", "tasks": [{"id": "a", **TASK}]}]}, False),
        ({"faults": [{"fault": "flood"}]}, False),
        ({"faults": [{"fault": "status"}]}, False),
        ({"faults": [{"fault": "status", "options": {"colour": 1}}]}, False),
        ({"faults": [{"fault": "reset", "on": "listings"}]}, False),
    ],
)
def test_schema_and_parser_agree(file: dict[str, Any], *, valid: bool) -> None:
    """What the schema accepts the parser reads, and what one refuses the other refuses too."""
    assert jsonschema.Draft202012Validator(schema()).is_valid(file) is valid
    if valid:
        cloud_from_script(file)
    else:
        with pytest.raises(ValueError, match=r"\S"):
            cloud_from_script(file)
