"""All errors that waiter raises.

::

    WaiterError
    ├─ ConfigurationError          no key, a bad URL, a bad ID: names all problems together; also a ValueError
    ├─ TaskError                   the task ended in ERROR
    ├─ ResourceError               a created resource failed after its task FINISHED
    ├─ TaskTimeoutError            the task had not ended, or its resources were not ready, at the deadline; also a TimeoutError
    ├─ TaskStalledError            the task showed no change for stall_timeout
    ├─ TasksError                  some of several tasks failed; also an ExceptionGroup
    └─ ApiError                    an error of the API, an unusable response, or none
       ├─ AuthenticationError      401: the key was rejected
       ├─ PermissionDeniedError    403: the key has no permission for this task
       ├─ TaskNotFoundError        404: no such task for this account
       ├─ InvalidResponseError     a response that contradicts the API's description
       └─ ApiUnavailableError      no usable response

Errors carry their data as attributes, so that no message has to be parsed, and can be pickled, so that they pass between
processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from waiter.task import CreatedResources, Task

MAX_RETRY_AFTER = 3600.0


class WaiterError(Exception):
    """The base class of all errors that waiter raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[WaiterError], args: tuple[Any, ...], state: dict[str, Any]) -> WaiterError:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError, the base of TimeoutError, sets them only in its __init__
    error.__dict__.update(state)
    return error


class ConfigurationError(WaiterError, ValueError):
    """The arguments or the environment are invalid, and no request was made; ``.problems`` has one text for each problem."""

    def __init__(self, *problems: str) -> None:
        """Store the text of every problem; each text says what to do."""
        super().__init__("; ".join(problems))
        self.problems = problems


class TaskError(WaiterError):
    """The task ended in ERROR: ``.task`` is the ended task, ``.error`` its text, ``.created_resources`` what it created."""

    def __init__(self, task: Task) -> None:
        self.task = task
        created = task.created_resources.as_dict()
        leftovers = f"; it created {_listed(created)}" if created else ""
        target = f" {task.target}" if task.target else ""
        super().__init__(f"{task.task_type or 'task'}{target} failed: {self.error} ({task.id}){leftovers}")

    @property
    def error(self) -> str:
        """The text of the error as the API returned it."""
        return self.task.error or "no reason given by the API"

    @property
    def created_resources(self) -> CreatedResources:
        """What the task created before it failed, which may have to be deleted."""
        return self.task.created_resources


def _listed(kinds: Mapping[str, Sequence[object]]) -> str:
    return ", ".join(f"{kind} {', '.join(map(str, ids))}" for kind, ids in kinds.items())


class ResourceError(WaiterError):
    """A resource failed: one that a FINISHED task created, or the one of ``waiter until``.

    ``.task`` is the finished task, None for ``waiter until``; ``.kind`` the kind in ``created_resources``, such as ``images``;
    ``.resource_id`` its ID, the path for ``waiter until``; ``.resource`` the resource as its endpoint showed it, None when it
    was not found.
    """

    def __init__(
        self,
        why: str,
        *,
        task: Task | None,
        kind: str | None,
        resource_id: str | int,
        resource: Mapping[str, Any] | None,
    ) -> None:
        self.task = task
        self.kind = kind
        self.resource_id = resource_id
        self.resource = resource
        finished = f"; the task is FINISHED ({task.id})" if task else ""
        super().__init__(f"{f'{kind} ' if kind else ''}{resource_id} failed: {why}{finished}")


class NotReady(NamedTuple):
    """A resource that is not ready: its kind and ID, and its status as last seen, None if it has shown none.

    For ``waiter until``, ``kind`` is None and ``resource_id`` the path.
    """

    kind: str | None
    resource_id: str | int
    status: str | None

    def __str__(self) -> str:
        named = f"{self.kind} {self.resource_id}" if self.kind else str(self.resource_id)
        return f"{named} is {self.status or 'not seen yet'}"


