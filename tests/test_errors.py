"""The messages, the data and the tree of the errors."""

from __future__ import annotations

import pickle

import pytest

import waiter
from waiter import (
    ApiError,
    ApiUnavailableError,
    ConfigurationError,
    CreatedResources,
    ResourceError,
    Task,
    TaskError,
    TasksError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    WaiterError,
)
from waiter.errors import NotReady

RUNNING = Task(id="t-1", state=TaskState.RUNNING, task_type="create_vm", detailed_state="NETWORK")
FAILED = Task(
    id="t-2",
    state=TaskState.ERROR,
    task_type="create_vm",
    error="No valid host",
    created_resources=CreatedResources(volumes=("v-1", "v-2"), ports=("p-1",)),
)
WITHOUT_REASON = Task(id="t-3", state=TaskState.ERROR)
DONE = Task(id="t-4", state=TaskState.FINISHED, created_resources=CreatedResources(instances=("i-1",)))
WEB = {"name": "web-1"}
BROKEN_WEB = Task(id="t-5", state=TaskState.ERROR, task_type="create_vm", error="No valid host", data=WEB)
NEW_WEB = Task(id="t-6", state=TaskState.NEW, task_type="create_vm", data=WEB)
UNAVAILABLE = ApiUnavailableError("the API returned 503", status=503, request_id="r-1", url="https://api/t", retry_after=2.0)

NOT_READY = [NotReady("images", "m-1", "saving"), NotReady("volumes", "v-1", None)]

ERRORS: dict[str, WaiterError] = {
    "no API key; a bad URL": ConfigurationError("no API key", "a bad URL"),
    "create_vm failed: No valid host (t-2); it created ports p-1, volumes v-1, v-2": TaskError(FAILED),
    "task failed: no reason given by the API (t-3)": TaskError(WITHOUT_REASON),
    "not ended after 60 s: last seen RUNNING/NETWORK (t-1); "
    "the task is still running: wait for the same ID again to resume": TaskTimeoutError(
        "t-1", waited=60.2, last_task=RUNNING, last_error=None
    ),
    "not ended after 0 s: never seen; the last poll failed: the API returned 503 (t-1); "
    "the task is still running: wait for the same ID again to resume": TaskTimeoutError(
        "t-1", waited=0, last_task=None, last_error=UNAVAILABLE
    ),
    "images m-1 failed: killed; the task is FINISHED (t-4)": ResourceError(
        "killed", task=DONE, kind="images", resource_id="m-1", resource={"status": "killed"}
    ),
    "/cloud/v1/x failed: ERROR": ResourceError("ERROR", task=None, kind=None, resource_id="/cloud/v1/x", resource=None),
    "not ready after 60 s: images m-1 is saving, volumes v-1 is not seen yet; the last poll failed: the API returned 503; "
    "the task is FINISHED (t-4): wait for the same ID again to resume": TaskTimeoutError(
        "t-4", waited=60, last_task=DONE, last_error=UNAVAILABLE, not_ready=NOT_READY
    ),
    "not as awaited after 60 s: /cloud/v1/x is BUILD": TaskTimeoutError(
        "/cloud/v1/x", waited=60, last_task=None, last_error=None, not_ready=[NotReady(None, "/cloud/v1/x", "BUILD")]
    ),
    "no change for 300 s: images m-1 is saving, volumes v-1 is not seen yet; the task is FINISHED (t-4)": TaskStalledError(
        DONE, waited=300, not_ready=NOT_READY
    ),
    "no change for 300 s: RUNNING/NETWORK (t-1); the task is still running": TaskStalledError(RUNNING, waited=300),
    "create_vm web-1 failed: No valid host (t-5)": TaskError(BROKEN_WEB),
    "create_vm web-1: not ended after 60 s: last seen NEW (t-6); "
    "the task is still running: wait for the same ID again to resume": TaskTimeoutError(
        "t-6", waited=60.2, last_task=NEW_WEB, last_error=None
    ),
    "create_vm web-1: no change for 300 s: NEW (t-6); the task is still running": TaskStalledError(NEW_WEB, waited=300),
    "the API returned 503": UNAVAILABLE,
    f"1 of 2 tasks failed: {TaskError(FAILED)} (1 sub-exception)": TasksError.of(
        succeeded={"t-4": DONE}, failed={"t-2": TaskError(FAILED)}
    ),
}


def test_several_errors_name_the_first_three_and_tell_time_outs_apart() -> None:
    """Failures come before time-outs, whose tasks are still running; what is not named is counted."""
    late = {f"t-{n}": TaskTimeoutError(f"t-{n}", waited=5, last_task=None, last_error=None) for n in (1, 2, 3)}
    error = TasksError.of(succeeded={"t-4": DONE}, failed={**late, "t-5": TaskError(FAILED)})
    assert error.timed_out == late
    assert list(error.failed) == ["t-1", "t-2", "t-3", "t-5"]
    assert error.message.startswith(f"1 of 5 tasks failed, 3 timed out: {TaskError(FAILED)}; {late['t-1']}; {late['t-2']}")
    assert error.message.endswith("; and 1 more")
    assert TasksError.of(succeeded={}, failed=late).message.startswith("3 of 3 tasks timed out: not ended after 5 s")


@pytest.mark.parametrize("text", ERRORS)
def test_messages_say_what_why_and_which(text: str) -> None:
    """This table has the exact text of every error."""
    assert str(ERRORS[text]) == text


@pytest.mark.parametrize("error", ERRORS.values(), ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: WaiterError) -> None:
    """A worker process may return an error with all its data."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert {name: repr(value) for name, value in vars(again).items()} == {
        name: repr(value) for name, value in vars(error).items()
    }


def test_all_errors_have_one_base() -> None:
    """``except WaiterError`` is enough, and every error of the tree is exported."""
    exported = [getattr(waiter, name) for name in waiter.__all__ if name.endswith("Error")]
    assert len(exported) == 13
    assert all(issubclass(error, WaiterError) for error in exported)


def test_errors_are_also_builtin_errors() -> None:
    """A time-out is a TimeoutError, bad configuration a ValueError, several errors an ExceptionGroup."""
    assert issubclass(TaskTimeoutError, TimeoutError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(TasksError, ExceptionGroup)
    assert [error for error in ERRORS.values() if isinstance(error, ApiError)] == [UNAVAILABLE]


def test_several_errors_split_and_keep_what_succeeded() -> None:
    """``except*`` gets its part of the group with the finished tasks."""
    failed: dict[str, WaiterError] = {
        "t-1": TaskTimeoutError("t-1", waited=1, last_task=None, last_error=None),
        "t-2": TaskError(FAILED),
    }
    group = TasksError.of(succeeded={"t-4": DONE}, failed=failed)
    match, rest = group.split(TaskError)
    assert isinstance(match, TasksError)
    assert (dict(match.failed), dict(match.succeeded)) == ({"t-2": failed["t-2"]}, {"t-4": DONE})
    assert isinstance(rest, TasksError)
    assert dict(rest.failed) == {"t-1": failed["t-1"]}
    assert group.created_resources == CreatedResources(instances=("i-1",), volumes=("v-1", "v-2"), ports=("p-1",))


@pytest.mark.parametrize(("retry_after", "blocked_for"), [(None, 0.0), (2.0, 2.0), (1e9, 3600.0)])
def test_blocking_is_limited_to_an_hour(retry_after: float | None, blocked_for: float) -> None:
    """The attribute ``retry_after`` keeps the server's value."""
    error = ApiUnavailableError("away", retry_after=retry_after)
    assert (error.retry_after, error.blocked_for) == (retry_after, blocked_for)
