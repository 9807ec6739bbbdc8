"""The queries of requests: which waits they select, and which page of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from waiter.outcome import WaitStatus
from waiter.sidecar.model import Wait
from waiter.sidecar.web import durations
from waiter.sidecar.web.access_control import RequestRefusedError

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

MAX_PAGE_SIZE = 1000
MAX_LONG_POLL = 300.0
_INVALID = HTTPStatus.BAD_REQUEST
_CURSOR = re.compile(r"(\d{1,17}(?:\.\d{1,17})?)~(.+)", re.ASCII)
_LIMIT = re.compile(r"\d{1,9}", re.ASCII)
_REPEATABLE = {"id", "status", "task_type"}


class Position(NamedTuple):
    """The place of a wait in the order of pages, which is that of acceptance."""

    accepted_at: float
    id: str

    @classmethod
    def of(cls, wait: Wait) -> Position:
        """Return the position of a wait."""
        return cls(wait.accepted_at, wait.id)

    def __str__(self) -> str:
        return f"{self.accepted_at!r}~{self.id}"


class WaitQuery(NamedTuple):
    """The query of ``GET /v1/waits``: the selected waits, and the page of them, if ``limit`` is given."""

    ids: Sequence[str] = ()
    statuses: frozenset[str] = frozenset()
    task_types: frozenset[str] = frozenset()
    changed_since: float = -inf
    limit: int | None = None
    after: Position | None = None

    def candidates(self, waits: Mapping[str, Wait]) -> Iterable[Wait]:
        """Return the waits with the given IDs, or all. Raises RequestRefusedError when an ID is unknown."""
        unknown = [wait_id for wait_id in self.ids if wait_id not in waits]
        if unknown:
            raise RequestRefusedError(HTTPStatus.NOT_FOUND, f"no such wait: {', '.join(unknown)}", unknown=unknown)
        return [waits[wait_id] for wait_id in self.ids] if self.ids else waits.values()

    def page(self, waits: Mapping[str, Wait]) -> tuple[list[Wait], str | None]:
        """Return the selected waits of one page, and the cursor of the next page, None at the end."""
        found = [wait for wait in self.candidates(waits) if self._selects(wait)]
        if self.limit is None and self.after is None:
            return found, None
        found.sort(key=Position.of)
        page = found[: self.limit]
        return page, str(Position.of(page[-1])) if len(page) < len(found) else None

    def may_select(self, wait: Wait) -> bool:
        """Return whether a wait that is waiting is selected, or may be selected after a change: its status and its type."""
        return not self.task_types or wait.task is None or wait.task["task_type"] in self.task_types

    def _selects(self, wait: Wait) -> bool:
        return (
            (not self.statuses or wait.status in self.statuses)
            and (not self.task_types or (wait.task is not None and wait.task["task_type"] in self.task_types))
            and (self.changed_since == -inf or wait.changed_at() >= self.changed_since)
            and (self.after is None or Position.of(wait) > self.after)
        )


def all_ended(query: WaitQuery, waits: Mapping[str, Wait]) -> Callable[[], bool]:
    """Return a condition: no wait that the query selects, or may select later, is waiting.

    It is evaluated at each event, so it remembers a wait that is waiting.
    """
    waiting: list[str] = []

    def is_waiting(wait_id: str) -> bool:
        return wait_id in waits and not waits[wait_id].has_ended and query.may_select(waits[wait_id])

    def has_none() -> bool:
        while waiting:
            if is_waiting(waiting[-1]):
                return False
            waiting.pop()
        # A wait that had ended may have been restarted meanwhile.
        waiting.extend(filter(is_waiting, query.ids or waits))
        return not waiting

    return has_none


def check_parameters(params: QueryParams, *known: str) -> None:
    """Raise RequestRefusedError when a parameter is unknown, or is given twice without being a list."""
    names = [name for name, _ in params.multi_items()]
    if unknown := sorted(set(names).difference(known)):
        raise RequestRefusedError(_INVALID, f"unknown parameter: {', '.join(map(repr, unknown))}")
    if repeated := sorted(name for name in set(names) - _REPEATABLE if names.count(name) > 1):
        raise RequestRefusedError(_INVALID, f"given more than once: {', '.join(map(repr, repeated))}")


def read_wait_query(params: QueryParams) -> WaitQuery:
    """Return the selection in a query. Raises RequestRefusedError."""
    check_parameters(params, "id", "status", "task_type", "changed_since", "limit", "cursor", "wait")
    statuses = frozenset(params.getlist("status"))
    if not statuses <= set(WaitStatus):
        raise RequestRefusedError(_INVALID, f"status is one of {', '.join(WaitStatus)}")
    return WaitQuery(
        tuple(dict.fromkeys(params.getlist("id"))),
        statuses,
        frozenset(params.getlist("task_type")),
        _read_time(params.get("changed_since")),
        _read_limit(params.get("limit")),
        _read_cursor(params.get("cursor")),
    )


def read_long_poll(params: QueryParams) -> float | None:
    """Return the seconds of a long poll, or None. Raises RequestRefusedError."""
    duration = params.get("wait")
    try:
        return None if duration is None else min(durations.read_long_poll(duration), MAX_LONG_POLL)
    except ValueError as error:
        raise RequestRefusedError(_INVALID, f"wait is {error}") from None


def _read_time(text: str | None) -> float:
    if text is None:
        return -inf
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.timestamp()
    except ValueError:
        pass
    raise RequestRefusedError(_INVALID, f"changed_since is not a time such as 2026-11-24T12:00:00Z: {text!r}")


def _read_limit(text: str | None) -> int | None:
    if text is None:
        return None
    if _LIMIT.fullmatch(text) and 0 < int(text) <= MAX_PAGE_SIZE:
        return int(text)
    raise RequestRefusedError(_INVALID, f"limit is a number from 1 to {MAX_PAGE_SIZE}")


def _read_cursor(text: str | None) -> Position | None:
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if not found:
        raise RequestRefusedError(_INVALID, f"not a cursor: {text!r}")
    return Position(float(found[1]), found[2])
