"""Any response becomes a value or exactly one error."""

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
from waiter.api.responses import Response, one_line, read_date, read_retry_after, read_task

URL = "https://api.gcore.com/cloud/v1/tasks/t-1"


TASK = b'{"id": "t-1", "state": "NEW", "task_type": "create_vm"}'


DATE = "Wed, 01 Jul 2026 12:00:00 GMT"


def respond(status: int = 200, body: bytes = TASK, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, URL)


def test_task_is_read_and_ids_ignore_case() -> None:
    """A response with the ID that was asked for is that task."""
    assert read_task(respond(), "T-1") == Task.from_mapping(json.loads(TASK))


def test_key_in_the_error_of_a_task_is_masked() -> None:
    """Nothing else in the task is."""
    body = b'{"id": "t-1", "state": "ERROR", "error": "%s", "task_type": "hunter2"}'
    for error, masked in ((b"denied: hunter2", "denied: ***"), (b"denied", "denied")):
        response = Response(200, {}, body % error, URL, mask=lambda text: text.replace("hunter2", "***"))
        task = read_task(response, "t-1")
        assert (task.error, task.task_type) == (masked, "hunter2")


def test_line_of_outside_text_has_300_characters_at_most() -> None:
    """What is longer is cut, and says so."""
    assert [one_line("x" * length) for length in (299, 300, 301)] == ["x" * 299, "x" * 300, "x" * 300 + "..."]


PROBLEM = json.dumps({"exception_class": "Oops", "message": "It\nbroke\x1b[31m", "request_id": "r-1"}).encode()


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (respond(401, PROBLEM), AuthenticationError, "the API key was rejected (401): Oops It broke [31m (t-1)"),
        (respond(403, PROBLEM), PermissionDeniedError, "permission denied (403): Oops It broke [31m (t-1)"),
        (respond(404, PROBLEM), TaskNotFoundError, "no such task for this account (404): Oops It broke [31m (t-1)"),
        (respond(400, PROBLEM), ApiError, "the API returned 400: Oops It broke [31m (t-1)"),
        (respond(503, PROBLEM), ApiUnavailableError, "the API returned 503: Oops It broke [31m (t-1)"),
        (respond(429, b'{"message": 7}'), ApiUnavailableError, "the API returned 429: '{\"message\": 7}' (t-1)"),
        (respond(502, b"<html>\n<b>Bad"), ApiUnavailableError, "the API returned 502: '<html> <b>Bad' (t-1)"),
        (respond(500, b""), ApiUnavailableError, "the API returned 500: an empty body (t-1)"),
        (respond(500, b"x" * 400), ApiUnavailableError, f"the API returned 500: '{'x' * 300}...' (t-1)"),
        (respond(204, b""), InvalidResponseError, "invalid response: HTTP 204 (t-1)"),
        (
            respond(301, b"", location="http://evil/\x00"),
            InvalidResponseError,
            "invalid response: it redirects to http://evil/, but the API key is sent to the configured host only (t-1)",
        ),
        (
            respond(200, b"<html>"),
            InvalidResponseError,
            "invalid response: JSON is malformed: invalid character (byte 0): '<html>' (t-1)",
        ),
        (
            respond(200, TASK.replace(b"t-1", b"t-2")),
            InvalidResponseError,
            "invalid response: it describes task t-2 (t-1)",
        ),
        (
            respond(200, b"[" * 100_000),
            InvalidResponseError,
            (f"invalid response: maximum recursion depth exceeded while deserializing an object: '{'[' * 300}...' (t-1)"),
        ),
    ],
)
def test_every_other_response_is_one_error(given: Response, error: type[ApiError], text: str) -> None:
    """The message says what happened and why in one printable line."""
    with pytest.raises(ApiError) as caught:
        read_task(given, "t-1")
    assert (type(caught.value), str(caught.value)) == (error, text)
    assert (caught.value.status, caught.value.url) == (given.status, URL)


def test_error_carries_the_request_id() -> None:
    """The ID of the request comes from the body, else from the headers."""
    headers = {"x_request_id": "h-1", "retry_after": "7"}
    for body, request_id in ((PROBLEM, "r-1"), (b"", "h-1")):
        with pytest.raises(ApiError) as caught:
            read_task(respond(500, body, **headers), "t-1")
        assert (caught.value.request_id, caught.value.retry_after) == (request_id, 7.0)


def test_invalid_response_carries_retry_after() -> None:
    """Retry-After counts on any response, such as a proxy's page."""
    with pytest.raises(InvalidResponseError) as caught:
        read_task(respond(body=b"<html>", retry_after="7"), "t-1")
    assert caught.value.retry_after == 7.0


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
def test_retry_after_is_seconds_after_the_response(text: str, seconds: float | None) -> None:
    """A date is compared with the Date of the response; malformed and past values are None."""
    assert read_retry_after({"retry-after": text, "date": DATE}) == seconds


@freeze_time("2026-07-01 12:00:10")
def test_retry_after_without_a_date_uses_the_local_clock() -> None:
    """The local clock counts only when the server does not send its time."""
    assert read_retry_after({"retry-after": "Wed, 01 Jul 2026 12:00:30 GMT"}) == 20.0


numbers = st.integers(0, 23) | st.integers(0, 10**30)


dates = st.builds(
    "{}, {:02} Jan {:04} {:02}:{:02}:00 {}{:04}".format, st.just("Mon"), *[numbers] * 4, st.sampled_from("+-"), numbers
)


@given(st.text(max_size=40) | dates)
def test_no_header_raises(text: str) -> None:
    """Any text in a header is a value or None."""
    seconds = read_retry_after({"retry-after": text, "date": text})
    assert seconds is None or seconds > 0
    read_date({"date": text})


@given(st.integers(100, 599), st.binary(max_size=60))
def test_any_response_is_a_task_or_one_error(status: int, body: bytes) -> None:
    """No response raises anything but ApiError."""
    try:
        outcome: Task | ApiError = read_task(respond(status, body), "t-1")
    except ApiError as error:
        outcome = error
    assert getattr(outcome, "id", "t-1") == "t-1"
    assert getattr(outcome, "status", status) == status
