"""The simulated tasks, the endpoints and what verify makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from freezegun import freeze_time

from waiter.testing import (
    Phase,
    Request,
    Script,
    SimulatedCloud,
    appears,
    ended,
    fails,
    finishes,
    missing,
    never_ends,
    unknown_state,
    vanishes,
)

ID = "26986bc0-748a-4448-b836-0a2aa465eb06"
TASKS = "/cloud/v1/tasks"


def seen(cloud: SimulatedCloud, ask: Any, task_id: str, *times: float) -> list[Any]:
    """Which state (or status, if it is no task) the task shows at each of these times."""
    states = []
    for at in times:
        cloud.sleep(at - cloud.elapsed)
        reply = ask(cloud, task_id)
        states.append(reply.json["state"] if reply.status == 200 else reply.status)
    return states


def test_answers_with_every_field(cloud: SimulatedCloud, ask: Any) -> None:
    """A task that ended shows every field of the description, and the Date is the server's."""
    cloud.add(finishes(19, {"instances": ["i-1"]}, project_id=7, region_id=8), task_id=ID)
    cloud.sleep(20.5)
    reply = ask(cloud, ID)
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


def test_shows_phases_as_they_come(cloud: SimulatedCloud, ask: Any) -> None:
    """Each phase lasts its seconds; resources are null and nothing is finished before the end."""
    phases = (Phase("NEW", 1), Phase("RUNNING", 2, "NETWORK"), Phase("RUNNING", 2, "POST_DEPLOY_SETUP"), Phase("FINISHED"))
    task_id = cloud.add(Script(phases=phases, created_resources={"clusters": ["c"]}))
    shown = []
    for _ in range(6):
        fields = ask(cloud, task_id).json
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


@pytest.mark.parametrize(
    ("script", "states"),
    [
        (finishes(2), ["RUNNING", "RUNNING", "FINISHED", "FINISHED"]),
        (fails(2), ["RUNNING", "RUNNING", "ERROR", "ERROR"]),
        (ended(), ["FINISHED"] * 4),
        (never_ends(), ["RUNNING"] * 4),
        (unknown_state("PAUSED", 1, finishes(1)), ["PAUSED", "RUNNING", "FINISHED", "FINISHED"]),
        (vanishes(2), ["RUNNING", "RUNNING", 404, 404]),
        (missing(), [404] * 4),
        (appears(1, finishes(3)), [404, "RUNNING", "RUNNING", "FINISHED"]),
        (finishes(2, age=1), ["RUNNING", "FINISHED", "FINISHED", "FINISHED"]),
    ],
)
def test_fates(cloud: SimulatedCloud, ask: Any, script: Script, states: list[Any]) -> None:
    """Each fate is what its name says, and nobody is let down who saw it to the end."""
    task_id = cloud.add(script)
    assert states == seen(cloud, ask, task_id, 0, 1, 2, 3)
    cloud.verify()


def test_leaves_resources_behind_on_error(cloud: SimulatedCloud, ask: Any) -> None:
    """A failed task shows its error, and what it made before."""
    task_id = cloud.add(fails(5, "Quota exceeded", {"volumes": ["v"]}))
    cloud.sleep(5)
    fields = ask(cloud, task_id).json
    assert (fields["state"], fields["error"], fields["created_resources"]) == ("ERROR", "Quota exceeded", {"volumes": ["v"]})


def test_ended_some_time_ago(cloud: SimulatedCloud, ask: Any) -> None:
    """A task that ended before shows when."""
    fields = ask(cloud, cloud.add(ended(took=4, ago=10))).json
    assert (fields["created_on"], fields["finished_on"]) == ("2026-07-01T13:37:00", "2026-07-01T13:37:04")


def test_makes_up_ids(cloud: SimulatedCloud, ask: Any) -> None:
    """A number stands for as many IDs of the kind's type; the other kinds are empty on demand."""
    task_id = cloud.add(ended({"instances": 2, "ddos_profiles": 1, "projects": [5]}, all_kinds=True))
    resources = ask(cloud, task_id).json["created_resources"]
    given = {kind: ids for kind, ids in resources.items() if ids}
    assert [("ddos_profiles", [int]), ("instances", [str, str]), ("projects", [int])] == [
        (kind, [type(one) for one in ids]) for kind, ids in given.items()
    ]
    assert (len(resources), sum(ids == [] for ids in resources.values())) == (36, 33)


