"""Every way in which a wait can end badly.

::

    WaiterError
    ├─ ConfigurationError          no key, a bad URL, a bad ID: all problems named at once; also a ValueError
    ├─ TaskError                   the task ended in ERROR
    ├─ TaskTimeoutError            the time was up first; also a TimeoutError
    ├─ TaskStalledError            the task showed no change for stall_timeout
    ├─ TasksError                  several tasks, some badly; also an ExceptionGroup
    └─ ApiError                    an answer that ends the wait
       ├─ AuthenticationError      401: the key is not accepted
       ├─ PermissionDeniedError    403: the key may not see this task
       ├─ TaskNotFoundError        404: no such task for this account
       ├─ InvalidResponseError     an answer that is not what the API describes
       └─ ApiUnavailableError      no usable answer

Errors carry data, so that nobody has to parse a message, and survive pickling, so that a worker may hand them on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from waiter.task import CreatedResources, Task

LONGEST_SILENCE = 3600.0


class WaiterError(Exception):
    """The base of everything that waiter raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[WaiterError], args: tuple[Any, ...], state: dict[str, Any]) -> WaiterError:
    error = kind.__new__(kind, *args)
    error.args = args  # which OSError, the base of TimeoutError, sets only in its __init__
    error.__dict__.update(state)
    return error


class ConfigurationError(WaiterError, ValueError):
    """Nothing was asked, because something that waiter was given cannot work; ``.problems`` names all of it."""

    def __init__(self, *problems: str) -> None:
        """Name every problem; each says what to do."""
        super().__init__("; ".join(problems))
        self.problems = problems


class TaskError(WaiterError):
    """The task ended in ERROR: ``.task`` as it ended, ``.error`` its text, and what it created all the same."""

    def __init__(self, task: Task) -> None:
        self.task = task
        left = task.created_resources.as_dict()
        leaves = f"; it leaves {_listed(left)}" if left else ""
        super().__init__(f"{task.task_type or 'task'} failed: {self.error} ({task.id}){leaves}")

    @property
    def error(self) -> str:
        """The error's text in the API's words."""
        return self.task.error or "the API gives no reason"

    @property
    def created_resources(self) -> CreatedResources:
        """What the task created before it failed, and what may want cleaning up."""
        return self.task.created_resources


def _listed(kinds: Mapping[str, Sequence[object]]) -> str:
    return ", ".join(f"{kind} {', '.join(map(str, ids))}" for kind, ids in kinds.items())


class TaskTimeoutError(WaiterError, TimeoutError):
    """The task had not ended when the time was up; it goes on, and so can the wait.

    ``.task_id``; ``.last_task``, the task as last seen, or None; ``.waited``, seconds; ``.last_error``, why the last look
    failed, or None when it did not.
    """

    def __init__(self, task_id: str, *, waited: float, last_task: Task | None, last_error: ApiError | None) -> None:
        self.task_id = task_id
        self.waited = waited
        self.last_task = last_task
        self.last_error = last_error
        seen = f"last seen {described(last_task)}" if last_task else "never seen"
        # An error of the API's names the task as well.
        failed = f"; the last look failed: {str(last_error).removesuffix(f' ({task_id})')}" if last_error else ""
        super().__init__(
            f"not ended after {waited:.0f} s: {seen}{failed} ({task_id}); "
            "the task goes on: wait for the same ID again to take up the wait"
        )


class TaskStalledError(WaiterError):
    """The task showed no change for ``stall_timeout``; it goes on. ``.last_task``; ``.waited``, seconds without a change."""

    def __init__(self, last_task: Task, *, waited: float) -> None:
        self.last_task = last_task
        self.waited = waited
        super().__init__(f"no change for {waited:.0f} s: {described(last_task)} ({last_task.id}); the task goes on")


def described(task: Task) -> str:
    """Name a task's state in full: ``RUNNING/NETWORK``."""
    return f"{task.state}/{task.detailed_state}" if task.detailed_state else str(task.state)


class TasksError(WaiterError, ExceptionGroup[WaiterError]):
    """Several tasks were awaited and some ended badly: nothing of the others is lost.

    ``.succeeded`` has the finished tasks by ID, ``.failed`` the error of each that ended badly by ID, ``.pending`` the IDs
    of those that had not ended when the wait was over: none, unless ``return_when`` ended it early.
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
        """Group the errors of the tasks that ended badly."""
        message = f"{len(failed)} of {len(succeeded) + len(failed) + len(pending)} tasks ended badly"
        return cls(message, list(failed.values()), succeeded=succeeded, failed=failed, pending=pending)

    def derive(self, errors: Sequence[WaiterError]) -> TasksError:  # type: ignore[override]
        """Give the part of the group that ``except*`` and ``split`` ask for."""
        wanted = set(map(id, errors))
        kept = {task_id: error for task_id, error in self.failed.items() if id(error) in wanted}
        return type(self)(self.message, errors, succeeded=self.succeeded, failed=kept, pending=self.pending)

    @property
    def created_resources(self) -> CreatedResources:
        """What all of the tasks created, the failed ones included."""
        broken = [error.created_resources for error in self.failed.values() if isinstance(error, TaskError)]
        return CreatedResources.merge([*(task.created_resources for task in self.succeeded.values()), *broken])


class ApiError(WaiterError):
    """The API answered with something that waiting cannot mend.

    ``.status`` is the HTTP status, None when there was no answer; ``.request_id`` what Gcore's support will ask for; ``.url``
    what was asked; ``.retry_after`` the seconds for which the server asked to be left alone, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        url: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Say what and why; the data is for programs."""
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.url = url
        self.retry_after = retry_after

    @property
    def silence(self) -> float:
        """For how many seconds to leave the server alone: an hour at most, so that nonsense cannot silence a wait for ever."""
        return min(self.retry_after or 0.0, LONGEST_SILENCE)


class AuthenticationError(ApiError):
    """401: the API does not accept the key."""


class PermissionDeniedError(ApiError):
    """403: the key is known, but may not see this task."""


class TaskNotFoundError(ApiError):
    """404: there is no such task for this account."""


class InvalidResponseError(ApiError):
    """An answer that is not what the API describes: not JSON, no state, another task's ID, a redirect."""


class ApiUnavailableError(ApiError):
    """No usable answer: a network fault, a time-out, or a status that asks to come back later."""


def note_interruption(error: BaseException | None, note: str) -> None:
    """Add a note to what interrupted a wait, such as Ctrl-C or a cancellation, and to nothing else."""
    if error is not None and not isinstance(error, Exception):
        error.add_note(note)
