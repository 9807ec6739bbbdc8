"""Tasks, what was known when each began, and what a pace pays to notice its end."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from laws import Seconds, TaskType
from numpy.typing import NDArray
from optimum import POINTS, optimal_looks
from peers import Peer, pay

from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule

LONGEST_MEMORY = 100
Costs = NDArray[np.float64]
"""One row for each task: delay in seconds, requests."""


class Task(NamedTuple):
    """A duration in seconds, and those of the same type before it, newest first."""

    name: str
    duration: float
    past: tuple[float, ...]


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


def pay_optimum(tasks: Sequence[Task], laws: Mapping[str, Seconds], price: float) -> Costs:
    """What one pays who knows the law of each task type."""
    looks = {name: _going_on(optimal_looks(law, price)) for name, law in laws.items()}
    return np.array([_pay_path(looks[task.name], task.duration) for task in tasks])


def pay_blind_optimum(tasks: Sequence[Task], law: Seconds, price: float) -> Costs:
    """What one pays who knows the law of all tasks together, and not the type of any: nobody without history can do better."""
    looks = _going_on(optimal_looks(law, price, points=3 * POINTS), growth=1.02)
    return np.array([_pay_path(looks, task.duration) for task in tasks])


def _pay_path(looks: Seconds, duration: float) -> tuple[float, int]:
    i = int(np.searchsorted(looks, duration))
    return float(looks[i]) - duration, i + 2


def _going_on(looks: Seconds, growth: float = 1.05) -> Seconds:
    """The looks, and then some for a task that outlasts the sample."""
    return np.concatenate((looks, looks[-1] * growth ** np.arange(1, 300)))


def synthetic_tasks(rng: np.random.Generator, mix: Sequence[TaskType], count: int) -> list[Task]:
    """About so many tasks of a mix, each type by its share, each with a history of its own."""
    whole = sum(kind.share for kind in mix)
    return [
        Task(kind.name, float(draws[0]), tuple(draws[1:].tolist()))
        for kind in mix
        for draws in kind.draw(rng, math.ceil(count * kind.share / whole) * (LONGEST_MEMORY + 1)).reshape(
            -1, LONGEST_MEMORY + 1
        )
    ]


def synthetic_laws(rng: np.random.Generator, mix: Iterable[TaskType]) -> dict[str, Seconds]:
    """A large sorted sample of each type's law. A small one would show its tail as a few known moments."""
    return {kind.name: np.sort(kind.draw(rng, 300_000)) for kind in mix}


def synthetic_law(mix: Sequence[TaskType], laws: Mapping[str, Seconds]) -> Seconds:
    """A sorted sample of all tasks together, without the last few, which would stretch the grid of the looks."""
    largest = max(kind.share for kind in mix)
    law = np.sort(np.concatenate([laws[kind.name][:: round(largest / kind.share)] for kind in mix]))
    return law[: -law.size // 5_000]


def recorded_tasks(file: Path) -> list[Task]:
    """The operations of a JSON file, {name: [seconds, ...]} in the order in which they ran."""
    lists: dict[str, list[float]] = json.loads(file.read_text())
    return [
        Task(name, duration, tuple(durations[max(0, i - LONGEST_MEMORY) : i][::-1]))
        for name, durations in lists.items()
        for i, duration in enumerate(durations)
    ]
