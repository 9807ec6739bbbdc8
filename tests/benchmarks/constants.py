"""What each constant of the estimate is worth: the cost at other values, on random distributions.

    python tests/benchmarks/constants.py [--laws N] [--bound]

The distributions are log-normal, gamma, Weibull, shifted exponential or two-humped, of random scale (1.5 to 1,500 s) and width,
some with tasks that hang. Neither the mixes of ``laws.py`` nor the real operations are among them. A cost is the mean over the
distributions of the expected cost as a multiple of the least, without jitter, at a price of 0.2; all rows have the same
histories. "Half" and "twice" are 20 durations, each half of the truth or twice the truth, of the wider distributions. "Doubled"
are 10 durations since all tasks take twice as long, after 90 others. The last two columns are the smooth and the rough mix.

``--bound`` prints what robustness costs at least on the smooth mix: the cost of the exact optimum when the distribution is
known, but tasks are allowed for that take twice or half as long with some probability.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from laws import ROUGH, SMOOTH, Seconds, Shape, TaskType
from optimum import optimal_polls

import waiter.schedule.hazard as hazard_module
import waiter.schedule.schedule as schedule_module
from waiter.schedule.hazard import FOR_COST
from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule

PRICE = 0.2
SEED = 20_265
DRAWS = 40_000
SAMPLE = 10
"""Every so many draws of a distribution count in its expected costs."""
WIDE = 0.18
"""The standard deviation of the log-durations above which a distribution counts in the costs of wrong histories."""


class Law(NamedTuple):
    """A distribution as a sorted sample, its weight, its least cost, and histories of 100 durations."""

    sample: Seconds
    weight: float
    least: float
    histories: Sequence[Seconds]


def random_shape(rng: np.random.Generator, kind: int) -> Shape:
    """Return a shape of durations around 1, in seconds."""
    spread, gap, share = math.exp(rng.uniform(math.log(0.06), math.log(0.7))), rng.uniform(2.5, 8), rng.uniform(0.2, 0.8)
    hangs = 1 / 30 if rng.random() < 0.35 else 0.0

    def draw(rng: np.random.Generator, count: int) -> Seconds:
        shapes: list[Callable[[], Seconds]] = [
            lambda: np.exp(spread * rng.standard_normal(count)),
            lambda: rng.gamma(1 / spread**2, spread**2, count),
            lambda: rng.weibull(1.2 / spread, count),
            lambda: np.exp(spread * (rng.exponential(1.0, count) - 1)),
            lambda: np.exp(spread / 2 * (np.where(rng.random(count) < share, -gap / 2, gap / 2) + rng.standard_normal(count))),
        ]
        durations = shapes[kind]()
        return np.where(rng.random(count) < hangs, durations * np.exp(rng.uniform(0.5, 2.5, count)), durations)

    return draw


def make_law(rng: np.random.Generator, draw: Shape, weight: float = 1.0, histories: int = 3) -> Law:
    """Return a law with its least cost."""
    whole = np.sort(draw(rng, DRAWS))
    polls = optimal_polls(whole, PRICE)
    sample = whole[::SAMPLE]
    return Law(sample, weight, expected_cost(polls, sample), [draw(rng, 100) for _ in range(histories)])


def random_laws(count: int) -> list[Law]:
    """Return that many random laws."""
    rng = np.random.default_rng(SEED)
    scales = np.exp(rng.uniform(math.log(1.5), math.log(1_500), count))
    return [make_law(rng, scaled(random_shape(rng, i % 5), scale)) for i, scale in enumerate(scales)]


def scaled(shape: Shape, scale: float) -> Shape:
    """Return a shape around another duration in seconds."""
    return lambda rng, count: scale * shape(rng, count)


def mix_laws(mix: Sequence[TaskType]) -> list[Law]:
    """Return the laws of a mix, weighted so that the mean of the multiples is that of the costs."""
    rng = np.random.default_rng(SEED)
    laws = [make_law(rng, kind.draw, kind.share, histories=4) for kind in mix]
    return [law._replace(weight=law.weight * law.least) for law in laws]


def expected_cost(polls: Seconds, sample: Seconds) -> float:
    """Return the mean cost of polls at these ages, after one at the age 0."""
    last = max(polls[-1], 1e-9)
    polls = np.concatenate((polls, last * 1.05 ** np.arange(1, 80)))
    i = np.searchsorted(polls, sample)
    return float((polls[i] - sample).mean() + PRICE * (i + 2).mean())


def schedule_cost(law: Law, past: Seconds) -> float:
    """Return the expected cost of waiter's schedule with this history."""
    schedule, polls = Schedule(price=PRICE, history=History(past.tolist())), [0.0]
    while polls[-1] < law.sample[-1]:
        polls.append(polls[-1] + schedule.interval(polls[-1]))
    return expected_cost(np.array(polls[1:]), law.sample)


def mean_cost(laws: Sequence[Law], change: Callable[[Seconds], Seconds]) -> float:
    """Return the weighted mean of the costs, as multiples of the least, with histories that were changed."""
    costs = [np.mean([schedule_cost(law, change(past)) for past in law.histories]) / law.least for law in laws]
    return float(np.average(costs, weights=[law.weight for law in laws]))


