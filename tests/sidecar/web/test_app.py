"""The control API over HTTP."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from math import inf
from pathlib import Path
from typing import Any

import httpx
import pytest
from sidecar_parts import NEW_WAIT, PLAIN, Report, Sidecar, connected, events_in, run, running
from starlette.requests import Request

from waiter.sidecar.storage.write_queue import StorageError
from waiter.sidecar.web import app

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("body", ["a", ["a"], {"tasks": ["a"]}, {"tasks": ["a", "a"], "count": 1}])
def test_post_accepts_ids_and_api_responses(sidecar: Sidecar, body: Any) -> None:
    """The response is 202 with the waits and the number of the last event."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", json=body)
            assert (response.status_code, response.json()) == (202, {"waits": [NEW_WAIT]})
            assert (response.headers["last-event-id"], response.headers["content-type"]) == ("1", "application/json")

    run(test())


REFUSED = [
    (b"{", "not JSON: Input data was truncated"),
    (b"5", "neither a task ID nor a response with a list of tasks: int"),
    (b'["a", "../b", 5]', "not a task ID: '../b'; not a task ID: 5"),
    (b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
    (b"\xff", "not JSON: JSON is malformed: invalid character (byte 0)"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED, ids=["broken", "number", "bad IDs", "deep", "binary"])
def test_post_of_an_invalid_body_is_refused(sidecar: Sidecar, body: bytes, reason: str) -> None:
    """The response names the problem, and no wait is accepted."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", content=body, headers={"Content-Type": "application/json"})
            assert response.status_code == 400
            assert response.json()["error"].startswith(reason)
            assert sidecar.service.waits == {}

    run(test())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("max_page_count = 1", "database or disk is full"), ("query_only = ON", "attempt to write a readonly database")],
)
def test_post_that_cannot_be_stored_returns_507(sidecar: Sidecar, fault: str, reason: str) -> None:
    """No wait is accepted."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await sidecar.write_queue.query(lambda store: store._database.execute(f"PRAGMA {fault}"))
            response = await client.post("/v1/waits", json=[f"{number}{'x' * 100}" for number in range(200)])
            assert response.status_code == 507
            assert response.json() == {"error": f"cannot be stored: {reason}"}
            assert (sidecar.service.waits, sidecar.waiter.waited_for, sidecar.store.waits()) == ({}, [], [])

    run(test())


def test_requests_are_refused_while_the_state_directory_is_another_one(sidecar: Sidecar) -> None:
    """503 for a new wait, for a known one, because it is on disk no more, and for a deletion."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            assert (await client.post("/v1/waits", json="a")).status_code == 202
            (sidecar.directory / "waits.sqlite3").unlink()
            (sidecar.directory / "waits.sqlite3").touch()
            responses = [await client.post("/v1/waits", json=task_id) for task_id in ("b", "a")]
            responses.append(await client.delete("/v1/waits/a"))
            for response in responses:
                assert (response.status_code, response.headers["retry-after"]) == (503, "5")
                assert response.json() == {
                    "error": "cannot be stored: the state directory was deleted or replaced; "
                    "retry once its path is free, or restart the sidecar with another --state-dir"
                }
            assert (await client.get("/v1/waits/a")).json()["status"] == "waiting"
            (sidecar.directory / "waits.sqlite3").unlink()
            assert (await client.post("/v1/waits", json="b")).status_code == 202
            assert [wait.id for wait in sidecar.store.waits()] == ["a", "b"]

    run(test())


def test_post_of_too_many_waits_returns_429(sidecar: Sidecar) -> None:
    """The response has a Retry-After header."""

    async def test() -> None:
        async with sidecar.open(max_waits=1), sidecar.client() as client:
            response = await client.post("/v1/waits", json=["a", "b"])
            assert (response.status_code, response.headers["retry-after"]) == (429, "60")

    run(test())


def test_get_returns_all_or_selected_waits(sidecar: Sidecar) -> None:
    """Waits are selected by ID and by status; an unknown ID is 404 and named."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            await sidecar.settle()
            sidecar.waiter.finish("b")
            await sidecar.settle()

            async def ids(query: str) -> list[str]:
                return [wait["id"] for wait in (await client.get(f"/v1/waits?{query}")).json()["waits"]]

            found = {query: await ids(query) for query in ("", "id=b&id=a", "status=waiting", "status=failed&id=a")}
            assert found == {"": ["a", "b"], "id=b&id=a": ["b", "a"], "status=waiting": ["a"], "status=failed&id=a": []}
            unknown = await client.get("/v1/waits?id=x&id=b&id=y&wait=1s")
            assert (unknown.status_code, unknown.json()) == (404, {"error": "no such wait: x, y", "unknown": ["x", "y"]})
            wrong = await client.get("/v1/waits?status=lost")
            assert (wrong.status_code, wrong.json()["error"][:27]) == (400, "status is one of waiting, f")
            assert (await client.get("/v1/waits/a")).json() == NEW_WAIT

    run(test())


@pytest.mark.parametrize("path", ["/v1/waits/a?wait=5s", "/v1/waits?wait=5s", "/v1/waits?id=a&wait=5s"])
def test_long_poll_returns_when_the_wait_ends(sidecar: Sidecar, path: str) -> None:
    """It does not return before."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json="a")
            await sidecar.settle()
            request = asyncio.create_task(client.get(path))
            await sidecar.settle()
            assert not request.done()
            sidecar.waiter.finish("a")
            response = (await request).json()
            assert response.get("waits", [response])[0]["status"] == "finished"

    run(test())


def test_lists_are_made_one_in_each_turn_of_the_event_loop(sidecar: Sidecar) -> None:
    """So that many requests for all waits do not delay the answer to a probe."""

    async def test() -> None:
        async with sidecar.open():
            turns = 0

            async def count_turns() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            api = app.ControlApi(sidecar.service, sidecar.write_queue, sidecar.stream, max_open_requests=1)
            counting = asyncio.create_task(count_turns())
            requests = [Request({"type": "http", "query_string": b"", "headers": []}) for _ in range(20)]
            responses = await asyncio.gather(*(api.list(request) for request in requests))
            counting.cancel()
            assert ({response.status_code for response in responses}, turns >= 20) == ({200}, True)

    run(test())


def test_long_poll_returns_after_its_duration(sidecar: Sidecar) -> None:
    """The response is the wait as it is; an invalid duration is refused."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json="a")
            assert (await client.get("/v1/waits/a?wait=0.01s")).json() == NEW_WAIT
            wrong = await client.get("/v1/waits/a?wait=soon")
            assert wrong.status_code == 400
            assert wrong.json()["error"] == "wait is not a duration: 'soon' (write 90, 90s, 30m, 1h30m or none)"
            unknown = await client.get("/v1/waits/b?wait=5s")
            assert (unknown.status_code, unknown.json()) == (404, {"error": "no such wait"})

    run(test())


def test_delete_removes_a_wait(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """204, then 404; 409 for a task of the command line, 507 when the disk rejects it."""

    async def test() -> None:
        async with sidecar.open(startup_ids=["g"]), sidecar.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            codes = [(await client.delete(f"/v1/waits/{wait_id}")).status_code for wait_id in ("a", "a", "g")]

            async def fail(*_: object) -> None:
                raise StorageError

            monkeypatch.setattr(sidecar.write_queue, "write", fail)
            codes.append((await client.delete("/v1/waits/b")).status_code)
            assert codes == [204, 404, 409, 507]

    run(test())


@pytest.mark.parametrize(
    ("last", "expected"),
    [("0", [1, 2, 3]), ("2", [3]), ("", [3]), ("99", [0, 1, 2, 3])],
)
def test_events_start_after_last_event_id(sidecar: Sidecar, last: str, expected: list[int]) -> None:
    """Without the header, only new events are sent."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            headers = [(b"Last-Event-ID", last.encode())] if last else []
            request = asyncio.create_task(client.get("/v1/events", headers=headers))
            await sidecar.settle()
            await client.delete("/v1/waits/a")
            await sidecar.settle()
            sidecar.stream.close()
            response = await request
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert [number for number, *_ in events_in(response.text)] == expected

    run(test())


@pytest.mark.parametrize("last", ["-1", "٣", "x", "1.5", "9" * 19])
def test_invalid_last_event_id_is_refused(sidecar: Sidecar, last: str) -> None:
    """The response is 400, so that a client does not silently miss events."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.get("/v1/events", headers=[(b"Last-Event-ID", last.encode())])
            assert response.status_code == 400
            assert response.json()["error"].startswith("Last-Event-ID is not the number of an event: ")

    run(test())


@pytest.mark.parametrize(
    ("members", "limits"),
    [
        ({}, {"timeout": inf}),
        ({"timeout": 90, "max_outage": "5m"}, {"timeout": 90.0, "max_outage": 300.0}),
        ({"timeout": "1h30m", "max_outage": None}, {"timeout": 5400.0}),
        ({"ready": True}, {"timeout": inf, "ready": True}),
        ({"ready": False}, {"timeout": inf, "ready": False}),
        ({"ready": None}, {"timeout": inf}),
    ],
)
def test_post_sets_limits_of_its_waits(sidecar: Sidecar, members: dict[str, Any], limits: dict[str, float]) -> None:
    """A restart of the sidecar keeps them."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", json={"tasks": ["a"], **members})
            assert response.status_code == 202
            await sidecar.settle()
            assert sidecar.waiter.limits == {"a": limits}
        async with sidecar.open():
            assert sidecar.waiter.limits == {"a": limits}

    run(test())


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"timout": 5, "a": 1}, "unknown member: 'a', 'timout'"),
        ({"timeout": "soon"}, "timeout is not a positive duration: 'soon'"),
        ({"timeout": 0}, "timeout is not a positive duration: 0"),
        ({"timeout": True}, "timeout is not a positive duration: True"),
        ({"timeout": 10**400}, f"timeout is not a positive duration: {10**400}"),
        ({"max_outage": "none"}, "max_outage is not a positive duration: 'none'"),
        ({"max_outage": []}, "max_outage is not a positive duration: []"),
        ({"webhook": 5}, "webhook is not a URL"),
        ({"ready": "true"}, "ready is not true or false"),
        ({"ready": 1}, "ready is not true or false"),
        ({"webhook": "https://a.example"}, "webhooks are not allowed: the sidecar was started without --webhook-allow"),
    ],
)
def test_post_with_unknown_or_invalid_members_is_refused(sidecar: Sidecar, members: dict[str, Any], error: str) -> None:
    """The error names them."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", json={"tasks": ["a"], **members})
            assert (response.status_code, response.json()) == (400, {"error": error})

    run(test())


def test_event_has_name_and_data(sidecar: Sidecar) -> None:
    """``event:`` is its name and ``data:`` its JSON."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json="a")
            request = asyncio.create_task(client.get("/v1/events", headers={"Last-Event-ID": "0"}))
            await sidecar.settle()
            sidecar.stream.close()
            data = {"task_id": "a", "at": "2027-01-15T08:00:00.000Z"}
            assert events_in((await request).text) == [(1, "wait.accepted", data)]

    run(test())


def test_head_of_the_stream_ends(sidecar: Sidecar) -> None:
    """It takes no slot."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.head("/v1/events")
            assert (response.status_code, sidecar.stream.is_closed) == (200, False)
            assert response.headers["content-type"].startswith("text/event-stream")

    run(test())


def test_open_requests_are_limited(sidecar: Sidecar) -> None:
    """Above the maximum of streams and of long polls the response is 503; each releases its slot."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            await client.post("/v1/waits", json="a")
            paths = ["/v1/events"] * 257 + ["/v1/waits?wait=30s"] * 257
            requests = [asyncio.create_task(client.get(path)) for path in paths]
            await sidecar.settle()
            full = [one.result() for one in requests if one.done()]
            assert [response.status_code for response in full] == [503, 503]
            assert full[0].json() == {"error": "too many open requests"}
            assert full[0].headers["retry-after"] == "5"
            sidecar.stream.close()
            assert {response.status_code for response in await asyncio.gather(*requests)} == {200, 503}
            assert (await client.get("/v1/events")).status_code == 200

    run(test())


@pytest.mark.usefixtures("served")
def test_abandoned_long_polls_release_their_slots(tmp_path: Path, report: Report) -> None:
    """As soon as its client has closed the connection, a long poll ends."""

    async def test() -> None:
        async with running(tmp_path) as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            await client.post("/v1/waits", json="a")
            request = b"GET /v1/waits?wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n"
            async with connected(sidecar.control, *[request] * 300):
                while (await client.get("/v1/waits?wait=0.01s")).status_code != 503:  # noqa: ASYNC110 - no event over HTTP
                    await asyncio.sleep(0.01)
            while (await client.get("/v1/waits?wait=0.01s")).status_code == 503:  # noqa: ASYNC110 - no event over HTTP
                await asyncio.sleep(0.01)
            report("300 abandoned long polls: the next one is accepted")

    run(test())


@pytest.mark.usefixtures("served")
def test_silent_subscribers_give_way_to_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    """A new stream ends the oldest one, once that had its time."""
    monkeypatch.setattr(app, "MIN_STREAM_TIME", 0.5)

    async def test() -> None:
        async with running(tmp_path) as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            request = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            async with connected(sidecar.control, *[request] * 256) as silent:
                for one in silent:
                    assert await one.reader.readline() == b"HTTP/1.1 200 OK\r\n"
                statuses: list[int] = []
                while statuses[-1:] != [200]:
                    async with client.stream("GET", "/v1/events") as stream:
                        statuses.append(stream.status_code)
                    await asyncio.sleep(0.01)
                assert set(statuses[:-1]) <= {503}
                endings = {(await one.reader.read())[-5:] for one in silent[:1]}
                assert endings == {b"0\r\n\r\n"}
                report(f"256 subscribers that do not read: a new one is accepted, after {len(statuses) - 1} refusals")

    run(test())


@pytest.mark.parametrize(
    ("path", "kind", "begins"),
    [("/", "text/html", "<!doctype html>"), ("/page.css", "text/css", ":root {"), ("/page.js", "text/javascript", "import {")],
)
def test_page_is_served_with_its_policy(sidecar: Sidecar, path: str, kind: str, begins: str) -> None:
    """The policy permits no other source of code."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.get(path)
            assert response.headers["content-type"] == f"{kind}; charset=utf-8"
            assert response.text.startswith(begins)
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy

    run(test())


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/v2", 404), ("GET", "/v1/waits/", 404), ("PUT", "/v1/waits", 405), ("POST", "/", 405)]
)
def test_other_paths_and_methods_are_refused(sidecar: Sidecar, method: str, path: str, code: int) -> None:
    """There is no redirect, and the response is JSON."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.request(method, path)
            assert (response.status_code, response.json()) == (code, {"error": HTTPStatus(code).phrase})

    run(test())


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/waits", {"GET", "HEAD", "POST"}), ("/v1/waits/a", {"GET", "HEAD", "DELETE"}), ("/", {"GET", "HEAD"})],
)
def test_405_names_all_methods(sidecar: Sidecar, path: str, allowed: set[str]) -> None:
    """In the header Allow."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.request("PATCH", path)
            assert (response.status_code, set(response.headers["allow"].split(", "))) == (405, allowed)

    run(test())
