"""The query of `GET /cloud/v1/tasks`: its parameters are checked, and select tasks."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from waiter.testing.response import RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from waiter.testing.task import SimulatedTask

_Value = TypeVar("_Value")


class Filters(msgspec.Struct, kw_only=True):
    """The parameters of a request; None and an empty set select everything."""

    state: set[str] = msgspec.field(default_factory=set)
    project_id: set[int] = msgspec.field(default_factory=set)
    region_id: set[int] = msgspec.field(default_factory=set)
    task_type: str | None = None
    from_timestamp: datetime | None = None
    to_timestamp: datetime | None = None
    is_acknowledged: bool | None = None
    order_by: str = "desc"
    limit: int = 10
    offset: int = 0

    def match(self, task: SimulatedTask, now: float) -> bool:
        """Return whether the task matches, apart from its time of creation."""
        script = task.script
        return (
            _is_selected(task.state(now), self.state)
            and task.is_visible(now)
            and self.task_type in (None, script.task_type)
            and self.is_acknowledged in (None, task.is_acknowledged)
            and _is_selected(script.project_id, self.project_id)
            and _is_selected(script.region_id, self.region_id)
        )

    def cover(self, created: datetime) -> bool:
        """Return whether this time of creation is within the period of the request."""
        start, end = self.from_timestamp, self.to_timestamp
        return (start is None or start <= created) and (end is None or created <= end)


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            message = f"{text!r} is none of {', '.join(choices)}"
            raise ValueError(message)
        return text

    return read


def _between(least: int, most: float) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            message = f"{value} is not between {least} and {most}"
            raise ValueError(message)
        return value

    return read


def _boolean(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _time(text: str) -> datetime:
    # RFC 3339 requires a time zone. The API's own times have none and are UTC, so that clients send such times back.
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_selected(value: _Value, selection: set[_Value]) -> bool:
    return not selection or value in selection


PARAMETERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "state": ("state", _one_of("ERROR", "FINISHED", "NEW", "RUNNING")),
    "project_id": ("project_id", int),
    "region_id": ("region_id", int),
    "task_type": ("task_type", str),
    "from_timestamp": ("from_timestamp", _time),
    "to_timestamp": ("to_timestamp", _time),
    "is_acknowledged": ("is_acknowledged", _boolean),
    "order_by": ("order_by", _one_of("asc", "desc")),
    "sorting": ("order_by", _one_of("asc", "desc")),
    "limit": ("limit", _between(1, 1000)),
    "offset": ("offset", _between(0, math.inf)),
}


def parse(query: str, known: Collection[str] = PARAMETERS) -> tuple[Filters, list[str]]:
    """Return the filters of a query, and its parameters that are not among the `known` ones.

    Raises RequestRejectedError (400) that names every invalid value.
    """
    filters = Filters()
    unknown, invalid = [], []
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            unknown.append(name)
            continue
        field, read = PARAMETERS[name]
        try:
            _store(filters, field, read(text))
        except ValueError as error:
            invalid.append(f"{name}: {error}")
    if invalid:
        raise RequestRejectedError(400, "ValidationError", "; ".join(invalid), unexpected=True)
    return filters, unknown


def _store(filters: Filters, field: str, value: object) -> None:
    previous = getattr(filters, field)
    if isinstance(previous, set):
        previous.add(value)
    else:
        setattr(filters, field, value)
