"""The tasks of the simulation, and what the API shows of them at any time."""

from __future__ import annotations

import math
from bisect import insort
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from waiter.api.resources import Readiness
from waiter.testing.response import encode_json
from waiter.testing.script import ENDED, INTEGER_KINDS, KINDS, Script

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator


class SimulatedTask(msgspec.Struct, kw_only=True):
    """A script in progress; its seconds pass `speed` times as fast as the cloud's clock.

    `added_at` and `created_at` are infinite until the task has started (see `starts_when_seen`).
    `end_delivered` says whether a client received the end of the script; `verify` requires this
    of a `watched` task. `acknowledged_at` is the server's time of a request to
    acknowledge it. `encoded` is the JSON of a phase, by its index: it changes with the phase only.
    """

    id: str
    script: Script
    speed: float
    resources: dict[str, list[str | int]] | None
    request_id: str
    added_at: float = math.inf
    created_at: float = math.inf
    watched: bool = False
    end_delivered: bool = False
    acknowledged_at: str | None = None
    encoded: tuple[int, msgspec.Raw] | None = None

    def is_visible(self, now: float) -> bool:
        """Return whether the task is known to the API."""
        return self.script.hidden_for <= self._since_added(now) < self.script.gone_after

    def state(self, now: float) -> str:
        """Return the state at `now`."""
        return self.script.phases[self._position(now)[0]].state

    def has_ended(self, now: float) -> bool:
        """Return whether the task is visible, and FINISHED or in ERROR."""
        return self.is_visible(now) and self.state(now) in ENDED

    def is_over(self, now: float) -> bool:
        """Return whether the script is in its last phase, or the task has vanished if it does."""
        if self.script.gone_after < math.inf:
            return self._since_added(now) >= self.script.gone_after
        return self.is_visible(now) and self._position(now)[0] == len(self.script.phases) - 1

    def _since_added(self, now: float) -> float:
        return round((now - self.added_at) * self.speed, 6)

    def _position(self, now: float) -> tuple[int, float]:
        index, began = self.script.position(round((now - self.created_at) * self.speed, 6))
        return index, self.created_at + began / self.speed

    @property
    def is_acknowledged(self) -> bool:
        """Return whether the task was acknowledged, by a request or by its script."""
        return (self.acknowledged_at or self.script.fields.get("acknowledged_at")) is not None

    def acknowledge(self, at: str) -> None:
        """Acknowledge the task at the server's time `at`."""
        self.acknowledged_at = at
        self.encoded = None

    def shows_resources(self, now: float) -> bool:
        """Return whether the created resources are known to the API."""
        script = self.script
        return self.has_ended(now) and script.resources_hidden_for <= self._since_end(now) < script.resources_gone_after

    def readiness(self, now: float) -> Readiness:
        """Return whether the created resources are ready at `now`, which is after the end of the task."""
        if self._since_end(now) < self.script.resources_ready_after:
            return "pending"
        return "failed" if self.script.resources_fail else "ready"

    def _since_end(self, now: float) -> float:
        return round((now - self.created_at) * self.speed - self.script.duration, 6)

    def encode(self, now: float, timestamp: Callable[[float], str]) -> msgspec.Raw:
        """Return the task as JSON at `now`; `timestamp` formats times."""
        index, began = self._position(now)
        if self.encoded is None or self.encoded[0] != index:
            self.encoded = index, msgspec.Raw(encode_json(self._fields(index, began, timestamp)))
        return self.encoded[1]

    def _fields(self, index: int, began: float, timestamp: Callable[[float], str]) -> dict[str, Any]:
        """Return all fields of the API description, in its order."""
        phase = self.script.phases[index]
        ended = phase.state in ENDED
        fields = {
            "acknowledged_at": self.acknowledged_at,
            "acknowledged_by": None if self.acknowledged_at is None else 1,
            "client_id": 1,
            "created_on": timestamp(self.created_at),
            "created_resources": self.resources if ended else None,
            "data": None,
            "detailed_state": phase.detailed_state,
            "error": self.script.error if phase.state == "ERROR" else None,
            "finished_on": timestamp(began) if ended else None,
            "id": self.id,
            "job_id": None,
            "lifecycle_policy_id": None,
            "project_id": self.script.project_id,
            "region_id": self.script.region_id,
            "request_id": self.request_id,
            "schedule_id": None,
            "state": phase.state,
            "task_type": self.script.task_type,
            "updated_on": timestamp(began) if index else None,
            "user_client_id": 1,
            "user_id": 1,
            **self.script.fields,
        }
        return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


