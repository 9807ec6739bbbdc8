"""Which tasks are meant: by an ID, by several, or by what the API answered to the request that started the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from waiter.api.responses import is_task_id
from waiter.errors import ConfigurationError

TaskRef = str | Mapping[str, Any] | Sequence[str]


def task_ids(ref: TaskRef) -> list[str]:
    """Give the IDs that are meant by an ID, a list of IDs, or what the API answered to the request that started the work.

    Raises ConfigurationError that names every bad one.
    """
    ids = [ref] if isinstance(ref, str) else _tasks_of(ref)
    problems = [f"not a task ID: {task_id!r}" for task_id in ids if not is_task_id(task_id)]
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(map(str, ids)))


def all_task_ids(refs: Iterable[TaskRef] | TaskRef) -> list[str]:
    """Give the IDs that are meant by several IDs or answers, each once; raises ConfigurationError that names every bad one."""
    ids: list[str] = []
    problems: list[str] = []
    # One ID is iterable too: each of its letters could be an ID. So is an answer of the official SDK: it gives its fields.
    is_one = isinstance(refs, str | Mapping) or hasattr(refs, "tasks") or not isinstance(refs, Iterable)
    for ref in [cast("TaskRef", refs)] if is_one else refs:
        try:
            ids += task_ids(ref)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    return list(dict.fromkeys(ids))


def _tasks_of(answer: object) -> list[Any]:
    if isinstance(answer, list | tuple):
        return list(answer)
    # The official SDK gives the answer as an object with the same attribute.
    tasks = answer.get("tasks") if isinstance(answer, Mapping) else getattr(answer, "tasks", None)
    if isinstance(tasks, list | tuple):
        return list(tasks)
    message = f"neither a task ID nor an answer with a list of tasks: {type(answer).__name__}"
    raise ConfigurationError(message)
