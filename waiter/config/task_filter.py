"""Which tasks to list, from arguments and, where these are not given, from the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from waiter.api.requests import TaskFilter
from waiter.errors import ConfigurationError
from waiter.task import TaskState

STATES = tuple(state.value for state in TaskState)
DEFAULT_LIMIT = 10_000


def resolve_filter(
    state: str | Iterable[str],
    project_id: int | Iterable[int] | None,
    region_id: int | Iterable[int] | None,
    task_type: str | None,
    environ: Mapping[str, str] | None = None,
) -> TaskFilter:
    """Return the filter that these arguments describe.

    An empty list selects all; None selects the project of ``GCORE_CLOUD_PROJECT_ID`` and the region of
    ``GCORE_CLOUD_REGION_ID``, or all without such a variable. Raises ConfigurationError that names every problem.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    chosen = TaskFilter(
        _states(state, problems),
        _ids("project_id", project_id, "GCORE_CLOUD_PROJECT_ID", environ, problems),
        _ids("region_id", region_id, "GCORE_CLOUD_REGION_ID", environ, problems),
        _task_type(task_type, problems),
    )
    if problems:
        raise ConfigurationError(*problems)
    return chosen


def check_limit(limit: object) -> None:
    """Raise ConfigurationError unless ``limit`` is a number of tasks."""
    if not _is_id(limit):
        message = f"limit must be a number of tasks, not {limit!r}"
        raise ConfigurationError(message)


def _states(given: object, problems: list[str]) -> tuple[str, ...]:
    values = _listed(given)
    names = [value.upper() if isinstance(value, str) else None for value in values]
    problems += [
        f"state must be {', '.join(STATES[:-1])} or {STATES[-1]}, not {value!r}"
        for value, name in zip(values, names, strict=True)
        if name not in STATES
    ]
    return tuple(dict.fromkeys(name for name in names if name in STATES))


def _ids(name: str, given: object, variable: str, environ: Mapping[str, str], problems: list[str]) -> tuple[int, ...]:
    if given is None:
        text = environ.get(variable, "")
        if text and not _is_number(text):
            problems.append(f"{variable} must be a number, not {text!r}")
        return (int(text),) if _is_number(text) else ()
    values = _listed(given)
    problems += [f"{name} must be a number, not {value!r}" for value in values if not _is_id(value)]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, int)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(2**63))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _task_type(given: object, problems: list[str]) -> str | None:
    if given is None or (isinstance(given, str) and given.strip()):
        return given
    problems.append(f"task_type must be text such as 'create_vm', not {given!r}")
    return None


def _listed(given: object) -> list[object]:
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]