class TaskTimeoutError(WaiterError, TimeoutError):
    """The task had not ended at the deadline. The task is still running, and waiting for the same ID again resumes the wait.

    With ``ready=True`` the task may be FINISHED, and ``.not_ready`` says which of its resources are not ready.

    ``.task_id``; ``.last_task``, the task as the last successful poll saw it, or None; ``.waited``, seconds; ``.last_error``,
    the error of the last poll, or None when that poll succeeded.
    """

    def __init__(
        self,
        task_id: str,
        *,
        waited: float,
        last_task: Task | None,
        last_error: ApiError | None,
        not_ready: Sequence[NotReady] = (),
    ) -> None:
        self.task_id = task_id
        self.waited = waited
        self.last_task = last_task
        self.last_error = last_error
        self.not_ready = tuple(not_ready)
        seen = f"last seen {described(last_task)}" if last_task else "never seen"
        # The message of an ApiError names the task too.
        failed = f"; the last poll failed: {str(last_error).removesuffix(f' ({task_id})')}" if last_error else ""
        if not not_ready:
            super().__init__(
                f"{_subject(last_task)}not ended after {waited:.0f} s: {seen}{failed} ({task_id}); "
                "the task is still running: wait for the same ID again to resume"
            )
        elif last_task:
            super().__init__(
                f"{_subject(last_task)}not ready after {waited:.0f} s: {_first_of(not_ready)}{failed}; "
                f"the task is FINISHED ({task_id}): wait for the same ID again to resume"
            )
        else:
            super().__init__(f"not as awaited after {waited:.0f} s: {_first_of(not_ready)}{failed}")


class TaskStalledError(WaiterError):
    """The task is still running, but did not change for ``stall_timeout``.

    With ``ready=True`` it may be FINISHED while its resources, ``.not_ready``, did not change.

    ``.last_task``; ``.waited``, seconds without a change.
    """

    def __init__(self, last_task: Task, *, waited: float, not_ready: Sequence[NotReady] = ()) -> None:
        self.last_task = last_task
        self.waited = waited
        self.not_ready = tuple(not_ready)
        state = f"{described(last_task)} ({last_task.id}); the task is still running"
        if not_ready:
            state = f"{_first_of(not_ready)}; the task is FINISHED ({last_task.id})"
        super().__init__(f"{_subject(last_task)}no change for {waited:.0f} s: {state}")


def _first_of(not_ready: Sequence[NotReady]) -> str:
    more = [f"and {len(not_ready) - _MAX_REASONS} more"] if len(not_ready) > _MAX_REASONS else []
    return ", ".join([*map(str, not_ready[:_MAX_REASONS]), *more])


def _subject(task: Task | None) -> str:
    """Return the type of a task and what it acts on, as the beginning of a message; empty if the latter is unknown."""
    return f"{task.task_type or 'task'} {task.target}: " if task is not None and task.target else ""


def described(task: Task) -> str:
    """Return the state of a task with its detailed state: ``RUNNING/NETWORK``."""
    return f"{task.state}/{task.detailed_state}" if task.detailed_state else str(task.state)


# A message names this many reasons; the others are counted, and all of them are in the group.
_MAX_REASONS = 3