def test_replaces_adds_and_leaves_out_fields(cloud: SimulatedCloud, ask: Any) -> None:
    """Any field of the answer can be scripted."""
    fields = {"data": {"name": "vm"}, "novel": 1, "created_on": None, "job_id": msgspec.UNSET}
    answer = ask(cloud, cloud.add(ended(fields=fields))).json
    assert (answer["data"], answer["novel"], answer["created_on"], "job_id" in answer) == ({"name": "vm"}, 1, None, False)


def test_repeats_itself(make_cloud: Callable[..., SimulatedCloud]) -> None:
    """The same seed makes up the same IDs, another seed others."""
    first, again, other = (make_cloud(seed=seed).add(never_ends()) for seed in (1, 1, 2))
    assert first == again != other


def test_starts_when_seen(cloud: SimulatedCloud, ask: Any) -> None:
    """A task that starts when it is seen is in no list before, and its age counts from then."""
    task_id = cloud.add(finishes(5, starts_when_seen=True))
    cloud.sleep(60)
    assert ask(cloud, TASKS).json == {"count": 0, "results": []}
    assert seen(cloud, ask, task_id, 61, 66) == ["RUNNING", "FINISHED"]
    assert ask(cloud, TASKS).json["results"][0]["created_on"] == "2026-07-01T13:38:15"


def test_runs_at_a_speed(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """Speed divides every scripted duration."""
    cloud = make_cloud(speed=10, notation="%Y-%m-%dT%H:%M:%S.%fZ")
    task_id = cloud.add(appears(5, finishes(15, age=5)))
    cloud.add_past("create_vm", [20], every=100)
    assert seen(cloud, ask, task_id, 0, 0.5, 1) == [404, "RUNNING", "FINISHED"]
    page = ask(cloud, TASKS).json["results"]
    assert [(task["created_on"], task["finished_on"]) for task in page] == [
        ("2026-07-01T13:37:13.500000Z", "2026-07-01T13:37:15.000000Z"),
        ("2026-07-01T13:37:02.000000Z", "2026-07-01T13:37:04.000000Z"),
    ]


def test_shows_its_own_time(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """The server's clock may be off, and its notation another."""
    start = datetime(2026, 7, 1, 15, 37, 14, 250_000, tzinfo=UTC) + timedelta(hours=0)
    cloud = make_cloud(start=start, skew=-90, notation="%Y-%m-%dT%H:%M:%SZ")
    reply = ask(cloud, cloud.add(never_ends()))
    assert (reply.json["created_on"], reply.headers["Date"]) == ("2026-07-01T15:35:44Z", "Wed, 01 Jul 2026 15:35:44 GMT")


def test_stands_still_in_frozen_time(ask: Any) -> None:
    """Without clocks of its own the cloud reads the real ones whenever it is asked: freezegun stops them."""
    with freeze_time("2026-07-01 13:37:14") as frozen:
        cloud = SimulatedCloud()
        task_id = cloud.add(finishes(0.3))
        assert ask(cloud, task_id).json["created_on"] == "2026-07-01T13:37:14"
        for _ in range(3):
            frozen.tick(0.1)
        assert ask(cloud, task_id).json["state"] == "FINISHED"
        assert [request.at for request in cloud.requests] == [0.0, 0.3]


def test_remembers_the_past(cloud: SimulatedCloud, ask: Any) -> None:
    """Past tasks are in the list, the last one first, and nobody needs to ask for them."""
    ids = cloud.add_past("create_vm", [19, 25, 30], errors=[1], every=60)
    page = ask(cloud, f"{TASKS}?task_type=create_vm").json
    shown = [(task["id"], task["state"], task["created_on"], task["finished_on"]) for task in page["results"]]
    assert shown == [
        (ids[2], "FINISHED", "2026-07-01T13:35:44", "2026-07-01T13:36:14"),
        (ids[1], "ERROR", "2026-07-01T13:34:49", "2026-07-01T13:35:14"),
        (ids[0], "FINISHED", "2026-07-01T13:33:55", "2026-07-01T13:34:14"),
    ]
    cloud.verify()


@pytest.fixture
def busy(cloud: SimulatedCloud) -> SimulatedCloud:
    """A cloud with five tasks, made ten seconds after one another: a to e."""
    scripts = {
        "a": finishes(5, project_id=1),
        "b": never_ends(project_id=2, task_type="create_bm"),
        "c": fails(5, region_id=3),
        "d": Script(phases=(Phase("NEW"),), project_id=2),
        "e": never_ends(fields={"acknowledged_at": "2026-07-01T13:38:00"}),
    }
    for name, script in scripts.items():
        cloud.add(script, task_id=name)
        cloud.sleep(10)
    return cloud


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "edcba"),
        ("order_by=asc", "abcde"),
        ("sorting=asc", "abcde"),
        ("state=NEW&state=RUNNING", "edb"),
        ("state=ERROR", "c"),
        ("task_type=create_bm", "b"),
        ("task_type=none_such", ""),
        ("project_id=1&project_id=2&state=FINISHED&state=NEW", "da"),
        ("region_id=3", "c"),
        ("is_acknowledged=true", "e"),
        ("is_acknowledged=false", "dcba"),
        ("limit=2", "ed"),
        ("limit=2&offset=3", "ba"),
        ("offset=9", ""),
        ("from_timestamp=2026-07-01T13:37:34Z", "edc"),
        ("to_timestamp=2026-07-01T13:37:34Z", "cba"),
        ("from_timestamp=2026-07-01T13:37:24Z&to_timestamp=2026-07-01T15:37:34%2B02:00", "cb"),
    ],
)
def test_lists(busy: SimulatedCloud, ask: Any, query: str, names: str) -> None:
    """Filters, order and pages are those of the description."""
    assert names == "".join(task["id"] for task in ask(busy, f"{TASKS}?{query}").json["results"])


