"""Listings of tasks: the past tasks of a type, pages of the active tasks, and whole tasks that a filter selects."""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, cast

import msgspec

from waiter.api.responses import Response, error_of, invalid_response, mask_error, one_line, quote
from waiter.errors import InvalidResponseError
from waiter.task import Task, TaskSnapshot, is_task_id

# A listing that counts more tasks than this is malformed.
MAX_COUNT = 10**9
# The API gives up to 1000 tasks a page. Half of that leaves room for tasks whose data is large.
MAX_PAGE = 500
MAX_REQUESTS = 200
# Decoded, a value takes about a hundred bytes; honest pages have fewer. Counting takes time, so small bodies are exempt.
MAX_VALUES = 250_000
_MAX_UNCOUNTED = 2**20


class ActiveTask(msgspec.Struct, frozen=True, gc=False):
    """The fields of a listed task that tell whether it is still running."""

    id: str
    state: str
    detailed_state: str | None = None


class ActivePage:
    """A page of the listing of active tasks: its ``tasks``, their ``count`` on all pages, and its ``size`` in bytes."""

    def __init__(self, body: bytes) -> None:
        """Decode a page; raises ValueError."""
        _check_values(body)
        page = _decode_page(body)
        self.tasks, self.count, self.size = page.results, page.count, len(body)
        self._body = body

    @cached_property
    def bodies(self) -> list[bytes]:
        """The JSON of each task, decoded on first use, because most pages are never asked for it."""
        return cast("list[bytes]", _decode_bodies(self._body).results)


def read_history(response: Response, task_type: str) -> list[Task]:
    """Return the tasks of one type in the order of the listing, newest first. Raises ApiError."""
    if response.status != HTTPStatus.OK:
        raise error_of(response, "listing")
    try:
        _check_values(response.body)
        listing = _decode_listing(response.body)
        tasks = [Task.from_mapping(payload) for payload in listing.results]
    except (ValueError, RecursionError) as error:
        raise invalid_response(response, f"{error}: {quote(response.body)}", "listing") from None
    # A server or a proxy that does not know the parameter lists tasks of every type.
    return [task for task in tasks if task.task_type in {None, task_type}]


def read_active(response: Response) -> ActivePage:
    """Return a page of the listing of active tasks. Raises ApiError."""
    if response.status != HTTPStatus.OK:
        raise error_of(response, "listing")
    try:
        return ActivePage(response.body)
    except (ValueError, RecursionError) as error:
        raise invalid_response(response, f"{error}: {quote(response.body)}", "listing") from None


class TaskPage(NamedTuple):
    """A page of whole tasks, and their number on all pages."""

    snapshots: list[TaskSnapshot]
    total: int


class TaskListing:
    """The newest tasks of a listing, up to ``limit``, read page by page.

    A task that ends leaves the listing of the active tasks, and all older ones move up by one place. So each page begins with
    the last task of the one before, and if it has no task that is known, the page before it is requested again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: dict[str, TaskSnapshot] = {}
        self._requests = 0
        self.offset = 0
        self.is_complete = limit <= 0

    @property
    def page_size(self) -> int:
        """How many tasks to request; one of them is known already, except on the first page."""
        return min(MAX_PAGE, self._limit - len(self._found) + 1)

    @property
    def snapshots(self) -> list[TaskSnapshot]:
        """The tasks so far, newest first, each once."""
        return list(self._found.values())[: self._limit]

    def add(self, page: TaskPage) -> None:
        """Add the page at ``offset``, and choose the next. Raises InvalidResponseError if the listing has no end."""
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            message = f"invalid response: more than {MAX_REQUESTS} pages (listing)"
            raise InvalidResponseError(message)
        if self.offset and not any(one.task.id in self._found for one in page.snapshots):
            self.offset = max(0, self.offset - MAX_PAGE)
            return
        self._found |= {one.task.id: one for one in page.snapshots}
        self.offset += len(page.snapshots)
        self.is_complete = self.offset >= page.total or len(self._found) >= self._limit
        self.offset = max(0, self.offset - 1)


def read_page(response: Response) -> tuple[list[Task], int]:
    """Return a page of whole tasks in the order of the listing, and their number on all pages. Raises ApiError."""
    if response.status == HTTPStatus.NOT_FOUND:  # no task was asked for that could be missing
        raise invalid_response(response, f"HTTP 404: {quote(response.body)}", "listing")
    if response.status != HTTPStatus.OK:
        raise error_of(response, "listing")
    try:
        _check_values(response.body)
        listing = _decode_listing(response.body)
        tasks = [mask_error(Task.from_mapping(payload), response) for payload in listing.results]
    except (ValueError, RecursionError) as error:
        raise invalid_response(response, f"{error}: {quote(response.body)}", "listing") from None
    # They are shown, and become a part of paths.
    if bad := [task.id for task in tasks if not is_task_id(task.id)]:
        raise invalid_response(response, f"not a task ID: {one_line(bad[0])!r}", "listing")
    return tasks, listing.count


def _check_values(body: bytes) -> None:
    """Raise ValueError for a body whose values would take too much memory; each follows one of these characters."""
    if len(body) > _MAX_UNCOUNTED and sum(map(body.count, (b",", b":", b"[", b"{"))) > MAX_VALUES:
        message = f"more than {MAX_VALUES} values"
        raise ValueError(message)


class _Listing(msgspec.Struct):
    count: int
    results: list[dict[str, Any]]


class _Page(msgspec.Struct, gc=False):
    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
    results: list[ActiveTask]


class _Bodies(msgspec.Struct, gc=False):
    results: list[msgspec.Raw]


_decode_listing = msgspec.json.Decoder(_Listing).decode
_decode_page = msgspec.json.Decoder(_Page).decode
_decode_bodies = msgspec.json.Decoder(_Bodies).decode
