"""Any answer becomes a value or exactly one error."""

from __future__ import annotations

import json

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from waiter import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    InvalidResponseError,
    PermissionDeniedError,
    Task,
    TaskNotFoundError,
)
from waiter.api.responses import Answer, is_task_id, past_path, read_date, read_past, read_retry_after, read_task, task_path

URL = "https://api.gcore.com/cloud/v1/tasks/t-1"
TASK = b'{"id": "t-1", "state": "NEW", "task_type": "create_vm"}'
DATE = "Wed, 01 Jul 2026 12:00:00 GMT"


def answer(status: int = 200, body: bytes = TASK, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, URL)


def test_the_paths_are_those_of_the_description() -> None:
    """No project and no region: task IDs are global."""
    assert task_path("t-1") == "/cloud/v1/tasks/t-1"
    assert past_path("create_vm&x", limit=100) == "/cloud/v1/tasks?task_type=create_vm%26x&order_by=desc&limit=100"


@pytest.mark.parametrize("text", ["26986bc0-748a-4448-b836-0a2aa465eb06", "a", "A.b_c-9", "9" * 128])
def test_task_ids(text: str) -> None:
    """UUIDs, and whatever else is safe in a path."""
    assert is_task_id(text)


@pytest.mark.parametrize("text", ["", "a b", "../x", ".", "-x", "a/b", "a?b", "a\n", "{a}", "é", "9" * 129, None, 7])
def test_what_cannot_be_a_task_id(text: object) -> None:
    """Nothing that would change the path, and nothing that is not one word."""
    assert not is_task_id(text)


def test_a_task_is_read() -> None:
    """200 with the task that was asked for is that task; IDs do not differ by their case."""
    assert read_task(answer(), "T-1") == Task.from_mapping(json.loads(TASK))


PROBLEM = json.dumps({"exception_class": "Oops", "message": "It\nbroke\x1b[31m", "request_id": "r-1"}).encode()


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (answer(401, PROBLEM), AuthenticationError, "the API key is not accepted (401): Oops It broke [31m (t-1)"),
        (answer(403, PROBLEM), PermissionDeniedError, "the API refuses this (403): Oops It broke [31m (t-1)"),
        (answer(404, PROBLEM), TaskNotFoundError, "no such task for this account (404): Oops It broke [31m (t-1)"),
        (answer(400, PROBLEM), ApiError, "the API answers 400: Oops It broke [31m (t-1)"),
        (answer(503, PROBLEM), ApiUnavailableError, "the API answers 503: Oops It broke [31m (t-1)"),
        (answer(429, b'{"message": 7}'), ApiUnavailableError, "the API answers 429: '{\"message\": 7}' (t-1)"),
        (answer(502, b"<html>\n<b>Bad"), ApiUnavailableError, "the API answers 502: '<html> <b>Bad' (t-1)"),
        (answer(500, b""), ApiUnavailableError, "the API answers 500: an empty body (t-1)"),
        (answer(500, b"x" * 400), ApiUnavailableError, f"the API answers 500: '{'x' * 300}...' (t-1)"),
        (answer(204, b""), InvalidResponseError, "not what the API describes: HTTP 204 (t-1)"),
        (
            answer(301, b"", location="http://evil/\x00"),
            InvalidResponseError,
            "not what the API describes: it redirects to http://evil/, and the key goes to the configured host only (t-1)",
        ),
        (
            answer(200, b"<html>"),
            InvalidResponseError,
            "not what the API describes: JSON is malformed: invalid character (byte 0): '<html>' (t-1)",
        ),
        (
            answer(200, TASK.replace(b"t-1", b"t-2")),
            InvalidResponseError,
            "not what the API describes: it is the answer for task t-2 (t-1)",
        ),
        (
            answer(200, b"[" * 100_000),
            InvalidResponseError,
            (
                "not what the API describes: maximum recursion depth exceeded while deserializing an object: "
                f"'{'[' * 300}...' (t-1)"
            ),
        ),
    ],
)
def test_every_other_answer_is_one_error(given: Answer, error: type[ApiError], text: str) -> None:
    """The error says what and why, in one printable line."""
    with pytest.raises(ApiError) as caught:
        read_task(given, "t-1")
    assert (type(caught.value), str(caught.value)) == (error, text)
    assert (caught.value.status, caught.value.url) == (given.status, URL)


