"""The IDs of the tasks to wait for, from everything that names tasks: IDs, objects, and responses of the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast
from uuid import UUID

from waiter.errors import ConfigurationError
from waiter.task import is_task_id

_FIELDS = ("tasks", "results", "task_id", "state")
_MISSING = object()


class TaskLike(Protocol):
    """A task as an object, such as waiter's own or the one of the official SDK."""

    @property
    def id(self) -> str:
        """The ID of the task."""

    @property
    def state(self) -> Any:  # noqa: ANN401 - the state differs from library to library
        """The state of the task, which is not used."""


TaskRef = str | UUID | TaskLike | Mapping[str, Any] | Sequence[str | UUID | TaskLike | Mapping[str, Any]]


def task_ids(ref: TaskRef) -> list[str]:
    """Return the IDs of one reference, each once.

    A reference is an ID, a task (an object or decoded JSON), a list of these, the response to a request that started tasks
    (``{"tasks": [...]}``), a listing (``{"results": [...]}``), the JSON that the command prints, or a resource with the
    ``task_id`` of the task that holds it, which may be None. Raises ConfigurationError that names every invalid ID.
    """
    if isinstance(ref, str) and is_task_id(ref):
        return [ref]
    ids = referenced_ids(ref)
    problems = [f"not a task ID: {task_id!r}" for task_id in ids if not is_task_id(task_id)]
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(cast("list[str]", ids)))


def all_task_ids(refs: Iterable[TaskRef] | TaskRef) -> list[str]:
    """Return the IDs of several references, each once. Raises ConfigurationError that names every invalid ID."""
    ids: list[str] = []
    problems: list[str] = []
    # A single reference may be iterable too: an ID by its letters, a response or a task of the official SDK by its fields.
    is_one = isinstance(refs, str | Mapping) or any(hasattr(refs, name) for name in _FIELDS) or not isinstance(refs, Iterable)
    for ref in [refs] if is_one else cast("Iterable[TaskRef]", refs):
        try:
            ids += task_ids(cast("TaskRef", ref))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(ids))


def referenced_ids(ref: object, *, creators: bool = False) -> list[object]:
    """Return what one reference names as task IDs, unchecked, or a part of it that names none.

    Of a resource that is the task that holds it, if any, or with ``creators`` the task that created it (``creator_task_id``).
    Raises ConfigurationError for an object that is no reference.
    """
    if isinstance(ref, str):
        return [ref]
    items = ref if isinstance(ref, list | tuple) else [ref]
    found = [task_id for item in items for task_id in _read_response(item, creators)]
    if items is not ref and len(found) == 1 and found[0] is ref:
        message = f"neither a task ID nor a response with a list of tasks: {type(ref).__name__}"
        raise ConfigurationError(message)
    return found


def _read_response(item: object, creators: bool) -> list[object]:
    for name in ("tasks", "results"):
        parts = _field(item, name)
        if isinstance(parts, list | tuple):
            return [task_id for part in parts for task_id in _read_item(part, creators)]
    return _read_item(item, creators)


def _read_item(item: object, creators: bool) -> list[object]:
    """Return the ID of a task, the ID in a resource's ``task_id``, if it has one, or the item itself when it is neither."""
    if isinstance(item, UUID):
        return [str(item)]
    holder, creator = _field(item, "task_id"), _field(item, "creator_task_id")
    if creators and creator is not _MISSING:
        return [creator]
    if holder is not _MISSING and not creators:
        return [] if holder is None else [holder]
    if _field(item, "state") is not _MISSING:
        return [_field(item, "id")]
    return [item]


def _field(ref: object, name: str) -> object:
    return ref.get(name, _MISSING) if isinstance(ref, Mapping) else getattr(ref, name, _MISSING)
