"""Two synthetic mixes of the same task types: how often each is seen, and how long it takes.

Ranges are those of the public documentation; those of the quick types, which it does not name, are guesses. So are the
shares: those of an account that deletes about as much as it creates. The shapes are not known, so there are two readings:

- SMOOTH: two tasks in three are within the range, one in thirty hangs, log-normal otherwise. Of a few simple mixes it is the
  one on which the first form of waiter's estimate (``published``) saves as much beside the fixed 3 s as it was published with:
  34% to 37% without history, 61% to 62% with 20 durations and 67% to 68% for the optimum, by the sample, against 35%, 62% and
  67%. It was chosen by these figures alone, before waiter ran on it.
- ROUGH: eight in ten within the range, and half of the types with an edge or two humps. Knowing such a distribution is worth
  more, and it is harder to learn from a few durations.
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
    """One kind of task: its share of the mix, its range in seconds, its shape.

    A shape draws log-durations, which are within ±:data:`Z90` for those within the range.
    """

    name: str
    share: float
    low: float
    high: float
    shape: Shape

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        """Return that many durations in seconds."""
        middle = math.sqrt(self.low * self.high)
        spread = math.log(self.high / self.low) / (2 * Z90)
        durations: Seconds = middle * np.exp(spread * self.shape(rng, count))
        return durations


def plain(rng: np.random.Generator, count: int) -> Seconds:
    """Log-normal."""
    return rng.standard_normal(count)


def late(rng: np.random.Generator, count: int) -> Seconds:
    """A sharp start and a long tail: a least duration plus an exponential one."""
    return rng.exponential(1.1, count) - 1.2


def double(rng: np.random.Generator, count: int) -> Seconds:
    """Two humps: such as with and without an image to download first."""
    hump = np.where(rng.random(count) < 0.35, 1.2, -0.75)
    return hump + 0.4 * rng.standard_normal(count)


def stuck(rng: np.random.Generator, count: int) -> Seconds:
    """Log-normal, and one task in thirty hangs far beyond the rest."""
    hangs = rng.random(count) < 1 / 30
    return plain(rng, count) + hangs * rng.uniform(2.0, 5.0, count)


def broad(rng: np.random.Generator, count: int) -> Seconds:
    """Like ``stuck``, but the range is one standard deviation to each side."""
    hangs = rng.random(count) < 1 / 30
    return Z90 * plain(rng, count) + hangs * rng.uniform(2.0, 5.0, count)


ROUGH = (
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
SMOOTH = tuple(kind._replace(shape=broad) for kind in ROUGH)