def test_counts_what_was_chosen(busy: SimulatedCloud, ask: Any) -> None:
    """The count is of all that was chosen, not of the page; a page has ten unless asked otherwise."""
    busy.add_past("create_vm", [1] * 20)
    page = ask(busy, TASKS).json
    assert (page["count"], len(page["results"])) == (25, 10)
    assert len(ask(busy, f"{TASKS}?limit=1000").json["results"]) == 25


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=1001", "limit: 1001 is not between 1 and 1000"),
        ("limit=0&offset=-1", "limit: 0 is not between 1 and 1000; offset: -1 is not between 0 and inf"),
        ("state=ENDED", "state: 'ENDED' is none of ERROR, FINISHED, NEW, RUNNING"),
        ("state=", "state: '' is none of ERROR, FINISHED, NEW, RUNNING"),
        ("order_by=up", "order_by: 'up' is none of asc, desc"),
        ("is_acknowledged=yes", "is_acknowledged: 'yes' is none of true, false"),
        ("to_timestamp=2026-07-01T13:37:34", "to_timestamp: 2026-07-01T13:37:34 has no time zone"),
        ("from_timestamp=now", "from_timestamp: Invalid isoformat string: 'now'"),
    ],
)
def test_refuses_wrong_parameters(cloud: SimulatedCloud, ask: Any, query: str, message: str) -> None:
    """A parameter that is against the description is a 400 that says so, and not expected."""
    reply = ask(cloud, f"{TASKS}?{query}")
    assert (400, "ValidationError", message) == (reply.status, reply.json["exception_class"], reply.json["message"])
    assert cloud.problems() == [f"not expected: GET {TASKS}?{query}: {message}"]


@pytest.mark.parametrize(
    ("method", "target", "key", "status", "message", "expected"),
    [
        ("GET", ID, "apikey wrong$one", 401, "Bad permanent token: wrong$one", True),
        ("GET", ID, "", 401, "Authentication credentials were not provided", False),
        ("GET", ID, "APIKey", 401, "Authentication credentials were not provided", False),
        ("GET", ID, "Bearer simulated$key", 401, "Authentication credentials were not provided", False),
        ("GET", "stranger", None, 404, "Task stranger was not found", False),
        ("GET", "/cloud/v2/tasks", None, 404, "no such path", False),
        ("GET", f"{TASKS}/", None, 404, "no such path", False),
        ("POST", ID, None, 405, "method POST is not allowed", False),
        ("DELETE", TASKS, None, 405, "method DELETE is not allowed", False),
    ],
)
def test_refuses(  # noqa: PLR0913, PLR0917 - a table
    cloud: SimulatedCloud, ask: Any, method: str, target: str, key: str | None, status: int, message: str, *, expected: bool
) -> None:
    """A request that gets an error for an answer, and whether a test should fail for it."""
    cloud.add(never_ends(), task_id=ID, watched=False)
    reply = ask(cloud, target, method, key)
    assert (status, message) == (reply.status, reply.json["message"])
    assert {"exception_class", "message", "request_id"} == set(reply.json)
    assert reply.headers.get("Allow") == ("GET" if status == 405 else None)
    path = target if target.startswith("/") else f"{TASKS}/{target}"
    assert cloud.problems() == ([] if expected else [f"not expected: {method} {path}: {message}"])


