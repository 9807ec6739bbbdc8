"""The tasks of an account, listed by both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import waiter
from waiter import ApiUnavailableError, AsyncWaiter, ConfigurationError, Task, Waiter, WaiterError
from waiter.api import listings
from waiter.batch.completion import run_inline
from waiter.http.async_client import ThreadedClient
from waiter.http.client import Client
from waiter.testing import Phase, Script, SimulatedCloud, fails, finishes, never_ends, status

List = Callable[..., list[Task]]


def list_blocking(cloud: SimulatedCloud, **arguments: Any) -> list[Task]:
    return waiter.list_tasks(**arguments, **cloud.options)


def list_awaited(cloud: SimulatedCloud, **arguments: Any) -> list[Task]:
    return asyncio.run(waiter.aio.list_tasks(**arguments, **cloud.async_options))


@pytest.fixture(params=[list_blocking, list_awaited], ids=["blocking", "awaited"])
def list_tasks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> List:
    for name in ("GCORE_CLOUD_PROJECT_ID", "GCORE_CLOUD_REGION_ID"):
        monkeypatch.delenv(name, raising=False)
    found: List = request.param
    return found


@pytest.fixture
def busy() -> SimulatedCloud:
    """A cloud with five tasks, a to e, created a second after one another."""
    cloud = SimulatedCloud.virtual()
    scripts = {
        "a": finishes(1, project_id=1),
        "b": never_ends(project_id=2, task_type="create_bm"),
        "c": fails(1, region_id=3),
        "d": Script(phases=(Phase("NEW"),), project_id=2, region_id=3),
        "e": never_ends(),
    }
    for name, script in scripts.items():
        cloud.add(script, task_id=name, watched=False)
        cloud.sleep(1)
    return cloud


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, "edb"),
        ({"state": ()}, "edcba"),
        ({"state": "error"}, "c"),
        ({"state": ["FINISHED", "Error"]}, "ca"),
        ({"project_id": 2}, "db"),
        ({"project_id": [1, 2], "state": ()}, "edcba"),
        ({"region_id": 3}, "d"),
        ({"task_type": "create_bm"}, "b"),
        ({"limit": 2}, "ed"),
        ({"limit": 0}, ""),
    ],
)
def test_tasks_are_listed_newest_first(list_tasks: List, busy: SimulatedCloud, arguments: dict[str, Any], names: str) -> None:
    """By default those that have not ended; every filter selects some of them."""
    assert "".join(task.id for task in list_tasks(busy, **arguments)) == names
    busy.verify()


def test_project_and_region_default_to_the_environment(
    list_tasks: List, busy: SimulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the official SDK; an empty list of IDs selects all."""
    monkeypatch.setenv("GCORE_CLOUD_PROJECT_ID", "2")
    assert [task.id for task in list_tasks(busy)] == ["d", "b"]
    monkeypatch.setenv("GCORE_CLOUD_REGION_ID", "3")
    assert [task.id for task in list_tasks(busy)] == ["d"]
    assert [task.id for task in list_tasks(busy, project_id=(), region_id=())] == ["e", "d", "b"]


def test_every_problem_of_the_filters_is_named(list_tasks: List, busy: SimulatedCloud) -> None:
    """Nothing is requested."""
    with pytest.raises(ConfigurationError) as caught:
        list_tasks(busy, state="PAUSED", project_id="7", region_id=[True, 3], task_type=" ")
    assert caught.value.problems == (
        "state must be NEW, RUNNING, FINISHED or ERROR, not 'PAUSED'",
        "project_id must be a number, not '7'",
        "region_id must be a number, not True",
        "task_type must be text such as 'create_vm', not ' '",
    )
    assert busy.requests == []


