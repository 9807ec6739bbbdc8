"""The least cost for a known distribution: an inspection policy by dynamic programming.

After R. E. Barlow, L. C. Hunter and F. Proschan 1963, "Optimum checking procedures". Polls may fall on the points g of a
grid. Let F be the share of tasks that have ended by then, and W(i) the cost from a poll at g(i) on, times the chance
1 - F(i) that it finds the task running:

    W(i) = min over j > i of  price·(1 - F(i)) + ∫ from g(i) to g(j) of (g(j) - t) dF(t) + W(j)
"""

import numpy as np
from laws import Seconds
from numpy.typing import NDArray

POINTS = 1_500


def optimal_polls(law: Seconds, price: float, points: int = POINTS) -> Seconds:
    """Return the ages at the best polls after the one at 0, the last beyond the longest of a large sorted sample."""
    even = np.linspace(0, np.sqrt(law[-1]), points) ** 2
    grid = np.unique(np.concatenate((even[:-1], np.quantile(law, np.linspace(0, 1, points)))))
    ended = np.searchsorted(law, grid, side="right")
    moments = np.concatenate(([0.0], np.cumsum(law)))[ended] / law.size
    following = _best_next(grid, ended / law.size, moments, price)
    path = [int(following[0])]
    while path[-1] < grid.size - 1:
        path.append(int(following[path[-1]]))
    return grid[path]


def _best_next(grid: Seconds, ended: Seconds, moments: Seconds, price: float) -> NDArray[np.intp]:
    following = np.zeros(grid.size, dtype=np.intp)
    cost = np.zeros(grid.size)
    for i in range(grid.size - 2, -1, -1):
        delay = grid[i + 1 :] * (ended[i + 1 :] - ended[i]) - (moments[i + 1 :] - moments[i])
        total = price * (1 - ended[i]) + delay + cost[i + 1 :]
        best = int(np.argmin(total))
        following[i], cost[i] = i + 1 + best, total[best]
    return following
