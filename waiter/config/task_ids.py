"""The IDs of the tasks to wait for, from an ID, several IDs, or the API's response to the request that started the tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from waiter.errors import ConfigurationError

TaskRef = str | Mapping[str, Any] | Sequence[str]

_TASK_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


def is_task_id(text: object) -> bool:
    """Whether this can be the ID of a task: the API's description says string, and real ones are UUIDs."""
    return isinstance(text, str) and _TASK_ID.fullmatch(text) is not None


def task_ids(ref: TaskRef) -> list[str]:
    """Return the IDs of one reference: an ID, a list of IDs, or the API's response to the request that started the tasks.

    Raises ConfigurationError that names every invalid ID.
    """
    ids = [ref] if isinstance(ref, str) else _read_tasks(ref)
    problems = [f"not a task ID: {task_id!r}" for task_id in ids if not is_task_id(task_id)]
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(map(str, ids)))


def all_task_ids(refs: Iterable[TaskRef] | TaskRef) -> list[str]:
    """Return the IDs of several references, each once. Raises ConfigurationError that names every invalid ID."""
    ids: list[str] = []
    problems: list[str] = []
    # A single ID is iterable too, and each of its letters could be an ID; so is a response of the official SDK.
    is_one = isinstance(refs, str | Mapping) or hasattr(refs, "tasks") or not isinstance(refs, Iterable)
    for ref in [cast("TaskRef", refs)] if is_one else refs:
        try:
            ids += task_ids(ref)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(ids))


def _read_tasks(response: object) -> list[Any]:
    if isinstance(response, list | tuple):
        return list(response)
    # The official SDK returns an object with the same attribute.
    tasks = response.get("tasks") if isinstance(response, Mapping) else getattr(response, "tasks", None)
    if isinstance(tasks, list | tuple):
        return list(tasks)
    message = f"neither a task ID nor a response with a list of tasks: {type(response).__name__}"
    raise ConfigurationError(message)
