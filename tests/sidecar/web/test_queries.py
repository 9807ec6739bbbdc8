"""The queries of requests, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sidecar_parts import NOW, Sidecar, change_state, make_task, run

from waiter.errors import TaskError
from waiter.outcome import WaitStatus
from waiter.sidecar.model import Wait
from waiter.sidecar.web.queries import WaitQuery, all_ended


async def ids(client: httpx.AsyncClient, query: str) -> list[str]:
    """Return the IDs of the selected waits."""
    response = await client.get(f"/v1/waits?{query}")
    assert response.status_code == 200, response.text
    return [wait["id"] for wait in response.json()["waits"]]


async def fill(sidecar: Sidecar) -> None:
    """Accept a to d, one each minute; the tasks of b and c are polled, and c ends at the fourth minute."""
    for wait_id in "abcd":
        await sidecar.service.accept([wait_id])
        sidecar.now += 60
    await sidecar.settle()
    for wait_id, task_type in (("b", "create_vm"), ("c", "delete_vm")):
        change_state(sidecar, make_task(wait_id, task_type=task_type))
    sidecar.waiter.finish("c", task_type="delete_vm")
    await sidecar.settle()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "abcd"),
        ("id=b&id=a&id=b", "ba"),
        ("status=waiting", "abd"),
        ("status=finished&status=failed", "c"),
        ("status=failed", ""),
        ("task_type=create_vm", "b"),
        ("task_type=create_vm&task_type=delete_vm", "bc"),
        ("task_type=create_vm&status=finished", ""),
        ("changed_since=2027-01-15T08:04:00Z", "bc"),
        ("changed_since=2027-01-15T09:03:00%2B01:00", "bcd"),
        ("changed_since=2027-01-15T08:04:00.001Z", ""),
        ("limit=4", "abcd"),
        ("limit=2&status=waiting", "ab"),
    ],
)
def test_waits_are_selected(sidecar: Sidecar, query: str, expected: str) -> None:
    """By ID, status, type and time of the last change, together."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await fill(sidecar)
            assert await ids(client, query) == list(expected)

    run(test())


@pytest.mark.parametrize("selection", ["", "&status=waiting"])
@pytest.mark.parametrize("size", [1, 2])
def test_pages_have_every_wait_once(sidecar: Sidecar, size: int, selection: str) -> None:
    """A wait that is accepted meanwhile is on a later page, and a deleted one leaves no gap; the last page has no cursor."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await fill(sidecar)
            pages: list[list[str]] = []
            cursor: str | None = ""
            while cursor is not None:
                content = (await client.get(f"/v1/waits?limit={size}{selection}{cursor}")).json()
                pages.append([wait["id"] for wait in content["waits"]])
                cursor = content["next"] and f"&cursor={content['next']}"
                if len(pages) == 1:
                    await sidecar.service.accept(["e"])
                    await sidecar.service.delete(pages[0][-1])
            assert [wait_id for page in pages for wait_id in page] == [*("abd" if selection else "abcd"), "e"]
            assert {len(page) for page in pages[:-1]} == {size}

    run(test())


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/waits?state=waiting&page=2", "unknown parameter: 'page', 'state'"),
        ("/v1/waits?limit=1&limit=2", "given more than once: 'limit'"),
        ("/v1/waits?status=lost", f"status is one of {', '.join(WaitStatus)}"),
        ("/v1/waits?limit=0", "limit is a number from 1 to 1000"),
        ("/v1/waits?limit=1001", "limit is a number from 1 to 1000"),
        ("/v1/waits?limit=\u0663", "limit is a number from 1 to 1000"),
        ("/v1/waits?cursor=x", "not a cursor: 'x'"),
        ("/v1/waits?changed_since=2027-01-15", "changed_since is not a time such as 2026-11-24T12:00:00Z: '2027-01-15'"),
        ("/v1/waits?changed_since=today", "changed_since is not a time such as 2026-11-24T12:00:00Z: 'today'"),
        ("/v1/waits?wait=5s%0a", r"wait is not a duration: '5s\n' (write 90, 90s, 30m, 1h30m or none)"),
        ("/v1/waits?wait=soon", "wait is not a duration: 'soon' (write 90, 90s, 30m, 1h30m or none)"),
        ("/v1/waits/a?id=b", "unknown parameter: 'id'"),
        ("/v1/events?id=b", "unknown parameter: 'id'"),
    ],
)
def test_invalid_query_is_refused(sidecar: Sidecar, path: str, error: str) -> None:
    """The error names the parameter."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.get(path)
            assert (response.status_code, response.json()["error"][: len(error)]) == (400, error)

    run(test())


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/waits?timeout=5"), ("DELETE", "/v1/waits/a?force=1")])
def test_requests_that_change_something_have_no_parameters(sidecar: Sidecar, method: str, path: str) -> None:
    """A limit in the query, for example, would have no effect."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json="a")
            response = await client.request(method, path, json=["b"])
            assert (response.status_code, response.json()["error"][:18]) == (400, "unknown parameter:")
            assert list(sidecar.service.waits) == ["a"]

    run(test())


def test_condition_of_a_long_poll_follows_the_waits() -> None:
    """It holds when no selected wait is waiting, also after one was restarted or deleted."""
    waits: dict[str, Any] = {wait_id: Wait(id=wait_id, accepted_at=NOW) for wait_id in "abc"}
    some, every = all_ended(WaitQuery(ids=["a", "b"]), waits), all_ended(WaitQuery(), waits)
    assert (some(), every()) == (False, False)
    waits["b"] = waits["b"].with_end(WaitStatus.TIMED_OUT, NOW)
    assert not some()
    restarted = waits["b"]
    waits["b"], waits["a"] = Wait(id="b", accepted_at=NOW), restarted
    assert not some()
    waits["b"] = restarted
    assert (some(), every()) == (True, False)
    del waits["c"]
    assert every()


def test_long_poll_with_a_type_follows_the_waits_that_may_have_it() -> None:
    """A wait whose task was not polled yet may have any type; one of another type is not awaited."""
    waits: dict[str, Any] = {wait_id: Wait(id=wait_id, accepted_at=NOW) for wait_id in "ab"}
    waits["a"] = waits["a"].with_task(make_task("a", task_type="delete_vm"), None, NOW)
    created = all_ended(WaitQuery(task_types=frozenset(["create_vm"])), waits)
    assert not created()
    waits["b"] = waits["b"].with_task(make_task("b", task_type="create_vm"), None, NOW)
    assert not created()
    waits["b"] = waits["b"].with_task(make_task("b", task_type="create_image"), None, NOW)
    assert created()


@pytest.mark.parametrize("query", ["status=failed", "status=waiting", "changed_since=2027-01-15T08:00:00Z", "limit=5"])
def test_long_poll_with_a_filter_ends_when_its_answer_is_final(sidecar: Sidecar, query: str) -> None:
    """Not before: a wait that is waiting may change its status."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            await sidecar.settle()
            polling = asyncio.create_task(ids(client, f"{query}&wait=5m"))
            sidecar.waiter.finish("b")
            await sidecar.settle()
            assert not polling.done()
            sidecar.waiter.fail("a", TaskError(make_task("a", "ERROR", error="no host")))
            expected = {"status=failed": ["a"], "status=waiting": []}.get(query, ["a", "b"])
            assert await polling == expected

    run(test())


@pytest.mark.parametrize("duration", ["1h30m", "0", "0.0000001", "none"])
def test_long_poll_takes_every_duration(sidecar: Sidecar, duration: str) -> None:
    """As every option of the command does."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            assert await ids(client, f"wait={duration}") == []

    run(test())
