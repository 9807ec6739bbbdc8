"""Find mutants that no test notices: ``python tests/mutation/run.py MODULE...``, with cosmic-ray installed.

Each module, such as ``waiter/batch/listing_cost.py``, is mutated in a copy of the repository, and its tests run against each
mutant. Prints the share that was killed and the diffs of the survivors. Exits with 1 if less than 90% were killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOAL = 0.9
# The tests of a module are those of its folder, unless it stands here; the first entry that fits counts.
TESTS = {
    "waiter/task.py": ["tests/test_task.py", "tests/api"],
    "waiter/api": ["tests/api"],
    "waiter/schedule": ["tests/schedule"],
    "waiter/polling": ["tests/test_wait.py", "tests/polling", "tests/test_events.py"],
    "waiter/ratelimit": ["tests/ratelimit"],
    "waiter/batch/listing_poller.py": ["tests/batch"],
    "waiter/batch/subscription.py": ["tests/batch/test_subscription.py", "tests/batch/test_listing_poller.py"],
    "waiter/sidecar/storage": ["tests/sidecar/storage"],
}
# A mutant that takes so many seconds has been noticed too.
TIMEOUT = 120.0


def tests_of(module: str) -> list[str]:
    """Return the tests that are run against a module's mutants."""
    for prefix, tests in TESTS.items():
        if module.startswith(prefix):
            return tests
    path = Path(module)
    return [str(Path("tests", *path.parent.parts[1:], f"test_{path.name}"))]


def config(module: str) -> str:
    """Return cosmic-ray's configuration for a module."""
    tests = " ".join(tests_of(module))
    command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {tests}"
    return (
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = {TIMEOUT}\nexcluded-modules = []\n'
        f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )


def copy_repository(target: Path) -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def mutate(module: str, copy: Path) -> tuple[int, list[str]]:
    """Return how many mutants of a module there were, and the diffs of those that survived."""
    environ = os.environ | {"PYTHONPATH": str(copy), "TEST_EXAMPLES": "30"}
    (copy / "mutation.toml").write_text(config(module))
    for command in (["init", "mutation.toml", "session.sqlite", "--force"], ["exec", "mutation.toml", "session.sqlite"]):
        subprocess.run(["cosmic-ray", *command], cwd=copy, env=environ, check=True)
    dump = subprocess.run(["cosmic-ray", "dump", "session.sqlite"], cwd=copy, check=True, capture_output=True, text=True)
    results = [json.loads(line)[1] for line in dump.stdout.splitlines()]
    return len(results), [one["diff"] for one in results if one and one["test_outcome"] == "survived"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+", metavar="MODULE")
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        copy_repository(Path(folder))
        for module in parser.parse_args().modules:
            count, survivors = mutate(module, Path(folder))
            killed = 1 - len(survivors) / max(count, 1)
            worst = min(worst, killed)
            print(
                *survivors, f"{module}: {count - len(survivors)} of {count} mutants killed ({killed:.0%})", sep="\n", flush=True
            )
    return int(worst < GOAL)


if __name__ == "__main__":
    sys.exit(main())
