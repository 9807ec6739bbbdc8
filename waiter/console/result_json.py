"""The JSON of a result: the same from ``waiter wait --output json`` and in the sidecar's result file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_FIELDS = ("id", "task_type", "state", "error", "created_on", "finished_on")


def result_json(tasks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the object for any number of tasks, each a mapping with an ``id``; what else it lacks is null or empty.

    ``created_resources`` of the object has the IDs of all tasks, each once.
    """
    listed: list[dict[str, Any]] = []
    merged: dict[str, list[str | int]] = {}
    for task in tasks:
        resources = task.get("created_resources") or {}
        listed.append({name: task.get(name) for name in _FIELDS} | {"created_resources": resources})
        for kind, ids in resources.items():
            merged[kind] = list(dict.fromkeys([*merged.get(kind, []), *ids]))
    return {"tasks": listed, "created_resources": merged}
