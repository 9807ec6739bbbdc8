"""A synthetic mix of task types: how often each is seen, and how long it takes.

Ranges are those of the public documentation, read as the 10% and 90% points of a law; those of the quick types, which it
does not name, are guesses. So are the shares: an account that takes down about as much as it puts up.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
Shape = Callable[[np.random.Generator, int], Seconds]

Z90 = 1.2816
"""The 90% point of the standard normal law."""


class TaskType(NamedTuple):
    """One kind of task: its share of the mix, its 10% and 90% points in seconds, its shape."""

    name: str
    share: float
    low: float
    high: float
    shape: Shape

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        """That many durations in seconds."""
        middle = math.sqrt(self.low * self.high)
        spread = math.log(self.high / self.low) / (2 * Z90)
        durations: Seconds = middle * np.exp(spread * self.shape(rng, count))
        return durations


def plain(rng: np.random.Generator, count: int) -> Seconds:
    """Log-normal."""
    return rng.standard_normal(count)


def late(rng: np.random.Generator, count: int) -> Seconds:
    """A sharp start and a long tail: a least time, then an exponential wait."""
    return rng.exponential(1.1, count) - 1.2


def double(rng: np.random.Generator, count: int) -> Seconds:
    """Two humps: with and without something that has to be fetched first."""
    hump = np.where(rng.random(count) < 0.35, 1.2, -0.75)
    return hump + 0.4 * rng.standard_normal(count)


def stuck(rng: np.random.Generator, count: int) -> Seconds:
    """Log-normal, and one task in thirty hangs far beyond the rest."""
    hangs = rng.random(count) < 1 / 30
    return rng.standard_normal(count) + hangs * rng.uniform(2.0, 5.0, count)


MIX = (
    TaskType("update_router", 6, 0.5, 2, plain),
    TaskType("delete_fip", 5, 1, 3, plain),
    TaskType("create_fip", 6, 2, 4.5, plain),
    TaskType("attach_volume", 5, 2, 5, late),
    TaskType("delete_volume", 7, 1.5, 5, stuck),
    TaskType("delete_network", 6, 2, 6, plain),
    TaskType("create_volume", 8, 5, 15, plain),
    TaskType("create_network", 6, 5, 10, plain),
    TaskType("create_subnet", 5, 5, 10, late),
    TaskType("create_vm", 12, 15, 30, stuck),
    TaskType("delete_vm", 9, 15, 70, double),
    TaskType("create_loadbalancer", 5, 30, 90, stuck),
    TaskType("create_container", 4, 30, 60, late),
    TaskType("create_file_share", 2, 60, 90, plain),
    TaskType("delete_bare_metal", 1.5, 60, 120, plain),
    TaskType("create_virtual_gpu", 1.5, 180, 480, plain),
    TaskType("create_postgresql", 2, 180, 300, late),
    TaskType("create_bare_metal", 2, 240, 900, stuck),
    TaskType("create_k8s_cluster", 3, 300, 900, double),
    TaskType("create_bare_metal_gpu", 1, 900, 2400, late),
)
