"""Real waits over real HTTP, beside the costs that the simulation predicts.

    python tests/benchmarks/end_to_end.py [--tasks N] [--speed X] [--processes N]

Tasks of the rough mix run in waiter's simulated cloud, behind a loopback port, and a `Waiter` waits for each of them. The
clocks of the cloud and of the waits are faster than real ones, and all figures are in their seconds. So a request takes long,
and the simulation is given its mean duration.

With ``--processes`` it is the command that waits, in a fresh process for each task, in real time, at the default price.
Requests and delays are those that the server saw. Each type has 20 past tasks, which the command may list. The row "history
known before" is the most that a cache of histories between runs could save: the process has the history from the start.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from fresh import pay_fresh
from laws import ROUGH
from peers import Peer, pay
from simulation import Costs, Task, synthetic_tasks

from waiter import History, Waiter
from waiter.schedule.priors import USUAL_DURATIONS
from waiter.schedule.schedule import Schedule
from waiter.testing import SimulatedCloud, finishes

PRICE = 0.2
MEMORY = 20
SEED = 20_262
REPEATS = 50
"""The jitter differs between waits; the simulation returns the mean of this many."""
LONGEST = 600.0
"""Tasks that take more seconds are left out, so that the run takes a minute or two."""
THREADS = 12
LONGEST_IN_REAL_TIME = 120.0
DEFAULT_PRICE = 0.05
COMMAND = "import sys; from waiter.cli import main; sys.exit(main())"
KNOWN_BEFORE = f"""
import json, os, msgspec
from waiter.polling.history_cache import HistoryCache
from waiter.schedule.history import History
from waiter.schedule.priors import prior
known = History(json.loads(os.environ["PAST"]))
usual = prior(os.environ["TASK_TYPE"])
known = msgspec.structs.replace(known, usual=usual.usual) if usual else known
HistoryCache.claim = lambda *_, **__: False
HistoryCache.get = lambda *_, **__: known
{COMMAND}
"""


class Stage:
    """A cloud behind a port. Its clock, and that of the waits for its tasks, is ``speed`` times as fast as real time."""

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
        """Return the mean duration of a request in the cloud's seconds: all the time that the waits did not sleep."""
        return (sum(self._waited) - sum(self._pauses)) / len(self.cloud.requests)

    def measure(self, tasks: Sequence[Task], memory: int) -> Costs:
        """Return the costs of real waits for these tasks, with so many past durations."""
        with (
            self.cloud.serve() as self.cloud.base_url,
            httpx.Client(limits=httpx.Limits(max_connections=THREADS), trust_env=False) as client,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            waits = list(pool.map(lambda task: self._wait(client, task, memory), tasks))
        sent = Counter(request.task_id for request in self.cloud.requests)
        return np.array([(delay, sent[task_id]) for task_id, delay in waits])

    def _wait(self, client: httpx.Client, task: Task, memory: int) -> tuple[str, float]:
        """Return the ID of a task of this duration, and the seconds from its end until the wait noticed it."""
        options = {**self.cloud.options, "client": client}
        with Waiter(**options, wait=_schedule(task, memory), timeout=None) as waiter:
            began = self.cloud.elapsed
            task_id = self.cloud.add(finishes(task.duration))
            waiter.wait(task_id)
            waited = self.cloud.elapsed - began
            self._waited.append(waited)
            return task_id, waited - task.duration


def predict(tasks: Sequence[Task], memory: int, request_time: float) -> Costs:
    """Return the costs that the simulation predicts."""
    peers = [Peer("waiter", _schedule(task, memory)) for task in tasks]
    rows = [[pay(peer, task.duration, request_time) for _ in range(REPEATS)] for peer, task in zip(peers, tasks, strict=True)]
    means: Costs = np.array(rows).mean(axis=1)
    return means


def _schedule(task: Task, memory: int) -> Schedule:
    return Schedule(price=PRICE, history=History(task.past[:memory]))


def _print_row(name: str, measured: Costs, predicted: Costs) -> None:
    """Print the means, and the mean difference between a wait and its prediction with its standard error."""
    apart = measured - predicted
    errors = apart.std(axis=0) / len(apart) ** 0.5
    row = zip(measured.mean(axis=0), predicted.mean(axis=0), apart.mean(axis=0), errors, strict=True)
    print(
        f"{name:24}" + "".join(f"{real:10.2f}{expected:11.2f}{gap:+9.2f} ±{error:5.2f}" for real, expected, gap, error in row)
    )


def _run_command(task: Task, code: str) -> tuple[float, int, float]:
    """Return the delay and the requests of the command for one task as the server saw them, and the age at its first poll."""
    cloud = SimulatedCloud()
    cloud.add_past(task.name, task.past[:MEMORY][::-1])
    with cloud.serve() as url:
        environment = dict(os.environ, GCORE_API_KEY=cloud.api_key, GCORE_BASE_URL=url)
        environment |= {"TASK_TYPE": task.name, "PAST": json.dumps(task.past[:MEMORY])}
        began = cloud.elapsed
        task_id = cloud.add(finishes(task.duration, task_type=task.name))
        arguments = ["wait", task_id, "--timeout", "10m", "--quiet"]
        subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    first, last = cloud.requests[0], cloud.requests[-1]
    return last.at - began - task.duration, len(cloud.requests), first.at - began


def measure_processes(count: int) -> None:
    """Print the costs of the command in fresh processes, and what the simulation predicts."""
    drawn = synthetic_tasks(np.random.default_rng(SEED), ROUGH, 5 * count)
    random.shuffle(drawn)
    tasks = [task for task in drawn if task.duration <= LONGEST_IN_REAL_TIME][:count]
    print(
        f"\n{len(tasks)} fresh processes, tasks of {np.mean([task.duration for task in tasks]):.1f} s on average, in real time"
    )
    for name, code in (("fresh process", COMMAND), ("history known before", KNOWN_BEFORE)):
        with ThreadPoolExecutor(THREADS) as pool:
            rows = np.array(list(pool.map(lambda task, code=code: _run_command(task, code), tasks)))
        start = float(rows[:, 2].mean())
        predicted = [_predict_process(task, start, knows=code == KNOWN_BEFORE) for task in tasks]
        _print_row(name, rows[:, :2], np.array(predicted))
        print(f"  the first poll came at an age of {start:.2f} s")


def _predict_process(task: Task, start: float, *, knows: bool) -> Costs:
    usual = USUAL_DURATIONS.get(task.name)
    if knows:
        schedule = Schedule(price=DEFAULT_PRICE, history=History(task.past[:MEMORY], usual=usual))
        rows = [pay(Peer("waiter", schedule), task.duration, start=start) for _ in range(REPEATS)]
    else:
        task = task._replace(past=task.past[:MEMORY])
        rows = [pay_fresh(task, usual, price=DEFAULT_PRICE, start=start) for _ in range(REPEATS)]
    means: Costs = np.array(rows).mean(axis=0)
    return means


def main() -> None:
    """Wait, simulate and print."""
    parser = argparse.ArgumentParser(description="Real waits over real HTTP, beside the simulation.")
    parser.add_argument("--tasks", type=int, default=200, metavar="N", help="about so many (default %(default)s)")
    parser.add_argument("--speed", type=float, default=20, metavar="X", help="seconds in a real one (default %(default)s)")
    parser.add_argument("--processes", type=int, metavar="N", help="measure the command instead, in so many fresh processes")
    options = parser.parse_args()
    random.seed(SEED)
    if options.processes:
        measure_processes(options.processes)
        return
    drawn = synthetic_tasks(np.random.default_rng(SEED), ROUGH, options.tasks)
    tasks = [task for task in drawn if task.duration <= LONGEST]
    random.shuffle(tasks)  # many quick ones together would delay each other
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
