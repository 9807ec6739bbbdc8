"""What the API remembers of earlier tasks of a type, asked for once and shared by every wait of the process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from waiter.law import History

if TYPE_CHECKING:
    from waiter.task import Sighting, Task

# Twenty to a hundred past durations are all that the schedule can use.
LISTED = 100
# One request has to pay for itself: tasks that end sooner than this save less than one by what it teaches.
WORTH_ASKING_AT = 8.0


class Histories:
    """The pasts of all task types that one account's waits have asked for."""

    def __init__(self) -> None:
        self._known: dict[str, History | None] = {}

    def claim(self, task_type: str, *, age: float | None) -> bool:
        """Whether the caller is the one that shall ask for this type's past, now that its task has this age in seconds."""
        if age is None or age < WORTH_ASKING_AT or task_type in self._known:
            return False
        self._known[task_type] = None
        return True

    def keep(self, task: Task, history: History) -> None:
        """Keep what was learned of a task's type."""
        self._known[task.task_type or ""] = history

    def get(self, task: Task | None) -> History | None:
        """Give what is known of a task's type; None when nothing is, or not yet."""
        return self._known.get(task.task_type or "") if task else None


_of_process: dict[tuple[str, str], Histories] = {}


def shared_histories(base_url: str, account: str) -> Histories:
    """Give the histories that all waits of this process have in common for one account."""
    return _of_process.setdefault((base_url, account), Histories())


def read_history(past: Iterable[Sighting]) -> History:
    """Read a listing, newest first: how long the ended tasks took, ERROR included, and how old the others are, in seconds."""
    durations, running = [], []
    for task, age in ((sighting.task, sighting.age) for sighting in past):
        if not task.ended:
            running.append(age)
        elif task.created_on and task.finished_on:
            durations.append((task.finished_on - task.created_on).total_seconds())
    return History(durations=durations, running=[age for age in running if age is not None])