class TasksError(WaiterError, ExceptionGroup[WaiterError]):
    """Some of several tasks failed; the results of the others are kept.

    ``.succeeded`` has the finished tasks by ID, ``.failed`` the error of each other wait that ended by ID, and ``.pending`` the
    IDs of the tasks that had not ended when the wait was over: none, unless ``return_when`` ended it early.
    The message has the first few errors, failures before time-outs.
    """

    succeeded: Mapping[str, Task]
    failed: Mapping[str, WaiterError]
    pending: Sequence[str]

    def __new__(cls, message: str, errors: Sequence[WaiterError], **_: object) -> Self:  # noqa: D102 - see __init__
        return super().__new__(cls, message, errors)

    def __init__(
        self,
        message: str,
        errors: Sequence[WaiterError],
        *,
        succeeded: Mapping[str, Task],
        failed: Mapping[str, WaiterError],
        pending: Sequence[str] = (),
    ) -> None:
        super().__init__(message, errors)
        self.succeeded = succeeded
        self.failed = failed
        self.pending = pending

    @classmethod
    def of(cls, *, succeeded: Mapping[str, Task], failed: Mapping[str, WaiterError], pending: Sequence[str] = ()) -> Self:
        """Return the error for these outcomes of several waits."""
        late = [str(error) for error in failed.values() if isinstance(error, TaskTimeoutError)]
        other = [str(error) for error in failed.values() if not isinstance(error, TaskTimeoutError)]
        total = len(succeeded) + len(failed) + len(pending)
        count = f"{len(other)} of {total} tasks failed" if other else f"{len(late)} of {total} tasks timed out"
        if other and late:
            count += f", {len(late)} timed out"
        reasons = [*other, *late]
        more = [f"and {len(reasons) - _MAX_REASONS} more"] if len(reasons) > _MAX_REASONS else []
        message = f"{count}: {'; '.join([*reasons[:_MAX_REASONS], *more])}"
        return cls(message, list(failed.values()), succeeded=succeeded, failed=failed, pending=pending)

    @property
    def timed_out(self) -> dict[str, TaskTimeoutError]:
        """Those of ``failed`` whose wait timed out, by ID: their tasks are still running, and the wait can be resumed."""
        return {task_id: error for task_id, error in self.failed.items() if isinstance(error, TaskTimeoutError)}

    def derive(self, errors: Sequence[WaiterError]) -> TasksError:  # type: ignore[override]
        """Return the part of the group with these errors, for ``except*`` and ``split``."""
        selected = set(map(id, errors))
        kept = {task_id: error for task_id, error in self.failed.items() if id(error) in selected}
        return type(self)(self.message, errors, succeeded=self.succeeded, failed=kept, pending=self.pending)

    @property
    def created_resources(self) -> CreatedResources:
        """What all of the tasks created, including the failed ones."""
        failed = [error.task for error in self.failed.values() if isinstance(error, TaskError | ResourceError | ApiError)]
        return CreatedResources.merge(task.created_resources for task in [*self.succeeded.values(), *filter(None, failed)])


class ApiError(WaiterError):
    """The API returned an error, an unusable response, or none.

    ``.status`` is the HTTP status, None without a response; ``.request_id`` identifies the request to Gcore's support; ``.url``
    is what was requested; ``.retry_after`` is the server's Retry-After in seconds, or None. With ``ready=True``, ``.task`` is
    the FINISHED task if one of the resources that it created could not be checked; otherwise it is None.
    """

    task: Task | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        url: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Store the message and the data of the response."""
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.url = url
        self.retry_after = retry_after

    @property
    def blocked_for(self) -> float:
        """The seconds for which the server asked for no requests, limited to an hour in case Retry-After is nonsense."""
        return min(self.retry_after or 0.0, MAX_RETRY_AFTER)


class AuthenticationError(ApiError):
    """401: the API rejected the key."""


class PermissionDeniedError(ApiError):
    """403: the key is valid, but has no permission for this task."""


class TaskNotFoundError(ApiError):
    """404: there is no such task for this account."""


class InvalidResponseError(ApiError):
    """A response that contradicts the API's description: not JSON, no state, the ID of another task, a redirect."""


class ApiUnavailableError(ApiError):
    """No usable response: a network fault, a time-out, or a status that asks to retry later."""


def note_interruption(error: BaseException | None, note: str) -> None:
    """Add a note to an exception that interrupted a wait, such as KeyboardInterrupt or a cancellation, and to no other."""
    if error is not None and not isinstance(error, Exception):
        error.add_note(note)
