"""Listings of tasks: the past tasks of a type, and pages of the active tasks."""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any, cast

import msgspec

from waiter.api.responses import Response, error_of, invalid_response, quote
from waiter.task import Task

# A listing that counts more tasks than this is malformed.
MAX_COUNT = 10**9


class ActiveTask(msgspec.Struct, frozen=True, gc=False):
    """The fields of a listed task that tell whether it is still running."""

    id: str
    state: str
    detailed_state: str | None = None


class ActivePage:
    """A page of the listing of active tasks: its ``tasks``, their ``count`` on all pages, and its ``size`` in bytes."""

    def __init__(self, body: bytes) -> None:
        """Decode a page; raises ValueError."""
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