COLUMNS: dict[str, Callable[[Seconds], Seconds]] = {
    "20": lambda past: past[:20],
    "5": lambda past: past[:5],
    "1": lambda past: past[:1],
    "half": lambda past: past[:20] / 2,
    "twice": lambda past: past[:20] * 2,
    "doubled": lambda past: np.concatenate((past[:10], past[10:] / 2)),
}
CONSTANTS: list[tuple[ModuleType, str, Sequence[float]]] = [
    (hazard_module, "ESTIMATE_SIZE", (10, 30, 100)),
    (hazard_module, "_PRIOR_WEIGHT", (0.001, 0.01)),
    (hazard_module, "_STEEPNESS_EXPONENT", (0.1, 0.35)),
    (hazard_module, "_PRIOR_SPREAD", (0.07, 0.3)),
    (hazard_module, "_NEIGHBOURS", (0.25, 1.0)),
    (hazard_module, "_MIN_DISTANCE", (0.03, 0.3)),
    (schedule_module, "MIN_INTERVAL_FACTOR", (15.0, 60.0)),
    (schedule_module, "MAX_INTERVAL_FACTOR", (30.0, 300.0)),
    (schedule_module, "MAX_INTERVAL", (7.0, 13.0, 1e6)),
    (schedule_module, "LONG", (50.0, 200.0)),
]
PURPOSE = {
    "steepness": (1.3, 2.5),
    "broad_steepness": (2.3, 3.6, 5.0),
    "broad_shift": (0.0, 0.45, 0.65),
    "broad_weight": (0.1, 0.15, 0.25, 0.35),
    "broad_weight_of_few": (0.3, 1.0),
}


@contextmanager
def changed(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Use another value of a constant for a while."""
    before = getattr(module, name)
    setattr(module, name, value)
    hazard_module.estimate.cache_clear()
    try:
        yield
    finally:
        setattr(module, name, before)


def print_row(name: str, laws: Sequence[Law], mixes: Sequence[Sequence[Law]]) -> None:
    """Print the costs with the constants as they are now."""
    wide = [law for law in laws if np.std(np.log(law.sample)) > WIDE]
    row = [mean_cost(wide if column in {"half", "twice", "doubled"} else laws, change) for column, change in COLUMNS.items()]
    row += [mean_cost(mix, COLUMNS["20"]) for mix in mixes]
    print(f"{name:34}" + "".join(f"{cost:9.3f}" for cost in row), flush=True)


def print_bound() -> None:
    """Print the costs of the exact optimum that allows for tasks that take twice or half as long."""
    rng = np.random.default_rng(SEED)
    samples = [(kind.share, np.sort(kind.draw(rng, 15_000))) for kind in SMOOTH]

    def polls(sample: Seconds, slower: float, faster: float) -> Seconds:
        parts = [sample, 2 * rng.choice(sample, int(slower * sample.size)), rng.choice(sample, int(faster * sample.size)) / 2]
        return optimal_polls(np.sort(np.concatenate(parts)), PRICE)

    least = sum(share * expected_cost(polls(sample, 0, 0), sample) for share, sample in samples)
    print(f"{'allowed for: slower, faster':34}{'right':>9}{'half':>9}{'twice':>9}")
    for slower, faster in ((0.05, 0.05), (0.1, 0.1), (0.1, 0.2), (0.2, 0.2), (0.2, 0.4), (0.4, 0.4)):
        row = [
            sum(share * expected_cost(polls(factor * sample, slower, faster), sample) for share, sample in samples) / least
            for factor in (1, 0.5, 2)
        ]
        print(f"{f'{slower:g}, {faster:g} as likely':34}" + "".join(f"{cost:9.3f}" for cost in row), flush=True)


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description="The cost at other values of each constant.")
    parser.add_argument("--laws", type=int, default=50, metavar="N", help="random distributions (default %(default)s)")
    parser.add_argument("--bound", action="store_true", help="print the least cost of robustness instead")
    options = parser.parse_args()
    if options.bound:
        print_bound()
        return
    laws, mixes = random_laws(options.laws), [mix_laws(SMOOTH), mix_laws(ROUGH)]
    print(f"{'':34}" + "".join(f"{column:>9}" for column in [*COLUMNS, "smooth", "rough"]))
    print_row("as it is", laws, mixes)
    changes: list[tuple[ModuleType, str, str, Any]] = [
        (module, name, name, value) for module, name, values in CONSTANTS for value in values
    ]
    changes += [
        (schedule_module, "FOR_COST", name, FOR_COST._replace(**{name: value}))
        for name, values in PURPOSE.items()
        for value in values
    ]
    for module, attribute, name, value in changes:
        shown = getattr(value, name) if attribute == "FOR_COST" else value
        with changed(module, attribute, value):
            schedule_module._policy.cache_clear()
            print_row(f"{name} {shown:g}", laws, mixes)


if __name__ == "__main__":
    main()
