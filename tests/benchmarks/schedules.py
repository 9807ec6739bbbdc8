"""Delay and requests of waiter's schedule, beside those of other tools and the optimum.

    python tests/benchmarks/schedules.py [--durations FILE] [--plot FILE] [--tasks N]

Needs numpy and, for the picture, matplotlib. FILE holds real durations as {name: [seconds, ...]}, each list in the order in
which its operations ran; each one is then awaited with those before it as its history. A history costs one more request for
each task type and process, which is not counted.

The constants of waiter's estimate were chosen by cost at one price on random distributions (``constants.py``), with histories
right, half and twice the truth. Of several balances between these, one was chosen that keeps the cost of a right history on the
mixes here close to that of an earlier form of the estimate.

Without history nothing is tuned: on random mixes of task types, the scale-free hazard is as good as any of the form
a/(b + t)^c. The optimum blind to the type is the least cost without knowledge of the type of a task.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from laws import ROUGH, SMOOTH, TaskType
from peers import FIXED, PEERS
from picture import Panel, Point, draw
from published import pay_published
from simulation import (
    Costs,
    Task,
    mixed_law,
    pay_all,
    pay_blind_optimum,
    pay_optimum,
    pay_waiter,
    recorded_tasks,
    synthetic_laws,
    synthetic_tasks,
)

PRICE = 0.2
PRICES = (0.01, 0.02, 0.05, 0.1, PRICE, 0.4, 0.8, 1.6)
MEMORY = 20
WAITER = {"waiter, 20 past durations": MEMORY, "waiter, no history": 0}
OPTIMUM = "optimum (knows the law)"
BLIND_OPTIMUM = "optimum blind to the type"
PUBLISHED = "published form, 20 durations"
SEED = 20_261
MIXES = {"Smooth mix of task types": SMOOTH, "Rough mix of task types": ROUGH}


class Report(NamedTuple):
    """The costs of one set of tasks: of each peer, and of waiter and the optimum at every price."""

    title: str
    tasks: Sequence[Task]
    peers: Mapping[str, Costs]
    curves: Mapping[str, Sequence[Costs]]

    def panel(self) -> Panel:
        """Return the means, to be drawn."""
        curves = {name: [_mean(costs) for costs in row] for name, row in self.curves.items()}
        return Panel(self.title, curves, {name: _mean(costs) for name, costs in self.peers.items()})


def _mean(costs: Costs) -> Point:
    delay, requests = costs.mean(axis=0)
    return float(delay), float(requests)


def _total(costs: Costs, price: float = PRICE) -> float:
    delay, requests = _mean(costs)
    return delay + price * requests


def _report(title: str, tasks: Sequence[Task]) -> Report:
    peers = {peer.name: pay_all(peer, tasks) for peer in PEERS}
    return Report(title, tasks, peers, {name: pay_waiter(tasks, PRICES, memory) for name, memory in WAITER.items()})


def _crossing(curve: Sequence[Point], at: float, axis: int) -> float:
    """Return the other coordinate where a falling curve has this one, interpolated between logarithms."""
    points = np.log(sorted(curve, key=lambda point: point[axis]))
    return float(np.exp(np.interp(np.log(at), points[:, axis], points[:, 1 - axis])))


def _print_table(report: Report) -> None:
    print(f"\n{report.title}: {len(report.tasks):,} tasks, mean {np.mean([t.duration for t in report.tasks]):.1f} s")
    print(f"{'':36}{'delay, s':^24}{'requests':^24}{'cost at':>8}")
    print(f"{'':36}{'mean':>8}{'median':>8}{'95%':>8}{'mean':>8}{'median':>8}{'95%':>8}{PRICE:>8}")
    rows = dict(report.peers)
    rows |= {name: costs[PRICES.index(PRICE)] for name, costs in report.curves.items()}
    rows[PUBLISHED] = pay_published(report.tasks, PRICE, MEMORY)
    for name, costs in rows.items():
        columns = [(costs[:, i].mean(), *np.quantile(costs[:, i], [0.5, 0.95])) for i in (0, 1)]
        print(f"{name:36}" + "".join(f"{x:8.2f}" for column in columns for x in column) + f"{_total(costs):8.2f}")


def _print_frontier(report: Report) -> None:
    delay, requests = _mean(report.peers[FIXED.name])
    print(f"\nBeside the fixed 3 s ({requests:.1f} requests, {delay:.2f} s), others at another price:")
    published = [_mean(pay_published(report.tasks, price, MEMORY)) for price in PRICES[1:6]]
    for name, points in {**report.panel().curves, PUBLISHED: published}.items():
        fewer, shorter = 1 - _crossing(points, delay, 0) / requests, delay / _crossing(points, requests, 1)
        print(f"  {name:28}{fewer:5.0%} fewer requests at its delay; {shorter:4.2f} times less delay at its requests")


def _print_by_type(report: Report) -> None:
    """Print the means of each task type."""
    names = np.array([task.name for task in report.tasks])
    rows = {FIXED.name: report.peers[FIXED.name]}
    rows |= {name: report.curves[name][PRICES.index(PRICE)] for name in WAITER}
    print(f"\n{'mean delay, s / requests':26}" + "".join(f"{name:>28}" for name in rows))
    for kind in dict.fromkeys(names.tolist()):
        means = [_mean(costs[names == kind]) for costs in rows.values()]
        print(f"{kind:26}" + "".join(f"{delay:21.2f} /{requests:5.1f}" for delay, requests in means))


def _print_regret(report: Report) -> None:
    best = _total(report.curves[OPTIMUM][PRICES.index(PRICE)])
    print(f"\nCost over the optimum's at price {PRICE}:")
    for name, memory, error in (
        ("no history", 0, 1.0),
        ("1 past duration", 1, 1.0),
        ("5 past durations", 5, 1.0),
        ("20 past durations", 20, 1.0),
        ("20, each half of the truth", 20, 0.5),
        ("20, each twice the truth", 20, 2.0),
        ("100 past durations", 100, 1.0),
        ("100, each half of the truth", 100, 0.5),
        ("100, each twice the truth", 100, 2.0),
    ):
        costs = pay_waiter(report.tasks, [PRICE], memory, error)[0]
        published = pay_published(report.tasks, PRICE, memory, error)
        print(f"  {name:30}{_total(costs) / best:6.3f}   published form {_total(published) / best:6.3f}")
    print(f"  {FIXED.name:30}{_total(report.peers[FIXED.name]) / best:6.3f}")


def _synthetic(title: str, mix: Sequence[TaskType], count: int) -> Report:
    rng = np.random.default_rng(SEED)
    report = _report(title, synthetic_tasks(rng, mix, count))
    laws = synthetic_laws(rng, mix)
    law = mixed_law(mix, laws)
    optima = {
        OPTIMUM: [pay_optimum(report.tasks, laws, price) for price in PRICES],
        BLIND_OPTIMUM: [pay_blind_optimum(report.tasks, law, price) for price in PRICES],
    }
    return report._replace(curves={**report.curves, **optima})


def main() -> None:
    """Simulate, print and draw."""
    parser = argparse.ArgumentParser(description="Delay and requests of waiter's schedule, beside others.")
    parser.add_argument("--durations", type=Path, metavar="FILE", help="real durations, as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the frontier here (.svg or .png)")
    parser.add_argument("--tasks", type=int, default=15_000, metavar="N", help="synthetic tasks (default %(default)s)")
    options = parser.parse_args()
    random.seed(SEED)
    reports = [_synthetic(title, mix, options.tasks) for title, mix in MIXES.items()]
    if options.durations:
        reports.append(_report("Real OpenStack operations", recorded_tasks(options.durations)))
    for report in reports:
        _print_table(report)
        _print_frontier(report)
        if report.title in MIXES:
            _print_regret(report)
    _print_by_type(reports[0])
    if options.plot:
        draw([report.panel() for report in reports], options.plot)


if __name__ == "__main__":
    main()
