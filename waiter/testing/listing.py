"""`GET /cloud/v1/tasks`: its parameters, checked, and the tasks that they choose."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from waiter.testing.answer import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from waiter.testing.task import SimulatedTask

_Value = TypeVar("_Value")


class Filters(msgspec.Struct, kw_only=True):
    """What was asked for; None, or an empty set, chooses everything."""

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

    def choose(self, task: SimulatedTask, now: float) -> bool:
        """Whether the task belongs to the answer, whenever it was created."""
        script = task.script
        return (
            _among(task.state(now), self.state)
            and task.known(now)
            and self.task_type in (None, script.task_type)
            and self.is_acknowledged in (None, script.fields.get("acknowledged_at") is not None)
            and _among(script.project_id, self.project_id)
            and _among(script.region_id, self.region_id)
        )

    def covers(self, created: datetime) -> bool:
        """Whether the period that was asked for covers this time of creation."""
        begins, ends = self.from_timestamp, self.to_timestamp
        return (begins is None or begins <= created) and (ends is None or created <= ends)


def parse(query: str) -> tuple[Filters, list[str]]:
    """Read a query: the filters, and the parameters that the description does not know.

    Raises Refusal (400) that names everything that is wrong.
    """
    filters = Filters()
    unknown, wrong = [], []
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            unknown.append(name)
            continue
        field, read = _PARAMETERS[name]
        try:
            _put(filters, field, read(text))
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise Refusal(400, "ValidationError", "; ".join(wrong), unexpected=True)
    return filters, unknown


def _put(filters: Filters, field: str, value: object) -> None:
    many = getattr(filters, field)
    if isinstance(many, set):
        many.add(value)
    else:
        setattr(filters, field, value)


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


def _truth(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        # The format is date-time, which is RFC 3339's, whatever the answers look like.
        message = f"{text} has no time zone"
        raise ValueError(message)
    return moment


def _among(value: _Value, chosen: set[_Value]) -> bool:
    return not chosen or value in chosen


_PARAMETERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "state": ("state", _one_of("ERROR", "FINISHED", "NEW", "RUNNING")),
    "project_id": ("project_id", int),
    "region_id": ("region_id", int),
    "task_type": ("task_type", str),
    "from_timestamp": ("from_timestamp", _time),
    "to_timestamp": ("to_timestamp", _time),
    "is_acknowledged": ("is_acknowledged", _truth),
    "order_by": ("order_by", _one_of("asc", "desc")),
    "sorting": ("order_by", _one_of("asc", "desc")),
    "limit": ("limit", _between(1, 1000)),
    "offset": ("offset", _between(0, math.inf)),
}
