"""The least cost that 20 past durations allow, when the family of distributions is known.

    python tests/benchmarks/bound.py [--histories N]

Each type of the smooth mix is log-normal with some tasks that hang; only its scale and its width, within the range of the mix,
are unknown. The exact optimum for what 20 durations leave open (the posterior predictive distribution, with flat priors for
the logarithms of both) is the best that any estimate can do with them, on average over such types. It is compared with the
optimum that knows the distribution. As with ``constants.py --bound``, tasks that take twice or half as long may be allowed for.
waiter's estimate does not know the family, and its costs include the bound for early failures.
"""

import argparse
import math

import numpy as np
from constants import PRICE, SEED, expected_cost, mix_laws
from laws import SMOOTH, Z90, Seconds
from numpy.typing import NDArray
from optimum import optimal_polls

MEMORY = 20
HANGS, HANG_RANGE = 1 / 30, (2 / Z90, 5 / Z90)
"""The share of tasks that hang, and by how many standard deviations: those of ``laws.broad``."""
LEAST_WIDTH, LARGEST_WIDTH = 0.2, 0.8
DRAWS = 120_000
ALLOWANCES = ((0.0, 0.0), (0.1, 0.1), (0.2, 0.2), (0.2, 0.4))
_normal = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)))


def density(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the density of standardized log-durations."""
    low, high = HANG_RANGE
    usual = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    result: NDArray[np.float64] = (1 - HANGS) * usual + HANGS * (_normal(z - low) - _normal(z - high)) / (high - low)
    return result


def predictive_sample(past: Seconds, rng: np.random.Generator) -> Seconds:
    """Return draws of the next duration, given the past ones and the family."""
    logs = np.log(past)
    middles = np.median(logs) + max(logs.std(), 0.05) * np.linspace(-1.2, 1.2, 41)
    widths = np.exp(np.linspace(math.log(LEAST_WIDTH), math.log(LARGEST_WIDTH), 25))
    standardized = (logs - middles[:, None, None]) / widths[:, None]
    likelihoods = np.log(density(standardized) / widths[:, None]).sum(axis=2)
    weights = np.exp(likelihoods - likelihoods.max()).ravel()
    drawn = rng.choice(weights.size, DRAWS, p=weights / weights.sum())
    middle = middles[drawn // widths.size] + (middles[1] - middles[0]) * rng.uniform(-0.5, 0.5, DRAWS)
    z = rng.standard_normal(DRAWS) + (rng.random(DRAWS) < HANGS) * rng.uniform(*HANG_RANGE, DRAWS)
    draws: Seconds = np.exp(middle + widths[drawn % widths.size] * z)
    return draws


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description="The least cost that 20 past durations allow.")
    parser.add_argument("--histories", type=int, default=3, metavar="N", help="1 to 4 of each type (default %(default)s)")
    histories = parser.parse_args().histories
    laws, factors = mix_laws(SMOOTH), (1, 2, 0.5)
    least = [
        sum(
            kind.share * expected_cost(optimal_polls(factor * law.sample, PRICE), factor * law.sample)
            for kind, law in zip(SMOOTH, laws, strict=True)
        )
        for factor in factors
    ]
    print(f"{'allowed for: slower, faster':34}{'right':>9}{'half':>9}{'twice':>9}")
    for slower, faster in ALLOWANCES:
        rng, costs = np.random.default_rng(SEED), np.zeros(len(factors))
        for kind, law in zip(SMOOTH, laws, strict=True):
            for past in law.histories[:histories]:
                sample = predictive_sample(past[:MEMORY], rng)
                parts = [sample, 2 * rng.choice(sample, int(slower * DRAWS)), rng.choice(sample, int(faster * DRAWS)) / 2]
                polls = optimal_polls(np.sort(np.concatenate(parts)), PRICE)
                costs += [kind.share / histories * expected_cost(polls, factor * law.sample) for factor in factors]
        row = "".join(f"{cost:9.3f}" for cost in costs / least)
        print(f"{f'{slower:g}, {faster:g} as likely':34}{row}", flush=True)


if __name__ == "__main__":
    main()