@pytest.mark.parametrize("scheme", ["apikey", "APIKey", "APIKEY"])
def test_reads_the_scheme_in_any_case(cloud: SimulatedCloud, ask: Any, scheme: str) -> None:
    """The name of an authentication scheme has no case."""
    assert ask(cloud, cloud.add(never_ends()), key=f"{scheme} simulated$key").status == 200


def test_lets_a_request_start_tasks(cloud: SimulatedCloud, ask: Any) -> None:
    """An endpoint that starts work answers the IDs of new tasks, each time others."""
    cloud.on_request("POST", "/cloud/v2/instances/*/*", finishes(5, {"instances": 1}), finishes(5))
    first = ask(cloud, "/cloud/v2/instances/1/1", "POST").json["tasks"]
    second = ask(cloud, "/cloud/v2/instances/1/1", "POST").json["tasks"]
    assert len({*first, *second}) == 4
    for task_id in (*first, *second):
        assert seen(cloud, ask, task_id, 0) == ["RUNNING"]
    cloud.sleep(5)
    made = [ask(cloud, task_id).json["created_resources"] for task_id in (*first, *second)]
    assert made[0] != made[2]
    assert [made[1], made[3]] == [None, None]
    cloud.verify()


def test_verify_names_everything(cloud: SimulatedCloud, ask: Any) -> None:
    """What was not expected and what never came are named, one a line; what was not watched is not."""
    cloud.add(finishes(5), task_id="seen-too-early")
    cloud.add(finishes(5), task_id="unwatched", watched=False)
    cloud.add(vanishes(5), task_id="still-there")
    cloud.add(never_ends(), task_id="seen")
    cloud.on_request("POST", "/cloud/v1/volumes/*/*")
    for name in ("seen-too-early", "still-there", "seen"):
        ask(cloud, name)
    ask(cloud, "seen?page=1")
    ask(cloud, f"{TASKS}?colour=red")
    with pytest.raises(AssertionError) as caught:
        cloud.verify()
    assert str(caught.value).splitlines() == [
        "the simulated cloud was let down",
        f"not expected: GET {TASKS}/seen?page=1: unknown parameters",
        f"not expected: GET {TASKS}?colour=red: unknown parameters colour",
        "never asked to its end: create_vm seen-too-early",
        "never asked to its end: create_vm still-there",
        "never came: POST /cloud/v1/volumes/*/*",
    ]


def test_verify_names_no_more_than_one_can_read(cloud: SimulatedCloud) -> None:
    """Of very many problems, the first twenty are named and the others counted."""
    for _ in range(5000):
        cloud.add(never_ends())
    with pytest.raises(AssertionError) as caught:
        cloud.verify()
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (22, "and 4980 more")


def test_verify_is_content_when_it_is_not_strict(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """A cloud that is not strict has problems, but raises nothing."""
    cloud = make_cloud(strict=False)
    ask(cloud, "stranger")
    cloud.verify()
    assert len(cloud.problems()) == 1


def test_keeps_no_record_on_demand(make_cloud: Callable[..., SimulatedCloud], ask: Any) -> None:
    """A cloud for very many requests need not remember them."""
    cloud = make_cloud(record=False)
    ask(cloud, cloud.add(never_ends()))
    assert cloud.requests == []


def test_refuses_the_same_id_twice(cloud: SimulatedCloud) -> None:
    """An ID is one task's."""
    cloud.add(never_ends(), task_id=ID)
    with pytest.raises(ValueError, match=f"^there is a task {ID} already$"):
        cloud.add(never_ends(), task_id=ID)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Script(phases=()), "a script needs a phase"),
        (lambda: Script(phases=(Phase("NEW"), Phase("RUNNING"))), "only the last phase may last for ever"),
        (lambda: Phase("NEW", -1), "a phase cannot last -1 s"),
        (lambda: Phase("NEW", math.nan), "a phase cannot last nan s"),
    ],
)
def test_refuses_impossible_scripts(make: Callable[[], object], message: str) -> None:
    """A script that cannot be played is refused when it is written."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
