"""Any HTTP response of the API as a value or exactly one error, without I/O.

Source: the public description of ``GET /cloud/v1/tasks/{task_id}`` and ``GET /cloud/v1/tasks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus

import msgspec

from waiter import errors
from waiter.task import Task, decode_task

# RFC 9110, 15.5.9 and 15.5.30, and RFC 8470 for 425: the client may repeat the request later, as after every 5xx.
_RETRYABLE = {408, 425, 429}
_MAX_QUOTE = 300


class Response(msgspec.Struct, frozen=True):
    """An HTTP response: ``headers`` has lower-case names, ``body`` is decoded of its transfer and content codings.

    ``mask`` hides the API key in text of the response that an error quotes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    mask: Callable[[str], str] = str


def read_task(response: Response, task_id: str) -> Task:
    """Return the task that was asked for. Raises ApiError for any other response."""
    if response.status != HTTPStatus.OK:
        raise error_of(response, task_id)
    try:
        task = decode_task(response.body)
    except (ValueError, RecursionError) as error:
        raise invalid_response(response, f"{error}: {quote(response.body)}", task_id) from None
    if task.id != task_id and task.id.lower() != task_id.lower():
        raise invalid_response(response, f"it describes task {one_line(task.id)}", task_id)
    return task if task.error is None else mask_error(task, response)


def mask_error(task: Task, response: Response) -> Task:
    """Return the task without the API key in its error: the body keeps a short key, which may be a valid value elsewhere."""
    if task.error is None or (masked := response.mask(task.error)) == task.error:
        return task
    return msgspec.structs.replace(task, error=masked)


def error_of(response: Response, subject: str, *, what: str = "task") -> errors.ApiError:
    """Return the error that a response with a status other than 200 means; ``subject`` names ``what`` was asked for."""
    if 200 <= response.status < 400:  # noqa: PLR2004 - the classes of RFC 9110, section 15
        return invalid_response(response, _unexpected_status(response), subject)
    problem = _decode_problem(response.body)
    kind, meaning = _meaning(response.status, what)
    why = one_line(" ".join(filter(None, [problem.exception_class, problem.message]))) or quote(response.body)
    return kind(
        f"{meaning}: {response.mask(why)} ({subject})",
        status=response.status,
        request_id=problem.request_id or response.headers.get("x-request-id"),
        url=response.url,
        retry_after=read_retry_after(response.headers),
    )


def _meaning(status: int, what: str) -> tuple[type[errors.ApiError], str]:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return errors.AuthenticationError, "the API key was rejected (401)"
        case HTTPStatus.FORBIDDEN:
            return errors.PermissionDeniedError, "permission denied (403)"
        case HTTPStatus.NOT_FOUND:
            return errors.TaskNotFoundError, f"no such {what} for this account (404)"
        case _ if status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return errors.ApiUnavailableError, f"the API returned {status}"
        case _:
            return errors.ApiError, f"the API returned {status}"


def invalid_response(response: Response, why: str, subject: str) -> errors.InvalidResponseError:
    """Return the error for a response that contradicts the API's description."""
    return errors.InvalidResponseError(
        f"invalid response: {response.mask(why)} ({subject})",
        status=response.status,
        request_id=response.headers.get("x-request-id"),
        url=response.url,
        retry_after=read_retry_after(response.headers),
    )


def _unexpected_status(response: Response) -> str:
    target = response.headers.get("location")
    if target is None:
        return f"HTTP {response.status}"
    return f"it redirects to {one_line(target)}, but the API key is sent to the configured host only"


class _Problem(msgspec.Struct):
    exception_class: str | None = None
    message: str | None = None
    request_id: str | None = None


def _decode_problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (ValueError, RecursionError):
        return _Problem()


def quote(body: bytes) -> str:
    """Return the beginning of a body as a quoted line of text."""
    text = one_line(body[: 4 * _MAX_QUOTE].decode(errors="replace"))
    return f"{text!r}" if text else "an empty body"


def one_line(text: str) -> str:
    """Return text from outside as one line of limited length without control characters, for logs and terminals."""
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_QUOTE])
    line = " ".join(printable.split())
    return line if len(line) <= _MAX_QUOTE else f"{line[:_MAX_QUOTE]}..."


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return Retry-After, seconds or a date, as seconds after the response; None when it is absent, malformed or past.

    A date is compared with the response's own Date (RFC 9110, 10.2.3), so that the two clocks need not agree; only for a
    response without Date, it is compared with the local clock.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12]) or None
    until = parse_date(text)
    if until is None:
        return None
    responded_at = read_date(headers) or datetime.now(UTC)
    return max(0.0, (until - responded_at).total_seconds()) or None


def read_date(headers: Mapping[str, str]) -> datetime | None:
    """Return the server's time, whole seconds, from the Date header; None when it is absent or malformed."""
    return parse_date(headers.get("date", ""))


@lru_cache(maxsize=8)  # many responses arrive within one second
def parse_date(text: str) -> datetime | None:
    """Return the time in a header as RFC 9110, 5.6.7, writes it; None when it is malformed."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # RFC 5322: "-0000" is UTC without a known local zone, which Python returns as a naive time.
    return date if date.tzinfo else date.replace(tzinfo=UTC)
