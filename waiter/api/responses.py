"""The API without its network: what to ask, and any answer turned into a value or exactly one error.

Source: the public description of ``GET /cloud/v1/tasks/{task_id}`` and ``GET /cloud/v1/tasks``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import Annotated, Any, cast
from urllib.parse import urlencode

import msgspec

from waiter import errors
from waiter.task import Task, TaskState, decode_task

TASKS_PATH = "/cloud/v1/tasks"
_TASK_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
# RFC 9110, 15.5.9 and 15.5.30 and RFC 8470 for 425: each asks to come back later, as every 5xx does.
_COME_BACK_LATER = {408, 425, 429}
_LONGEST_QUOTE = 300
# A listing that counts more of them is wrong.
MOST_TASKS = 10**9


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer: ``headers`` has lower-case names, ``body`` is decoded of its transfer and content codings."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


def task_path(task_id: str) -> str:
    """Give the path that shows one task."""
    return f"{TASKS_PATH}/{task_id}"


def past_path(task_type: str, *, limit: int) -> str:
    """Give the path that lists the newest tasks of a type; ``limit`` is 1 to 1000."""
    return f"{TASKS_PATH}?{urlencode({'task_type': task_type, 'order_by': 'desc', 'limit': limit})}"


def active_path(*, limit: int, offset: int) -> str:
    """Give the path that lists a part of the tasks that have not ended, newest first; ``limit`` is 1 to 1000."""
    states = [("state", state.value) for state in (TaskState.NEW, TaskState.RUNNING)]
    return f"{TASKS_PATH}?{urlencode([*states, ('limit', limit), ('offset', offset)])}"


def is_task_id(text: object) -> bool:
    """Whether this can be a task's ID; the description says string, and real ones are UUIDs."""
    return isinstance(text, str) and _TASK_ID.fullmatch(text) is not None


def read_task(answer: Answer, task_id: str) -> Task:
    """Read the task that was asked for; raises one ApiError for any other answer."""
    _raise_for_status(answer, task_id)
    try:
        task = decode_task(answer.body)
    except (ValueError, RecursionError) as error:
        raise _invalid(answer, f"{error}: {_quoted(answer.body)}", task_id) from None
    if task.id.lower() != task_id.lower():
        raise _invalid(answer, f"it is the answer for task {_one_line(task.id)}", task_id)
    return task


def read_past(answer: Answer, task_type: str) -> list[Task]:
    """Read a listing of one type, newest first as it was asked for; raises one ApiError for any other answer."""
    _raise_for_status(answer, "listing")
    try:
        listing = msgspec.json.decode(answer.body, type=_Listing)
        tasks = [Task.from_mapping(said) for said in listing.results]
    except (ValueError, RecursionError) as error:
        raise _invalid(answer, f"{error}: {_quoted(answer.body)}", "listing") from None
    # A server or a proxy that does not know the parameter lists tasks of every type.
    return [task for task in tasks if task.task_type in {None, task_type}]


class Active(msgspec.Struct, frozen=True, gc=False):
    """As much of a task as tells whether it goes on."""

    id: str
    state: str
    detailed_state: str | None = None


class ActivePage:
    """A page of a listing: its ``tasks``, their ``count`` on all pages, and the ``size`` of this one in bytes."""

    def __init__(self, said: bytes) -> None:
        page = _decode_page(said)
        self.tasks, self.count, self.size = page.results, page.count, len(said)
        self._said = said

    @cached_property
    def bodies(self) -> list[bytes]:
        """The JSON of each task; hardly any is asked for."""
        return cast("list[bytes]", _decode_bodies(self._said).results)


def read_active(answer: Answer) -> ActivePage:
    """Read a page of the listing of tasks that go on; raises one ApiError for any other answer."""
    _raise_for_status(answer, "listing")
    try:
        return ActivePage(answer.body)
    except (ValueError, RecursionError) as error:
        raise _invalid(answer, f"{error}: {_quoted(answer.body)}", "listing") from None


class _Listing(msgspec.Struct):
    count: int
    results: list[dict[str, Any]]


class _Page(msgspec.Struct, gc=False):
    count: Annotated[int, msgspec.Meta(ge=0, le=MOST_TASKS)]
    results: list[Active]


class _Bodies(msgspec.Struct, gc=False):
    results: list[msgspec.Raw]


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_bodies = msgspec.json.Decoder(_Bodies).decode


def _raise_for_status(answer: Answer, subject: str) -> None:
    if answer.status == HTTPStatus.OK:
        return
    if 200 <= answer.status < 400:  # noqa: PLR2004 - the classes of RFC 9110, section 15
        raise _invalid(answer, _elsewhere(answer), subject)
    said = _read_problem(answer.body)
    kind, what = _meaning(answer.status)
    why = _one_line(" ".join(filter(None, [said.exception_class, said.message]))) or _quoted(answer.body)
    message = f"{what}: {why} ({subject})"
    raise kind(
        message,
        status=answer.status,
        request_id=said.request_id or answer.headers.get("x-request-id"),
        url=answer.url,
        retry_after=read_retry_after(answer.headers),
    )


def _meaning(status: int) -> tuple[type[errors.ApiError], str]:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return errors.AuthenticationError, "the API key is not accepted (401)"
        case HTTPStatus.FORBIDDEN:
            return errors.PermissionDeniedError, "the API refuses this (403)"
        case HTTPStatus.NOT_FOUND:
            return errors.TaskNotFoundError, "no such task for this account (404)"
        case _ if status in _COME_BACK_LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return errors.ApiUnavailableError, f"the API answers {status}"
        case _:
            return errors.ApiError, f"the API answers {status}"


def _invalid(answer: Answer, why: str, subject: str) -> errors.InvalidResponseError:
    return errors.InvalidResponseError(
        f"not what the API describes: {why} ({subject})",
        status=answer.status,
        request_id=answer.headers.get("x-request-id"),
        url=answer.url,
        retry_after=read_retry_after(answer.headers),
    )


def _elsewhere(answer: Answer) -> str:
    target = answer.headers.get("location")
    if target is None:
        return f"HTTP {answer.status}"
    return f"it redirects to {_one_line(target)}, and the key goes to the configured host only"


class _Problem(msgspec.Struct):
    exception_class: str | None = None
    message: str | None = None
    request_id: str | None = None


def _read_problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (ValueError, RecursionError):
        return _Problem()


def _quoted(body: bytes) -> str:
    text = _one_line(body[: 4 * _LONGEST_QUOTE].decode(errors="replace"))
    return f"{text!r}" if text else "an empty body"


def _one_line(text: str) -> str:
    """Make foreign text fit for a log line and a terminal: one line, no control characters, not endless."""
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST_QUOTE])
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_QUOTE else f"{shown[:_LONGEST_QUOTE]}..."


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After, seconds or a date, as seconds from the answer on; garbage and the past are None.

    A date is held against the answer's own Date (RFC 9110, 10.2.3), so that our clock need not agree with the server's; only an
    answer without one is held against our clock.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12]) or None
    until = _date(text)
    if until is None:
        return None
    said_at = read_date(headers) or datetime.now(UTC)
    return max(0.0, (until - said_at).total_seconds()) or None


def read_date(headers: Mapping[str, str]) -> datetime | None:
    """Read the server's time, whole seconds, from the Date header; None when it gives none that can be read."""
    return _date(headers.get("date", ""))


@lru_cache(maxsize=8)  # many answers come within one second
def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # RFC 5322: "-0000" means UTC with nothing known of the place, and Python makes it naive.
    return date if date.tzinfo else date.replace(tzinfo=UTC)
