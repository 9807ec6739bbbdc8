"""The parameters of the listing: filters, order and pages."""

from __future__ import annotations

from typing import Any

import pytest

from waiter.testing import Phase, Script, SimulatedCloud, fails, finishes, never_ends

TASKS = "/cloud/v1/tasks"
TRUTHS = ("true", "false")


@pytest.fixture
def busy(cloud: SimulatedCloud) -> SimulatedCloud:
    """A cloud with five tasks, a to e, created ten seconds after one another."""
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
        ("to_timestamp=2026-07-01T13:37:34", "cba"),
        ("from_timestamp=2026-07-01T13:37:24Z&to_timestamp=2026-07-01T15:37:34%2B02:00", "cb"),
    ],
)
def test_listing_selects_orders_and_pages(busy: SimulatedCloud, send: Any, query: str, names: str) -> None:
    """Filters, order and pages are those of the API description."""
    assert names == "".join(task["id"] for task in send(busy, f"{TASKS}?{query}").json["results"])


def test_count_is_of_all_selected_tasks(busy: SimulatedCloud, send: Any) -> None:
    """The count is of all selected tasks, not of the page; a page has ten by default."""
    busy.add_past("create_vm", [1] * 20)
    page = send(busy, TASKS).json
    assert (page["count"], len(page["results"])) == (25, 10)
    assert len(send(busy, f"{TASKS}?limit=1000").json["results"]) == 25


def test_acknowledged_tasks_are_filtered(busy: SimulatedCloud, send: Any) -> None:
    """The filter sees tasks that were acknowledged by a request, beside those that are scripted so."""
    send(busy, "a/acknowledge", "POST")
    names = ["".join(task["id"] for task in send(busy, f"{TASKS}?is_acknowledged={value}").json["results"]) for value in TRUTHS]
    assert names == ["ea", "dcb"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=1001", "limit: 1001 is not between 1 and 1000"),
        ("limit=0&offset=-1", "limit: 0 is not between 1 and 1000; offset: -1 is not between 0 and inf"),
        ("state=ENDED", "state: 'ENDED' is none of ERROR, FINISHED, NEW, RUNNING"),
        ("state=", "state: '' is none of ERROR, FINISHED, NEW, RUNNING"),
        ("order_by=up", "order_by: 'up' is none of asc, desc"),
        ("is_acknowledged=yes", "is_acknowledged: 'yes' is none of true, false"),
        ("from_timestamp=now", "from_timestamp: Invalid isoformat string: 'now'"),
    ],
)
def test_invalid_parameter_is_rejected(cloud: SimulatedCloud, send: Any, query: str, message: str) -> None:
    """A parameter that contradicts the API description gets a 400 that says so, and is unexpected."""
    reply = send(cloud, f"{TASKS}?{query}")
    assert (400, "ValidationError", message) == (reply.status, reply.json["exception_class"], reply.json["message"])
    assert cloud.problems() == [f"unexpected request: GET {TASKS}?{query}: {message}"]
