"""Find mutants that no test notices: ``python tests/mutation/run.py [--sample 60] [--seed 0] PACKAGE_OR_MODULE...``.

A mutant is a module with one small change: another operator or number, a negated condition, a value that is not returned, a
call that is left out, or an exception that is not caught. The tests of its package that execute the changed line run against it
until the first failure, quick ones first. ``--sample`` chooses so many mutants of each package.

Prints the survivors and the share of the mutants that were killed. ``explained.txt`` says of survivors why no test can or
should notice them. Exits with 1 if less than 90% of those of a package were killed or explained.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from importlib import import_module
from pathlib import Path

# Hypothesis tries the same examples for each mutant, and keeps none. It reads this when it is imported.
os.environ["CI"] = "true"

from mutants import ROOT, count_mutants, mutant_of
from trial import measure, try_mutants

GOAL = 0.9
# Run against the mutants of a package.
TESTS = {
    "waiter/task.py": ["tests/test_task.py", "tests/api"],
    "waiter/api": ["tests/api", "tests/polling/test_resource_state.py"],
    "waiter/schedule": ["tests/schedule"],
    "waiter/polling": ["tests/polling", "tests/test_wait.py", "tests/test_events.py"],
    "waiter/ratelimit": ["tests/ratelimit"],
    "waiter/batch": ["tests/batch"],
    "waiter/sidecar/storage": ["tests/sidecar/storage"],
}
# What takes long to import and is not mutated, imported once.
PRELOADED = ["anyio", "freezegun", "httptools", "httpx", "hypothesis", "msgspec", "structlog", "tenacity", "trio"]


def read_explained() -> dict[str, str]:
    """Return the explanations of ``explained.txt``, by the mutant: a line is ``module: function: code: change -> why``."""
    lines = (Path(__file__).with_name("explained.txt")).read_text().splitlines()
    return {mutant: why for mutant, _, why in (line.partition(" -> ") for line in lines if line and line[0] != "#")}


def examine(name: str, sample: int, seed: int, *, jobs: int, verbose: bool) -> float:
    """Print the survivors of a package, and return the share of its mutants that were killed or explained."""
    modules = [name] if name.endswith(".py") else [str(file) for file in sorted(Path(name).glob("*.py"))]
    numbers = [(module, number) for module in modules for number in range(count_mutants(module))]
    chosen = random.Random(seed).sample(numbers, min(len(numbers), sample))
    mutants = [mutant_of(module, number) for module, number in chosen]
    tests = next(tests for prefix, tests in TESTS.items() if name.startswith(prefix))
    found = try_mutants(mutants, tests, measure(tests, modules), jobs)
    survived = [str(mutants[number]) for number, verdict in sorted(found.items()) if verdict is None]
    if verbose:
        print(
            *(f"{verdict or 'no end'} kills {mutants[number]}" for number, verdict in found.items() if verdict is not None),
            sep="\n",
        )
    explained = read_explained()
    left = [one for one in survived if one not in explained]
    print(*left, sep="\n", end="\n" if left else "")
    killed, known = len(chosen) - len(survived), len(survived) - len(left)
    print(f"{name}, seed {seed}: {killed} of {len(chosen)} killed, {known} explained, {len(left)} survived", flush=True)
    return 1 - len(left) / len(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PACKAGE_OR_MODULE", default=list(TESTS))
    parser.add_argument("--sample", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="how many mutants are tried at a time")
    parser.add_argument("--verbose", action="store_true", help="print the test that killed each of the others, too")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in PRELOADED:
        import_module(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        shares = [
            examine(name, arguments.sample, arguments.seed, jobs=arguments.jobs, verbose=arguments.verbose)
            for name in arguments.names
        ]
    return int(min(shares) < GOAL)


if __name__ == "__main__":
    sys.exit(main())
