"""Tasks with their histories, and the delay and requests of a schedule for each."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from laws import Seconds, TaskType
from numpy.typing import NDArray
from optimum import POINTS, optimal_polls
from peers import Peer, pay

from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule

LONGEST_MEMORY = 100
Costs = NDArray[np.float64]
"""One row for each task: delay in seconds, requests."""


class Task(NamedTuple):
    """A duration in seconds, and the durations of the same type before it, newest first."""

    name: str
    duration: float
    past: tuple[float, ...]


def pay_all(peer: Peer, tasks: Iterable[Task]) -> Costs:
    """Return the costs of one peer."""
    return np.array([pay(peer, task.duration) for task in tasks])


def pay_waiter(tasks: Sequence[Task], prices: Sequence[float], memory: int, error: float = 1.0) -> list[Costs]:
    """Return the costs of waiter at each price, with so many past durations, each multiplied by ``error``."""
    rows: list[list[tuple[float, int]]] = [[] for _ in prices]
    schedules = [Schedule(price=price) for price in prices]
    for task in tasks:
        history = History([error * duration for duration in task.past[:memory]])
        for row, schedule in zip(rows, schedules, strict=True):
            row.append(pay(Peer("waiter", schedule.learned(history)), task.duration))
    return [np.array(row) for row in rows]


def pay_optimum(tasks: Sequence[Task], laws: Mapping[str, Seconds], price: float) -> Costs:
    """Return the costs of the optimum for the distribution of each task type."""
    polls = {name: _extended(optimal_polls(law, price)) for name, law in laws.items()}
    return np.array([_pay_path(polls[task.name], task.duration) for task in tasks])


def pay_blind_optimum(tasks: Sequence[Task], law: Seconds, price: float) -> Costs:
    """Return the costs of the optimum for the distribution of all tasks: the least without knowledge of types."""
    polls = _extended(optimal_polls(law, price, points=3 * POINTS), growth=1.02)
    return np.array([_pay_path(polls, task.duration) for task in tasks])


def _pay_path(polls: Seconds, duration: float) -> tuple[float, int]:
    i = int(np.searchsorted(polls, duration))
    return float(polls[i]) - duration, i + 2


def _extended(polls: Seconds, growth: float = 1.05) -> Seconds:
    """Return the polls, and more of them for a task that outlasts the sample."""
    return np.concatenate((polls, polls[-1] * growth ** np.arange(1, 300)))


def synthetic_tasks(rng: np.random.Generator, mix: Sequence[TaskType], count: int) -> list[Task]:
    """Return about so many tasks of a mix, each type by its share, each with an independent history."""
    whole = sum(kind.share for kind in mix)
    return [
        Task(kind.name, float(draws[0]), tuple(draws[1:].tolist()))
        for kind in mix
        for draws in kind.draw(rng, math.ceil(count * kind.share / whole) * (LONGEST_MEMORY + 1)).reshape(
            -1, LONGEST_MEMORY + 1
        )
    ]


def synthetic_laws(rng: np.random.Generator, mix: Iterable[TaskType]) -> dict[str, Seconds]:
    """Return a large sorted sample of each type. In a small one the tail would be a few known moments."""
    return {kind.name: np.sort(kind.draw(rng, 300_000)) for kind in mix}


def mixed_law(mix: Sequence[TaskType], laws: Mapping[str, Seconds]) -> Seconds:
    """Return a sorted sample of all tasks together, without the last few, which would stretch the grid of polls."""
    largest = max(kind.share for kind in mix)
    law = np.sort(np.concatenate([laws[kind.name][:: round(largest / kind.share)] for kind in mix]))
    return law[: -law.size // 5_000]


def recorded_tasks(file: Path) -> list[Task]:
    """Return the operations of a JSON file, {name: [seconds, ...]} in the order in which they ran."""
    lists: dict[str, list[float]] = json.loads(file.read_text())
    return [
        Task(name, duration, tuple(durations[max(0, i - LONGEST_MEMORY) : i][::-1]))
        for name, durations in lists.items()
        for i, duration in enumerate(durations)
    ]
