"""References to tasks."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from waiter import ConfigurationError, Task, TaskState
from waiter.config.task_ids import all_task_ids, task_ids
from waiter.task import is_task_id


def test_one_reference_gives_each_id_once() -> None:
    """An ID, a list or a response is a reference."""
    assert task_ids("t-1") == ["t-1"]
    assert task_ids({"tasks": ["t-1", "t-2", "t-1"]}) == ["t-1", "t-2"]
    assert task_ids(["t-1", "t-2", "t-1"]) == ["t-1", "t-2"]
    assert task_ids([]) == []


class SdkResponse:
    """A response as the official SDK returns it: a model that iterates over its fields."""

    tasks = ("t-1", "t-2")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield "tasks", self.tasks


def test_several_references_give_each_id_once() -> None:
    """IDs, responses and objects of the official SDK may be mixed."""
    response: Any = SdkResponse()
    assert all_task_ids(response) == task_ids(response) == ["t-1", "t-2"]
    assert all_task_ids(iter(["t-0", response, {"tasks": ["t-3"]}])) == ["t-0", "t-1", "t-2", "t-3"]


def test_all_invalid_ids_are_named_together() -> None:
    """One error names every invalid ID."""
    with pytest.raises(ConfigurationError) as caught:
        task_ids({"tasks": ["t-1", "a b", None]})
    assert caught.value.problems == ("not a task ID: 'a b'", "not a task ID: None")
    with pytest.raises(ConfigurationError, match=r"^not a task ID: 'a b'$"):
        task_ids("a b")


@pytest.mark.parametrize("response", [{}, {"tasks": "t-1"}, {"tasks": None}, 7])
def test_response_without_a_list_of_tasks_is_refused(response: Any) -> None:
    """It is not an empty list."""
    with pytest.raises(ConfigurationError, match="neither a task ID nor a response with a list of tasks"):
        task_ids(response)
    with pytest.raises(ConfigurationError, match="neither a task ID nor a response with a list of tasks"):
        all_task_ids(response)


@pytest.mark.parametrize("text", ["26986bc0-748a-4448-b836-0a2aa465eb06", "a", "A.b_c-9", "9" * 128])
def test_safe_words_are_task_ids(text: str) -> None:
    """UUIDs, and all other words that are safe in a path."""
    assert is_task_id(text)


@pytest.mark.parametrize("text", ["", "a b", "../x", ".", "-x", "a/b", "a?b", "a\n", "{a}", "é", "9" * 129, None, 7])
def test_other_values_are_no_task_ids(text: object) -> None:
    """Nothing that would change the path, and nothing but one word."""
    assert not is_task_id(text)


UUID_1 = "26986bc0-748a-4448-b836-0a2aa465eb06"
TASK = {"id": "t-1", "state": "NEW", "task_type": "create_vm"}


class SdkTask(SimpleNamespace):
    """A task as the official SDK returns it: a model that iterates over its fields."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())


@pytest.mark.parametrize(
    ("ref", "ids"),
    [
        (UUID(UUID_1), [UUID_1]),
        ([UUID(UUID_1), "t-1"], [UUID_1, "t-1"]),
        (TASK, ["t-1"]),
        ([TASK, "t-2", TASK], ["t-1", "t-2"]),
        (Task(id="t-1", state=TaskState.NEW), ["t-1"]),
        (SdkTask(id="t-1", state="NEW"), ["t-1"]),
        ([SdkTask(id="t-1", state="NEW")], ["t-1"]),
        ({"count": 2, "results": [TASK, TASK | {"id": "t-2"}]}, ["t-1", "t-2"]),
        (SimpleNamespace(count=1, results=[SdkTask(id="t-1", state="NEW")]), ["t-1"]),
        ({"tasks": [{"id": "t-1", "task_type": None, "state": None}], "created_resources": {}}, ["t-1"]),
        ({"id": "v-1", "status": "creating", "task_id": "t-1"}, ["t-1"]),
        ({"id": "v-1", "task_id": None}, []),
        (SimpleNamespace(id="v-1", task_id="t-1"), ["t-1"]),
        ({"count": 2, "results": [{"id": "v-1", "task_id": None}, {"id": "v-2", "task_id": "t-1"}]}, ["t-1"]),
    ],
)
def test_all_that_names_tasks_is_a_reference(ref: Any, ids: list[str]) -> None:
    """Alone, and as one of several."""
    assert (task_ids(ref), all_task_ids(ref), all_task_ids([ref, "t-9"])) == (ids, ids, [*ids, "t-9"])


@pytest.mark.parametrize("item", [None, 7, [], ["t-1"], {}, {"id": "v-1"}, {"state": "NEW"}, {"task_id": 7}])
def test_items_that_name_no_task_are_refused(item: Any) -> None:
    """They are not skipped."""
    for ref in ([item], {"tasks": [item]}, {"results": [item]}):
        with pytest.raises(ConfigurationError, match="not a task ID"):
            task_ids(ref)