def test_an_error_carries_what_support_asks_for() -> None:
    """The request's ID comes from the body, else from the headers."""
    headers = {"x_request_id": "h-1", "retry_after": "7"}
    for body, request_id in ((PROBLEM, "r-1"), (b"", "h-1")):
        with pytest.raises(ApiError) as caught:
            read_task(answer(500, body, **headers), "t-1")
        assert (caught.value.request_id, caught.value.retry_after) == (request_id, 7.0)


def test_a_wrong_answer_can_ask_for_patience_too() -> None:
    """A proxy's page with Retry-After is as good as a status with it."""
    with pytest.raises(InvalidResponseError) as caught:
        read_task(answer(body=b"<html>", retry_after="7"), "t-1")
    assert caught.value.retry_after == 7.0


def test_a_listing_is_read() -> None:
    """The tasks come in the order of the listing."""
    body = json.dumps({"count": 2, "results": [{"id": "b", "state": "NEW"}, {"id": "a", "state": "ERROR"}]}).encode()
    assert [task.id for task in read_past(answer(body=body), "create_vm")] == ["b", "a"]


def test_a_listing_is_of_one_type() -> None:
    """What a server lists that does not know the parameter teaches nothing about this type."""
    rows = [{"id": kind or "-", "state": "FINISHED", "task_type": kind} for kind in ("delete_vm", "create_vm", None)]
    body = json.dumps({"count": 3, "results": rows}).encode()
    assert [task.id for task in read_past(answer(body=body), "create_vm")] == ["create_vm", "-"]


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"count": 1, "results": [{}]}', b'{"count": 1, "results": null}'])
def test_a_malformed_listing_is_one_error(body: bytes) -> None:
    """A listing is read whole or not at all."""
    with pytest.raises(InvalidResponseError, match=r"not what the API describes: .* \(listing\)"):
        read_past(answer(body=body), "create_vm")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", None),
        ("-7", None),
        ("7.5", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("Wed, 01 Jul 2026 12:00:30 GMT", 30.0),
        ("Wed, 01 Jul 2026 12:00:30 -0000", 30.0),
        ("Wed, 01 Jul 2026 14:00:30 +0200", 30.0),
        ("Wed, 01 Jul 2026 11:00:00 GMT", None),
        ("Wed, 99 Jul 2026 11:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Wed, 01 Jul 2026 12:00:30 +99999999999999999999", None),
        ("9" * 5000, 999_999_999_999.0),
    ],
)
def test_retry_after_is_seconds_from_the_answer_on(text: str, seconds: float | None) -> None:
    """Seconds, or a date against the answer's own Date; garbage and the past are nothing."""
    assert read_retry_after({"retry-after": text, "date": DATE}) == seconds


@freeze_time("2026-07-01 12:00:10")
def test_a_retry_after_without_a_date_is_held_against_our_clock() -> None:
    """Only where the server does not say what time it is."""
    assert read_retry_after({"retry-after": "Wed, 01 Jul 2026 12:00:30 GMT"}) == 20.0


numbers = st.integers(0, 23) | st.integers(0, 10**30)
dates = st.builds(
    "{}, {:02} Jan {:04} {:02}:{:02}:00 {}{:04}".format, st.just("Mon"), *[numbers] * 4, st.sampled_from("+-"), numbers
)


@given(st.text(max_size=40) | dates)
def test_any_header_is_survived(text: str) -> None:
    """No header can raise."""
    seconds = read_retry_after({"retry-after": text, "date": text})
    assert seconds is None or seconds > 0
    read_date({"date": text})


@given(st.integers(100, 599), st.binary(max_size=60))
def test_any_answer_is_a_task_or_one_error(status: int, body: bytes) -> None:
    """Nothing but ApiError ever comes out."""
    try:
        outcome: Task | ApiError = read_task(answer(status, body), "t-1")
    except ApiError as error:
        outcome = error
    assert getattr(outcome, "id", "t-1") == "t-1"
    assert getattr(outcome, "status", status) == status
