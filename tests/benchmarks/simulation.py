"""Tasks, what was known when each began, and what a pace pays to notice its end."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self, cast

import numpy as np
from laws import MIX, Seconds
from numpy.typing import NDArray
from optimum import optimal_looks
from peers import Peer
from tenacity import RetryCallState

from waiter.law import History
from waiter.schedule import Schedule

LONGEST_MEMORY = 20
Costs = NDArray[np.float64]
"""One row for each task: delay in seconds, requests."""


class Task(NamedTuple):
    """A duration in seconds, and those of the same type before it, newest first."""

    name: str
    duration: float
    past: tuple[float, ...]


class Sight:
    """What tenacity would show a strategy after a look, and the look's result as well."""

    failed = False
    attempt_number = 0
    age = 0.0

    @property
    def outcome(self) -> Self:
        return self

    @property
    def seconds_since_start(self) -> float:
        return self.age

    def result(self) -> Self:
        return self


def pay(peer: Peer, duration: float) -> tuple[float, int]:
    """The delay in seconds and the requests until a look finds that a task of this duration has ended."""
    sight = Sight()
    sight.attempt_number = 0 if peer.sleeps_first else 1
    state = cast("RetryCallState", sight)
    while sight.age < duration:
        sight.age += peer.wait(state)
        sight.attempt_number += 1
    return sight.age - duration, sight.attempt_number


def pay_all(peer: Peer, tasks: Iterable[Task]) -> Costs:
    """What one pace pays for each task."""
    return np.array([pay(peer, task.duration) for task in tasks])


def pay_waiter(tasks: Sequence[Task], prices: Sequence[float], memory: int, error: float = 1.0) -> list[Costs]:
    """What waiter pays at each price, remembering so many durations, all of them wrong by a factor."""
    rows: list[list[tuple[float, int]]] = [[] for _ in prices]
    schedules = [Schedule(price=price) for price in prices]
    for task in tasks:
        history = History([error * duration for duration in task.past[:memory]])
        for row, schedule in zip(rows, schedules, strict=True):
            row.append(pay(Peer("waiter", schedule.learned(history)), task.duration))
    return [np.array(row) for row in rows]


def pay_optimum(tasks: Sequence[Task], laws: dict[str, Seconds], price: float) -> Costs:
    """What one pays who knows the law of each task type."""
    looks = {name: _going_on(optimal_looks(law, price)) for name, law in laws.items()}
    ranks = [int(np.searchsorted(looks[task.name], task.duration)) for task in tasks]
    return np.array([(looks[task.name][i] - task.duration, i + 2) for task, i in zip(tasks, ranks, strict=True)])


def _going_on(looks: Seconds) -> Seconds:
    """The looks, and then some for a task that outlasts the sample."""
    return np.concatenate((looks, looks[-1] * 1.05 ** np.arange(1, 60)))


def synthetic_tasks(rng: np.random.Generator, count: int) -> list[Task]:
    """About so many tasks of the mix, each type by its share, each with a history of its own."""
    whole = sum(kind.share for kind in MIX)
    return [
        Task(kind.name, float(draws[0]), tuple(draws[1:].tolist()))
        for kind in MIX
        for draws in kind.draw(rng, math.ceil(count * kind.share / whole) * (LONGEST_MEMORY + 1)).reshape(
            -1, LONGEST_MEMORY + 1
        )
    ]


def synthetic_laws(rng: np.random.Generator) -> dict[str, Seconds]:
    """A large sorted sample of each type's law. A small one would show its tail as a few known moments."""
    return {kind.name: np.sort(kind.draw(rng, 300_000)) for kind in MIX}


def recorded_tasks(file: Path) -> list[Task]:
    """The operations of a JSON file, {name: [seconds, ...]} in the order in which they ran."""
    lists: dict[str, list[float]] = json.loads(file.read_text())
    return [
        Task(name, duration, tuple(durations[max(0, i - LONGEST_MEMORY) : i][::-1]))
        for name, durations in lists.items()
        for i, duration in enumerate(durations)
    ]
