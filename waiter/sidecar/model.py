"""What the sidecar keeps of a wait, and what it shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from waiter import errors
from waiter.schedule.schedule import Schedule
from waiter.task import Task

# Texts of a task come from outside; a name of 16 MB would be shown to every client that asks.
LONGEST_TEXT = 4096
# A task that flaps for days keeps how it began, and how it went of late.
MOST_TRANSITIONS = 200


class Status(StrEnum):
    """How far a wait has come; everything but ``waiting`` is an end."""

    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"

    @property
    def is_of_task(self) -> bool:
        """Whether the task itself has ended; after any other end the same ID can be awaited again."""
        return self in {Status.FINISHED, Status.FAILED}


def status_of(error: Exception) -> Status:
    """Give the status of a wait that ended with this error."""
    match error:
        case errors.TaskError():
            return Status.FAILED
        case errors.TaskTimeoutError():
            return Status.TIMED_OUT
        case errors.TaskStalledError():
            return Status.STALLED
        case errors.TaskNotFoundError():
            return Status.NOT_FOUND
        case errors.AuthenticationError() | errors.PermissionDeniedError():
            return Status.REFUSED
        case _:
            return Status.UNAVAILABLE


class Transition(msgspec.Struct, frozen=True):
    """A change of state as the wait saw it; ``at`` is UTC."""

    at: str
    state: str
    detailed_state: str | None = None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One wait; times are seconds since the epoch by this machine's clock, ``born`` is when its task was created."""

    id: str
    accepted_at: float
    status: Status = Status.WAITING
    task: dict[str, Any] | None = None
    created_resources: dict[str, list[str | int]] = {}
    transitions: tuple[Transition, ...] = ()
    error: str | None = None
    ended_at: float | None = None
    born: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nobody looks at the task any more."""
        return self.status is not Status.WAITING

    def seen(self, task: Task, age: float | None, now: float) -> Wait:
        """Take in a task as a look has just shown it."""
        said = told(task)
        return msgspec.structs.replace(
            self,
            task=said,
            created_resources=task.created_resources.as_dict(),
            transitions=self._transitions(said, now),
            born=self.born if age is None else now - age,
        )

    def _transitions(self, said: Mapping[str, Any], now: float) -> tuple[Transition, ...]:
        new = Transition(stamp(now), said["state"], said["detailed_state"])
        if self.transitions and msgspec.structs.replace(self.transitions[-1], at=new.at) == new:
            return self.transitions
        half = MOST_TRANSITIONS // 2
        kept = self.transitions
        return (*(kept if len(kept) < MOST_TRANSITIONS else (*kept[:half], *kept[1 - half :])), new)

    def over(self, status: Status, now: float, error: str | None = None) -> Wait:
        """Give the wait as it ended."""
        return msgspec.structs.replace(self, status=status, ended_at=now, error=error)

    def again(self, now: float) -> Wait:
        """Take up a wait that ended before its task did."""
        return msgspec.structs.replace(self, status=Status.WAITING, accepted_at=now, ended_at=None, error=None)

    def age(self, now: float) -> float | None:
        """How old the task is in seconds; how long it took once it has ended, by the API's own times."""
        task = self.task or {}
        if self.ended and task.get("created_on") and task.get("finished_on"):
            return (datetime.fromisoformat(task["finished_on"]) - datetime.fromisoformat(task["created_on"])).total_seconds()
        return None if self.born is None else round(max(0.0, (self.ended_at or now) - self.born), 1)

    def shown(self, now: float, schedule: Schedule | None = None) -> dict[str, Any]:
        """Give the wait as clients see it; a schedule that knows the past tells the time left."""
        age = self.age(now)
        left = schedule.time_left(age) if schedule and age is not None and not self.ended else None
        timing = {
            "age": age,
            "time_left": left and round(left.median, 1),
            "time_left_p90": left and round(left.p90, 1),
        }
        return {
            "id": self.id,
            "status": self.status,
            "task": self.task and self.task | timing,
            "created_resources": self.created_resources,
            "transitions": self.transitions,
            "error": self.error,
        }


def told(task: Task) -> dict[str, Any]:
    """Give what the sidecar keeps of a task: what concerns its wait, and no text without end."""
    texts = {name: cut(getattr(task, name)) for name in ("task_type", "state", "detailed_state", "error", "request_id")}
    times = {name: _iso(getattr(task, name)) for name in ("created_on", "updated_on", "finished_on")}
    return {"id": task.id, **texts, **times, "project_id": task.project_id, "region_id": task.region_id}


def cut(text: str | None) -> str | None:
    """Give a text that has an end."""
    return text if text is None or len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def stamp(moment: float) -> str:
    """Write seconds since the epoch as the API writes times, in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
