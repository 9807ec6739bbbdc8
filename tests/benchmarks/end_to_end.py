"""Real waits over real HTTP beside what the simulation says of them.

    python tests/benchmarks/end_to_end.py [--tasks N] [--speed X]

Tasks of the rough mix run in waiter's simulated cloud, behind a port of this machine, and a `Waiter` waits for each of them.
The clocks of the cloud and of the waits go faster than real ones, and all figures are in their seconds. So a request takes
long there, and the simulation is told how long it took on the mean.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from laws import ROUGH
from peers import Peer, pay
from simulation import Costs, Task, synthetic_tasks

from waiter import History, Waiter
from waiter.schedule.schedule import Schedule
from waiter.testing import SimulatedCloud, finishes

PRICE = 0.2
MEMORY = 20
SEED = 20_262
REPEATS = 50
"""The jitter differs from wait to wait; the simulation takes the mean over so many."""
LONGEST = 600.0
"""Tasks that take more seconds are left out, so that it ends in a minute or two."""
THREADS = 12


class Stage:
    """A cloud behind a port whose seconds, and those of the waits for its tasks, are so many times as short as real ones."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.cloud = SimulatedCloud(clock=lambda: speed * time.monotonic(), sleep=self._sleep)
        self._pauses: list[float] = []
        self._waited: list[float] = []

    def _sleep(self, seconds: float) -> None:
        self._pauses.append(seconds)
        time.sleep(seconds / self.speed)

    @property
    def request_time(self) -> float:
        """How many of the cloud's seconds a request took on the mean: all but the pauses that the waits meant to make."""
        return (sum(self._waited) - sum(self._pauses)) / len(self.cloud.requests)

    def measure(self, tasks: Sequence[Task], memory: int) -> Costs:
        """What real waits pay for these tasks, remembering so many durations."""
        with (
            self.cloud.serve() as self.cloud.base_url,
            httpx.Client(limits=httpx.Limits(max_connections=THREADS), trust_env=False) as client,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            waits = list(pool.map(lambda task: self._wait(client, task, memory), tasks))
        sent = Counter(request.task_id for request in self.cloud.requests)
        return np.array([(delay, sent[task_id]) for task_id, delay in waits])

    def _wait(self, client: httpx.Client, task: Task, memory: int) -> tuple[str, float]:
        """The ID of a task of this duration, and the seconds from its end to its noticing."""
        options = {**self.cloud.options, "client": client}
        with Waiter(**options, wait=_schedule(task, memory), timeout=None) as waiter:
            began = self.cloud.elapsed
            task_id = self.cloud.add(finishes(task.duration))
            waiter.wait(task_id)
            waited = self.cloud.elapsed - began
            self._waited.append(waited)
            return task_id, waited - task.duration


def predict(tasks: Sequence[Task], memory: int, request_time: float) -> Costs:
    """What the simulation expects them to pay."""
    peers = [Peer("waiter", _schedule(task, memory)) for task in tasks]
    rows = [[pay(peer, task.duration, request_time) for _ in range(REPEATS)] for peer, task in zip(peers, tasks, strict=True)]
    means: Costs = np.array(rows).mean(axis=1)
    return means


def _schedule(task: Task, memory: int) -> Schedule:
    return Schedule(price=PRICE, history=History(task.past[:memory]))


def _print_row(name: str, measured: Costs, predicted: Costs) -> None:
    """The means, and how far a wait is from its prediction on the mean, with the standard error."""
    apart = measured - predicted
    errors = apart.std(axis=0) / len(apart) ** 0.5
    row = zip(measured.mean(axis=0), predicted.mean(axis=0), apart.mean(axis=0), errors, strict=True)
    print(
        f"{name:24}" + "".join(f"{real:10.2f}{expected:11.2f}{gap:+9.2f} ±{error:5.2f}" for real, expected, gap, error in row)
    )


def main() -> None:
    """Wait, simulate, print."""
    parser = argparse.ArgumentParser(description="Real waits over real HTTP beside what the simulation says of them.")
    parser.add_argument("--tasks", type=int, default=200, metavar="N", help="about so many (default %(default)s)")
    parser.add_argument("--speed", type=float, default=20, metavar="X", help="seconds in a real one (default %(default)s)")
    options = parser.parse_args()
    random.seed(SEED)
    drawn = synthetic_tasks(np.random.default_rng(SEED), ROUGH, options.tasks)
    tasks = [task for task in drawn if task.duration <= LONGEST]
    random.shuffle(tasks)  # many quick ones at a time would keep the machine busy, and each other waiting
    print(f"{len(tasks)} tasks, mean {np.mean([task.duration for task in tasks]):.1f} s, {options.speed:g} times as fast")
    print(f"{'':24}{'delay, s':^37}{'requests':^37}")
    print(f"{'':24}" + f"{'over HTTP':>10}{'simulated':>11}{'apart':>9}{'':7}" * 2)
    for name, memory in (("no history", 0), (f"{MEMORY} past durations", MEMORY)):
        stage = Stage(options.speed)
        measured = stage.measure(tasks, memory)
        _print_row(name, measured, predict(tasks, memory, stage.request_time))
        print(f"  a request took {stage.request_time:.2f} s")


if __name__ == "__main__":
    main()
