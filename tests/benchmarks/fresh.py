"""The cost of a wait in a fresh process, which has no history yet, and of the cases in which a history misleads.

    python tests/benchmarks/fresh.py [--durations FILE] [--tasks N]

Costs are multiples of the least cost for the known distribution, at the price that the constants were chosen for. A fresh
process knows the usual range of a documented type, and requests the history in place of its second poll; the listing counts as
one request. The constants of the estimate were tuned on other distributions, but the usual ranges are those from which the
mixes are made: the lines for a range that is wrong by a factor of two, and for no range, show what that is worth. FILE is that
of ``schedules.py``; its types have no usual range, and the least cost is that of the list itself, of which every seventh
operation is awaited.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from laws import ROUGH, SMOOTH, Seconds, TaskType
from peers import Peer, PollState, pay
from simulation import Task, pay_optimum, recorded_tasks, synthetic_laws, synthetic_tasks
from tenacity import RetryCallState

from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule

PRICE = 0.2
SEED = 20_263
EVERY = 7
DOCUMENTED = {
    kind.name: (kind.low, kind.high)
    for kind in ROUGH
    if kind.name not in {"delete_fip", "attach_volume", "delete_volume", "delete_network"}
}
Usual = tuple[float, float] | None


def pay_fresh(task: Task, usual: Usual, *, learn: bool = True, price: float = PRICE, start: float = 0.0) -> tuple[float, int]:
    """Return the delay and the requests of a wait that begins with the usual range and requests the history on its way.

    Its first poll is at the age ``start``.
    """
    schedule = Schedule(price=price, history=History(usual=usual))
    state, requests = PollState(), 1
    state.attempt_number, state.age = 1, start
    while state.age < task.duration:
        state.age += schedule(cast("RetryCallState", state))
        requests += 1
        if learn:
            learn, schedule = False, schedule.learned(History(task.past, usual=usual))
            requests += state.age >= task.duration  # an end that the listing shows is confirmed by a poll
    return state.age - task.duration, requests


def pay_warm(task: Task, past: Sequence[float]) -> tuple[float, int]:
    """Return the delay and the requests of a wait that has these durations from the start."""
    return pay(Peer("waiter", Schedule(price=PRICE, history=History(past))), task.duration)


def scaled(usual: Usual, factor: float) -> Usual:
    """Return a range that is wrong by a factor."""
    return usual and (usual[0] * factor, usual[1] * factor)


def report(title: str, tasks: Sequence[Task], laws: Mapping[str, Seconds], usual: Mapping[str, Usual]) -> None:
    """Print the costs of one set of tasks as multiples of the least."""
    least = _cost([tuple(row) for row in pay_optimum(tasks, laws, PRICE)])
    rows = {
        "fresh process": [pay_fresh(task, usual.get(task.name)) for task in tasks],
        "fresh, range half of the truth": [pay_fresh(task, scaled(usual.get(task.name), 0.5)) for task in tasks],
        "fresh, range twice the truth": [pay_fresh(task, scaled(usual.get(task.name), 2)) for task in tasks],
        "fresh, no usual range": [pay_fresh(task, None) for task in tasks],
        "fresh, learn=False": [pay_fresh(task, usual.get(task.name), learn=False) for task in tasks],
        "20 past durations": [pay_warm(task, task.past[:20]) for task in tasks],
        "1 past duration": [pay_warm(task, task.past[:1]) for task in tasks],
        "20, each half of the truth": [pay_warm(task, [0.5 * x for x in task.past[:20]]) for task in tasks],
        "20, each twice the truth": [pay_warm(task, [2 * x for x in task.past[:20]]) for task in tasks],
        "10 after a doubling, 90 before": [
            pay_warm(task, [*task.past[:10], *(x / 2 for x in task.past[10:])]) for task in tasks
        ],
    }
    print(f"\n{title}: {len(tasks):,} tasks, least cost {least:.2f} s")
    for name, costs in rows.items():
        print(f"  {name:34}{_cost(costs) / least:6.3f}")


def _cost(costs: Sequence[tuple[float, ...]]) -> float:
    delay, requests = np.array(costs).mean(axis=0)
    return float(delay + PRICE * requests)


def report_early_failures() -> None:
    """Print how late a task is noticed that ends in its first 20 s although its type takes 100 to 1,800 s."""
    rng = np.random.default_rng(SEED)
    lateness = []
    for middle in np.exp(rng.uniform(np.log(150), np.log(1200), 1_000)):
        past = np.clip(middle * np.exp(0.3 * rng.standard_normal(20)), 100, 1800).tolist()
        lateness.append(pay_warm(Task("", rng.uniform(0, 20), ()), past)[0])
    print(f"\nearly failure: {np.mean(lateness):.1f} s late on average, {max(lateness):.1f} s at most")


def report_time_left(title: str, tasks: Sequence[Task]) -> None:
    """Print how many tasks end within the stated median and 90%, at the start and in mid-task, with 20 past durations."""
    print(f"\n{title}: share of tasks that end within the stated median and 90%")
    for part in (0.0, 0.5, 0.8):
        within = []
        for task in tasks:
            age = part * float(np.median(task.past))
            left = Schedule(history=History(task.past[:20])).time_left(age)
            if task.duration > age and left and left.p90:
                within.append((task.duration - age <= left.median, task.duration - age <= left.p90))
        median, p90 = np.array(within).mean(axis=0)
        print(f"  at {part:.1f} of the usual duration: {median:6.1%} {p90:6.1%}")


def _mix(title: str, mix: Sequence[TaskType], count: int) -> None:
    rng = np.random.default_rng(SEED)
    tasks = synthetic_tasks(rng, mix, count)
    report(title, tasks, synthetic_laws(rng, mix), DOCUMENTED)
    report_time_left(title, tasks)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description="The cost of a wait in a fresh process.")
    parser.add_argument("--durations", type=Path, metavar="FILE", help="real durations, as JSON")
    parser.add_argument("--tasks", type=int, default=6_000, metavar="N", help="synthetic tasks (default %(default)s)")
    options = parser.parse_args()
    random.seed(SEED)
    for title, mix in (("smooth mix", SMOOTH), ("rough mix", ROUGH)):
        _mix(title, mix, options.tasks)
    if options.durations:
        tasks = recorded_tasks(options.durations)
        laws = {name: np.sort([task.duration for task in tasks if task.name == name]) for name in {task.name for task in tasks}}
        report("real operations", [task for task in tasks if len(task.past) >= 20][::EVERY], laws, {})
    report_early_failures()


if __name__ == "__main__":
    main()