class TaskStore:
    """All tasks, by ID and by age."""

    def __init__(self, rng: random.Random, *, all_kinds: bool = False) -> None:
        self._rng = rng
        self._all_kinds = all_kinds
        self._by_id: dict[str, SimulatedTask] = {}
        self._by_resource: dict[tuple[str, str], SimulatedTask] = {}
        self._by_age: list[tuple[float, int, SimulatedTask]] = []
        self._order = count()

    def add(self, script: Script, task_id: str | None, now: float, speed: float) -> SimulatedTask:
        """Add a task, and return it; ValueError if the ID is in use."""
        task_id = make_id(self._rng) if task_id is None else task_id
        if task_id in self._by_id:
            message = f"there is already a task {task_id}"
            raise ValueError(message)
        task = self._by_id[task_id] = SimulatedTask(
            id=task_id,
            script=script,
            speed=speed,
            resources=make_resources(script, self._rng, all_kinds=self._all_kinds),
            request_id=make_id(self._rng),
        )
        for kind, ids in (task.resources or {}).items():
            self._by_resource.update({(kind, str(resource_id)): task for resource_id in ids})
        if not script.starts_when_seen:
            self.start(task, now)
        return task

    def start(self, task: SimulatedTask, now: float) -> None:
        """Start a task that has not started."""
        if task.created_at == math.inf:
            task.added_at = now
            task.created_at = now - task.script.age / task.speed
            insort(self._by_age, (task.created_at, next(self._order), task))

    def get(self, task_id: str | None) -> SimulatedTask | None:
        """Return the task of this ID, or None."""
        return None if task_id is None else self._by_id.get(task_id)

    def creator_of(self, kind: str, resource_id: str) -> SimulatedTask | None:
        """Return the task that creates this resource, whether it has ended or not, or None."""
        return self._by_resource.get((kind, resource_id))

    def created_ids(self, now: float) -> dict[str, list[str | int]]:
        """Return the IDs that the tasks which have ended at `now` created, by kind, oldest task first."""
        return _merge(task for task in self.oldest_first() if task.has_ended(now))

    def planned_ids(self, task_ids: Iterable[str]) -> dict[str, list[str | int]]:
        """Return the IDs that these tasks create, by kind, whether they have ended or not."""
        return _merge(self._by_id[task_id] for task_id in task_ids)

    def __iter__(self) -> Iterator[SimulatedTask]:
        """Iterate over all tasks in the order of adding."""
        return iter(self._by_id.values())

    def oldest_first(self) -> list[SimulatedTask]:
        """Return the tasks that have started, by time of creation."""
        return [task for _, _, task in self._by_age]


def _merge(tasks: Iterable[SimulatedTask]) -> dict[str, list[str | int]]:
    merged: dict[str, list[str | int]] = {kind: [] for kind in KINDS}
    for task in tasks:
        for kind, ids in (task.resources or {}).items():
            merged.setdefault(kind, []).extend(ids)
    return merged


def make_resources(script: Script, rng: random.Random, *, all_kinds: bool = False) -> dict[str, list[str | int]] | None:
    """Return the created resources of a script, with generated IDs where it has a number."""
    if script.created_resources is None:
        return None
    empty: dict[str, list[str | int]] = {kind: [] for kind in KINDS} if all_kinds or script.all_kinds else {}
    return empty | {kind: _ids(kind, value, rng) for kind, value in script.created_resources.items()}


def _ids(kind: str, value: int | list[str | int], rng: random.Random) -> list[str | int]:
    if not isinstance(value, int):
        return value
    if kind in INTEGER_KINDS:
        return [rng.randrange(1, 1_000_000) for _ in range(value)]
    return [make_id(rng) for _ in range(value)]


def make_id(rng: random.Random) -> str:
    """Return an ID in the API's form; the same seed yields the same IDs in the same order."""
    return str(UUID(int=rng.getrandbits(128), version=4))
