"""The JSON of a result: the same from ``waiter wait --output json`` and in the sidecar's result file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

_FIELDS = ("id", "task_type", "target", "state", "status", "message", "error", "created_on", "finished_on")
# Only a listing has these.
_LISTED = ("age", "time_left", "time_left_p90")


def utc_text(time: datetime | None) -> str | None:
    """Return a time in UTC as the API writes it, with a ``Z``."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def result_json(tasks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the object for any number of tasks, each a mapping with an ``id``; what else it lacks is null or empty.

    ``status`` is a WaitStatus, ``message`` what ended the wait, and ``error`` the text of the API alone. A listing adds
    ``age``, ``time_left`` and ``time_left_p90``, in seconds.
    ``created_resources`` of the object has the IDs of all tasks, each once.
    """
    listed: list[dict[str, Any]] = []
    merged: dict[str, list[str | int]] = {}
    for task in tasks:
        resources = task.get("created_resources") or {}
        times = {name: task[name] for name in _LISTED if name in task}
        listed.append({name: task.get(name) for name in _FIELDS} | times | {"created_resources": resources})
        for kind, ids in resources.items():
            merged[kind] = list(dict.fromkeys([*merged.get(kind, []), *ids]))
    return {"tasks": listed, "created_resources": merged}
