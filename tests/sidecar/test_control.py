"""The control API as its clients see it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sidecar_parts import NEW, House, events_in, run

from waiter.sidecar.journal import StorageError

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("body", ["a", ["a"], {"tasks": ["a"]}, {"tasks": ["a", "a"], "count": 1}])
def test_post_takes_ids_and_what_the_api_answers(house: House, body: Any) -> None:
    """It answers 202 with the waits, and the number of the last event."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            answer = await client.post("/v1/waits", json=body)
            assert (answer.status_code, answer.json()) == (202, {"waits": [NEW]})
            assert (answer.headers["last-event-id"], answer.headers["content-type"]) == ("1", "application/json")

    run(test())


REFUSED = [
    (b"{", "not JSON: Input data was truncated"),
    (b"5", "neither a task ID nor an answer with a list of tasks: int"),
    (b'["a", "../b", 5]', "not a task ID: '../b'; not a task ID: 5"),
    (b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
    (b"\xff", "not JSON: JSON is malformed: invalid character (byte 0)"),
]


@pytest.mark.parametrize(("body", "why"), REFUSED, ids=["broken", "number", "bad IDs", "deep", "binary"])
def test_post_says_what_is_wrong_with_a_body(house: House, body: bytes, why: str) -> None:
    """And accepts nothing of it."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            answer = await client.post("/v1/waits", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 400
            assert answer.json()["error"].startswith(why)
            assert house.service.waits == {}

    run(test())


def test_post_is_never_answered_202_when_the_disk_is_full(house: House) -> None:
    """It is 507, and nothing is waited for."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await house.journal.ask(lambda store: store._database.execute("PRAGMA max_page_count = 1"))
            answer = await client.post("/v1/waits", json=[f"{number}{'x' * 100}" for number in range(200)])
            assert answer.status_code == 507
            assert answer.json() == {"error": "cannot be kept: database or disk is full"}
            assert (house.service.waits, house.puppet.asked, house.store.waits()) == ({}, [], [])

    run(test())


def test_post_is_refused_when_there_are_too_many(house: House) -> None:
    """429, and when to come again."""

    async def test() -> None:
        async with house.open(most_waits=1), house.client() as client:
            answer = await client.post("/v1/waits", json=["a", "b"])
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")

    run(test())


def test_get_shows_all_or_those_asked_for(house: House) -> None:
    """By ID, by status; an unknown ID is left out of a list."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            await house.settle()
            house.puppet.finish("b")
            await house.settle()

            async def ids(query: str) -> list[str]:
                return [wait["id"] for wait in (await client.get(f"/v1/waits?{query}")).json()["waits"]]

            asked = {query: await ids(query) for query in ("", "id=b&id=x", "status=waiting", "status=failed&id=a")}
            assert asked == {"": ["a", "b"], "id=b&id=x": ["b"], "status=waiting": ["a"], "status=failed&id=a": []}
            wrong = await client.get("/v1/waits?status=lost")
            assert (wrong.status_code, wrong.json()["error"][:27]) == (400, "status is one of waiting, f")
            assert (await client.get("/v1/waits/a")).json() == NEW

    run(test())


@pytest.mark.parametrize("path", ["/v1/waits/a?wait=5s", "/v1/waits?wait=5s", "/v1/waits?id=a&wait=5s"])
def test_a_long_poll_is_answered_at_the_end(house: House, path: str) -> None:
    """Neither before nor much later."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await client.post("/v1/waits", json="a")
            await house.settle()
            asking = asyncio.create_task(client.get(path))
            await house.settle()
            assert not asking.done()
            house.puppet.finish("a")
            said = (await asking).json()
            assert said.get("waits", [said])[0]["status"] == "finished"

    run(test())


def test_a_long_poll_is_answered_when_the_time_is_up(house: House) -> None:
    """With the wait as it is; a time that is none is refused."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await client.post("/v1/waits", json="a")
            assert (await client.get("/v1/waits/a?wait=0.01s")).json() == NEW
            wrong = await client.get("/v1/waits/a?wait=soon")
            assert wrong.status_code == 400
            assert wrong.json()["error"] == "wait is not a duration: 'soon' (write 90, 90s, 30m, 1h30m or none)"
            unknown = await client.get("/v1/waits/b?wait=5s")
            assert (unknown.status_code, unknown.json()) == (404, {"error": "no such wait"})

    run(test())


def test_delete_forgets_a_wait(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """204, and 404 from then on; 409 for one of the command line, 507 when the disk does not take it."""

    async def test() -> None:
        async with house.open(given=["g"]), house.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            codes = [(await client.delete(f"/v1/waits/{wait_id}")).status_code for wait_id in ("a", "a", "g")]

            async def refuse(*_: object) -> None:
                raise StorageError

            monkeypatch.setattr(house.journal, "write", refuse)
            codes.append((await client.delete("/v1/waits/b")).status_code)
            assert codes == [204, 404, 409, 507]

    run(test())


@pytest.mark.parametrize(
    ("last", "heard"),
    [("0", [1, 2, 3]), ("2", [3]), ("", [3]), ("-1", [3]), ("٣", [3]), ("9" * 19, [3]), ("99", [0, 1, 2, 3])],
)
def test_events_begin_after_the_last_one_heard(house: House, last: str, heard: list[int]) -> None:
    """What is no number asks for nothing of the past."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await client.post("/v1/waits", json=["a", "b"])
            headers = [(b"Last-Event-ID", last.encode())] if last else []
            asking = asyncio.create_task(client.get("/v1/events", headers=headers))
            await house.settle()
            await client.delete("/v1/waits/a")
            await house.settle()
            house.stream.close()
            answer = await asking
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert [number for number, *_ in events_in(answer.text)] == heard

    run(test())


def test_an_event_is_named_and_has_its_data(house: House) -> None:
    """``event:`` is its name, ``data:`` its JSON."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await client.post("/v1/waits", json="a")
            asking = asyncio.create_task(client.get("/v1/events", headers={"Last-Event-ID": "0"}))
            await house.settle()
            house.stream.close()
            said = {"task_id": "a", "at": "2027-01-15T08:00:00.000Z"}
            assert events_in((await asking).text) == [(1, "wait.accepted", said)]

    run(test())


def test_open_requests_are_bounded(house: House) -> None:
    """So many streams and so many long polls, then 503; each gives its place back."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            await client.post("/v1/waits", json="a")
            paths = ["/v1/events"] * 257 + ["/v1/waits?wait=30s"] * 257
            asking = [asyncio.create_task(client.get(path)) for path in paths]
            await house.settle()
            full = [one.result() for one in asking if one.done()]
            assert [answer.status_code for answer in full] == [503, 503]
            assert full[0].json() == {"error": "too many requests are open already"}
            assert full[0].headers["retry-after"] == "5"
            house.stream.close()
            assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200, 503}
            assert (await client.get("/v1/events")).status_code == 200

    run(test())


@pytest.mark.parametrize(
    ("path", "kind", "begins"),
    [("/", "text/html", "<!doctype html>"), ("/page.css", "text/css", ":root {"), ("/page.js", "text/javascript", "import {")],
)
def test_the_page_is_served(house: House, path: str, kind: str, begins: str) -> None:
    """Its files, under a policy that lets nothing else in."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            answer = await client.get(path)
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
            assert answer.text.startswith(begins)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy

    run(test())


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/v2", 404), ("GET", "/v1/waits/", 404), ("PUT", "/v1/waits", 405), ("POST", "/", 405)]
)
def test_there_is_nothing_else(house: House, method: str, path: str, code: int) -> None:
    """No redirect, no surprise."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            assert (await client.request(method, path)).status_code == code

    run(test())