def test_pages_are_read_until_the_listing_is_complete(
    list_tasks: List, busy: SimulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page after the first begins with the last task of the one before."""
    monkeypatch.setattr(listings, "MAX_PAGE", 2)
    assert "".join(task.id for task in list_tasks(busy, state=())) == "edcba"
    assert [request.path.partition("order_by=desc&")[2] for request in busy.requests] == [
        "limit=2&offset=0",
        "limit=2&offset=1",
        "limit=2&offset=2",
        "limit=2&offset=3",
    ]


def test_tasks_that_end_between_two_pages_hide_no_others(list_tasks: List, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that follow move up, so the listing goes back by a page."""
    monkeypatch.setattr(listings, "MAX_PAGE", 3)
    cloud = SimulatedCloud.virtual(latency=1.0)
    for name in "abcdefgh":
        # The three newest tasks end while the first page is on its way.
        cloud.add(finishes(1.5) if name in "fgh" else never_ends(), task_id=name, watched=False)
    assert "".join(task.id for task in list_tasks(cloud)) == "hgfedcba"


def test_listing_without_an_end_is_refused(list_tasks: List) -> None:
    """A server may repeat its first page without end, or count tasks that it does not list."""
    for rows in ([{"id": "a", "state": "NEW"}], []):

        def respond(_: httpx.Request, rows: object = rows) -> httpx.Response:
            return httpx.Response(200, json={"count": 9, "results": rows})

        make = httpx.Client if list_tasks is list_blocking else httpx.AsyncClient
        cloud = SimulatedCloud.virtual()
        options = vars(cloud).setdefault("options" if list_tasks is list_blocking else "async_options", {})
        options |= {"api_key": "1$a", "client": make(transport=httpx.MockTransport(respond))}
        with pytest.raises(waiter.InvalidResponseError, match=r"invalid response: more than 200 pages \(listing\)"):
            list_tasks(cloud)


def test_server_that_ignores_filters_shows_nothing_else(list_tasks: List) -> None:
    """A task that does not say its project is kept."""
    rows = [
        {"id": "a", "state": "RUNNING", "project_id": 7},
        {"id": "b", "state": "FINISHED", "project_id": 7},
        {"id": "c", "state": "RUNNING", "project_id": 8},
        {"id": "d", "state": "RUNNING", "task_type": "create_bm"},
        {"id": "e", "state": "NEW"},
    ]
    make = httpx.Client if list_tasks is list_blocking else httpx.AsyncClient
    client = make(transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"count": 5, "results": rows})))
    cloud = SimulatedCloud.virtual()
    vars(cloud)["options"] = vars(cloud)["async_options"] = {"api_key": "1$a", "client": client}
    assert [task.id for task in list_tasks(cloud, project_id=7, task_type="create_vm")] == ["a", "e"]


def test_refused_listing_is_one_error_and_blocks_later_requests(list_tasks: List, busy: SimulatedCloud) -> None:
    """A listing is requested once; a 404 is no missing task."""
    busy.fault(status(429, retry_after=7))
    with pytest.raises(ApiUnavailableError, match=r"the API returned 429.*\(listing\)") as caught:
        list_tasks(busy)
    assert caught.value.retry_after == 7
    busy.fault(status(404))
    with pytest.raises(waiter.InvalidResponseError, match=r"invalid response: HTTP 404: .* \(listing\)"):
        list_tasks(busy)
    assert len(busy.requests) == 2


def test_closed_waiter_lists_nothing(busy: SimulatedCloud) -> None:
    """As it does nothing else."""
    blocking, awaited = Waiter(**busy.options), AsyncWaiter(**busy.async_options)
    blocking.close()
    asyncio.run(awaited.close())
    with pytest.raises(WaiterError, match="the waiter is closed"):
        blocking.list_tasks()
    with pytest.raises(WaiterError, match="the waiter is closed"):
        asyncio.run(awaited.list_tasks())


def test_blocking_client_lists_for_an_awaited_waiter(busy: SimulatedCloud) -> None:
    """The client of a user is called in a thread."""
    with Waiter(**busy.options) as blocking:
        client = ThreadedClient(Client(blocking._session.settings), run_inline)
        awaited = AsyncWaiter.from_session(blocking._session, client)
        assert [task.id for task in asyncio.run(awaited.list_tasks())] == ["e", "d", "b"]


def test_ages_are_those_of_the_servers_clock(busy: SimulatedCloud) -> None:
    """Each snapshot has one."""
    with Waiter(**busy.options) as blocking:
        ages = [snapshot.age for snapshot in blocking.list_snapshots(waiter.api.requests.TaskFilter())]
    assert [round(age or 0) for age in ages] == [1, 2, 3, 4, 5]
