"""What a user gets: how late the end of a task is noticed, and by how many requests, beside other tools.

    python tests/benchmarks/waits.py [--tasks N]

For each duration, tasks are log-normal around it: eight in ten within a fifth of it. waiter runs at its default price. A fresh
process knows nothing of the type and lists its past, of 20 tasks, in place of the second poll; the listing counts as a request.
The rows of the other tools are their published schedules; ``peers.py`` says where they are published.
"""

import argparse
import random
from collections.abc import Callable, Iterable

import numpy as np
from fresh import pay_fresh
from laws import Z90
from peers import AZURE, BOTOCORE, FIXED, TERRAFORM, Peer, pay
from simulation import Task

from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule

DURATIONS = {"10 s": 10.0, "1 min": 60.0, "5 min": 300.0, "30 min": 1_800.0, "4 h": 14_400.0}
PRICE = 0.05
MEMORY = 20
SPREAD = 1.2
SEED = 20_264


def peer(tool: Peer) -> Callable[[Task], tuple[float, int]]:
    """Return a function from a task to the delay and the requests of one tool."""
    return lambda task: pay(tool, task.duration, start=random.uniform(0.0, 0.5))


def fresh(task: Task) -> tuple[float, int]:
    """Return the delay and the requests of waiter in a fresh process."""
    return pay_fresh(task, None, price=PRICE, start=random.uniform(0.0, 0.5))


def warm(task: Task) -> tuple[float, int]:
    """Return the delay and the requests of waiter in a process that has waited for this type before."""
    return peer(Peer("waiter", Schedule(price=PRICE, history=History(task.past))))(task)


ROWS: dict[str, Callable[[Task], tuple[float, int]]] = {
    "waiter, fresh process": fresh,
    "waiter, long-lived process": warm,
    "official SDK, 3 s": peer(FIXED),
    "aws, 15 s": peer(BOTOCORE),
    "az, 30 s": peer(AZURE),
    "terraform, 0.1-10 s": peer(TERRAFORM),
}


def draw_tasks(rng: np.random.Generator, duration: float, count: int) -> Iterable[Task]:
    """Yield tasks of about this duration, each with a history of its own."""
    for draws in duration * SPREAD ** (rng.standard_normal((count, MEMORY + 1)) / Z90):
        yield Task("", float(draws[0]), tuple(draws[1:].tolist()))


def main() -> None:
    """Simulate and print a table in Markdown."""
    parser = argparse.ArgumentParser(description="What a user gets, beside other tools.")
    parser.add_argument("--tasks", type=int, default=400, metavar="N", help="tasks of each duration (default %(default)s)")
    options = parser.parse_args()
    random.seed(SEED)
    rng = np.random.default_rng(SEED)
    tasks = {name: list(draw_tasks(rng, duration, options.tasks)) for name, duration in DURATIONS.items()}
    print("| delay: mean, 95%, most; requests | " + " | ".join(DURATIONS) + " |")
    print("|---" * (1 + len(DURATIONS)) + "|")
    for name, cost in ROWS.items():
        cells = []
        for group in tasks.values():
            delay, requests = np.array([cost(task) for task in group]).T
            cells.append(f"{delay.mean():.1f}, {np.quantile(delay, 0.95):.1f}, {delay.max():.1f} s; {requests.mean():.0f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
