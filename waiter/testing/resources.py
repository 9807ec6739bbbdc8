"""The endpoints of the resources that simulated tasks create."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from waiter.api.resources import BARE_METAL, RESOURCE_KINDS, Readiness, ResourceKind, kind_of
from waiter.testing.response import RequestRejectedError
from waiter.testing.templates import compile_path

if TYPE_CHECKING:
    from waiter.testing.task import SimulatedTask, TaskStore

_ENDPOINTS = [
    (kind, definition, compile_path(definition.path))
    for kind, definition in [*RESOURCE_KINDS.items(), ("instances", BARE_METAL)]
]


def is_resource(path: str) -> bool:
    """Return whether a path is that of a resource, whether it exists or not."""
    return any(pattern.fullmatch(path) for _, _, pattern in _ENDPOINTS)


def get_resource(path: str, tasks: TaskStore, now: float) -> dict[str, Any] | None:
    """Return the resource at a path, or None if no task creates it.

    Raises RequestRejectedError (404) before the resource appears and after it vanishes.
    """
    for kind, definition, pattern in _ENDPOINTS:
        place = pattern.fullmatch(path)
        task = tasks.creator_of(kind, unquote(place["id"])) if place else None
        if place and task and _is_there(task, kind, definition, place.groupdict()):
            if not task.shows_resources(now):
                raise RequestRejectedError(404, "NotFound", f"{path} was not found")
            return _show(task, definition, unquote(place["id"]), task.readiness(now))
    return None


def _is_there(task: SimulatedTask, kind: str, definition: ResourceKind, place: dict[str, str]) -> bool:
    script = task.script
    given = (place["project_id"], place["region_id"])
    return given == (str(script.project_id), str(script.region_id)) and kind_of(kind, script.task_type) is definition


def _show(task: SimulatedTask, definition: ResourceKind, resource_id: str, readiness: Readiness) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "id": resource_id,
        "name": resource_id,
        "project_id": task.script.project_id,
        "region_id": task.script.region_id,
        "task_id": None,
        "creator_task_id": task.id,
    }
    if definition.field is not None:
        values = {"pending": definition.pending, "ready": definition.ready, "failed": definition.failed}[readiness]
        resource[definition.field] = (values or definition.pending)[0]
    return resource | {name: int(readiness == "ready") for name in definition.nonzero}
