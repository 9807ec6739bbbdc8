"""A task of the simulation, and what the API says of it at any time."""

from __future__ import annotations

import math
from bisect import insort
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from waiter.testing.answer import json
from waiter.testing.script import ENDED, INTEGER_KINDS, KINDS, Script

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator


class SimulatedTask(msgspec.Struct, kw_only=True):
    """A script that runs; its seconds pass `speed` times as fast as the cloud's clock.

    `added` and `born` are infinite before a task that starts when it is seen has been. `met`
    says whether what the script leads to has been answered, which is missed if it is `watched`.
    `shown` is the answer of one of its phases, in which it does not change.
    """

    id: str
    script: Script
    speed: float
    resources: dict[str, list[str | int]] | None
    request_id: str
    added: float = math.inf
    born: float = math.inf
    watched: bool = False
    met: bool = False
    shown: tuple[int, msgspec.Raw] | None = None

    def known(self, now: float) -> bool:
        """Whether the API knows the task."""
        return self.script.hidden_for <= self._waited(now) < self.script.gone_after

    def state(self, now: float) -> str:
        """The state at `now`."""
        return self.script.phases[self._position(now)[0]].state

    def over(self, now: float) -> bool:
        """Whether the script has nothing more to show."""
        if self.script.gone_after < math.inf:
            return self._waited(now) >= self.script.gone_after
        return self.known(now) and self._position(now)[0] == len(self.script.phases) - 1

    def _waited(self, now: float) -> float:
        return round((now - self.added) * self.speed, 6)

    def _position(self, now: float) -> tuple[int, float]:
        index, began = self.script.position(round((now - self.born) * self.speed, 6))
        return index, self.born + began / self.speed

    def answer(self, now: float, stamp: Callable[[float], str]) -> msgspec.Raw:
        """Its JSON at `now`."""
        index, began = self._position(now)
        if self.shown is None or self.shown[0] != index:
            self.shown = index, msgspec.Raw(json(self._fields(index, began, stamp)))
        return self.shown[1]

    def _fields(self, index: int, began: float, stamp: Callable[[float], str]) -> dict[str, Any]:
        """All fields of the description, in its order."""
        phase = self.script.phases[index]
        ended = phase.state in ENDED
        fields = {
            "acknowledged_at": None,
            "acknowledged_by": None,
            "client_id": 1,
            "created_on": stamp(self.born),
            "created_resources": self.resources if ended else None,
            "data": None,
            "detailed_state": phase.detailed_state,
            "error": self.script.error if phase.state == "ERROR" else None,
            "finished_on": stamp(began) if ended else None,
            "id": self.id,
            "job_id": None,
            "lifecycle_policy_id": None,
            "project_id": self.script.project_id,
            "region_id": self.script.region_id,
            "request_id": self.request_id,
            "schedule_id": None,
            "state": phase.state,
            "task_type": self.script.task_type,
            "updated_on": stamp(began) if index else None,
            "user_client_id": 1,
            "user_id": 1,
            **self.script.fields,
        }
        return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


class Tasks:
    """All tasks, by ID and by age."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._by_id: dict[str, SimulatedTask] = {}
        self._by_age: list[tuple[float, int, SimulatedTask]] = []
        self._order = count()

    def add(self, script: Script, task_id: str | None, now: float, speed: float) -> SimulatedTask:
        """Add a task; ValueError if there is one with this ID."""
        task_id = new_id(self._rng) if task_id is None else task_id
        if task_id in self._by_id:
            message = f"there is a task {task_id} already"
            raise ValueError(message)
        task = self._by_id[task_id] = SimulatedTask(
            id=task_id,
            script=script,
            speed=speed,
            resources=made(script, self._rng),
            request_id=new_id(self._rng),
        )
        if not script.starts_when_seen:
            self.start(task, now)
        return task

    def start(self, task: SimulatedTask, now: float) -> None:
        """Let its life begin, if it has not begun."""
        if task.born == math.inf:
            task.added = now
            task.born = now - task.script.age / task.speed
            insort(self._by_age, (task.born, next(self._order), task))

    def get(self, task_id: str | None) -> SimulatedTask | None:
        """The task of this ID, or None."""
        return None if task_id is None else self._by_id.get(task_id)

    def __iter__(self) -> Iterator[SimulatedTask]:
        """Every task, in the order of adding."""
        return iter(self._by_id.values())

    def oldest_first(self) -> list[SimulatedTask]:
        """The tasks that have begun, by time of creation."""
        return [task for _, _, task in self._by_age]


def made(script: Script, rng: random.Random) -> dict[str, list[str | int]] | None:
    """The created resources of a script, with the IDs that it leaves to be made up."""
    if script.created_resources is None:
        return None
    empty: dict[str, list[str | int]] = {kind: [] for kind in KINDS} if script.all_kinds else {}
    return empty | {kind: _ids(kind, value, rng) for kind, value in script.created_resources.items()}


def _ids(kind: str, value: int | list[str | int], rng: random.Random) -> list[str | int]:
    if not isinstance(value, int):
        return value
    if kind in INTEGER_KINDS:
        return [rng.randrange(1, 1_000_000) for _ in range(value)]
    return [new_id(rng) for _ in range(value)]


def new_id(rng: random.Random) -> str:
    """An ID of the form that the API uses, the same ones in the same order for the same seed."""
    return str(UUID(int=rng.getrandbits(128), version=4))
