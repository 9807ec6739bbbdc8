"""Filters of a listing, beside what tests/test_list_tasks.py shows of them."""

from __future__ import annotations

import pytest

from waiter import ConfigurationError, TaskState, list_tasks
from waiter.api.requests import TaskFilter
from waiter.config.task_filter import check_limit, resolve_filter


def test_arguments_override_the_environment() -> None:
    """An empty variable counts as missing."""
    environ = {"GCORE_CLOUD_PROJECT_ID": "5", "GCORE_CLOUD_REGION_ID": ""}
    assert resolve_filter((), None, None, None, environ) == TaskFilter(project_ids=(5,))
    assert resolve_filter(TaskState.NEW, [6, 6], 7, "create_vm", environ) == TaskFilter(("NEW",), (6,), (7,), "create_vm")


@pytest.mark.parametrize("text", ["x", "-1", "5 ", "1.5", "\u0661", "9" * 19])
def test_invalid_environment_variable_is_named(text: str) -> None:
    """It is ignored where an argument replaces it."""
    environ = {"GCORE_CLOUD_PROJECT_ID": text, "GCORE_CLOUD_REGION_ID": text}
    with pytest.raises(ConfigurationError) as caught:
        resolve_filter((), None, None, None, environ)
    assert caught.value.problems == (
        f"GCORE_CLOUD_PROJECT_ID must be a number, not {text!r}",
        f"GCORE_CLOUD_REGION_ID must be a number, not {text!r}",
    )
    assert resolve_filter((), (), 1, None, environ) == TaskFilter(region_ids=(1,))


@pytest.mark.parametrize(
    ("state", "shown"), [(None, "None"), ([7], "7"), ("", "''"), ("NEW,ERROR", "'NEW,ERROR'"), (b"NEW", "b'NEW'")]
)
def test_unknown_state_is_refused(state: object, shown: str) -> None:
    """The API has four."""
    with pytest.raises(ConfigurationError, match=f"^state must be NEW, RUNNING, FINISHED or ERROR, not {shown}$"):
        resolve_filter(state, (), (), None, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", ["5", None, [1], 2.5, float("nan"), -1, True])
def test_limit_that_is_no_number_of_tasks_is_refused(limit: object) -> None:
    """Nothing is requested."""
    with pytest.raises(ConfigurationError, match="limit must be a number of tasks, not"):
        check_limit(limit)
    with pytest.raises(ConfigurationError, match="limit must be a number of tasks, not"):
        list_tasks(limit=limit, api_key="k")  # type: ignore[arg-type]
