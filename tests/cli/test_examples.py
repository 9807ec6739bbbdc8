"""The examples for pipelines, run as they stand against the simulation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from waiter.testing import Script, SimulatedCloud, fails, finishes

EXAMPLES = Path(__file__).parents[2] / "examples"
INSTANCES = "/cloud/v2/instances/1/2"

Example = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def account() -> SimulatedCloud:
    return SimulatedCloud(strict=False)


@pytest.fixture
def example(environ: dict[str, str], account: SimulatedCloud, tmp_path: Path) -> Iterator[Example]:
    """Run an example in a folder of its own, with a ``waiter`` on its path."""
    command = tmp_path / "bin" / "waiter"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m waiter "$@"\n')
    command.chmod(0o755)
    for name in ("instance.json", "Makefile", "deploy.sh", "deploy.py", "async_deploy.py"):
        shutil.copy(EXAMPLES / name, tmp_path)

    with account.serve() as url:
        given = environ | {"GCORE_BASE_URL": url, "GCORE_API_KEY": account.api_key, "INSTANCES_URL": url + INSTANCES}
        given |= {"PATH": f"{command.parent}:{environ['PATH']}", "PATIENCE": "1s"}

        def example(*argv: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(argv, cwd=tmp_path, env=given, capture_output=True, text=True, check=False, timeout=30)

        yield example


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")


def test_make(example: Example, account: SimulatedCloud) -> None:
    """A target that waits leaves the IDs in a file."""
    needs("make")
    needs("curl")
    account.on_request("POST", INSTANCES, finishes(0.2, {"instances": ["vm-1"]}))
    ran = example("make", "--silent", "deploy")
    assert (ran.returncode, ran.stdout) == (0, "The new instance is vm-1\n")


@pytest.mark.parametrize(
    ("fate", "code", "said"),
    [
        (finishes(0.2, {"instances": ["vm-1"]}), 0, ("The new instance is vm-1\n", "")),
        (fails(0.2), 1, ("", "It could not be made; waiter has said what is left to clean up.\n")),
        (finishes(60), 124, ("", "It may be made yet: run the command that waiter has printed.\n")),
    ],
    ids=["finished", "failed", "timed out"],
)
def test_shell(example: Example, account: SimulatedCloud, fate: Script, code: int, said: tuple[str, str]) -> None:
    """Each way to fail has its own answer."""
    needs("curl")
    account.on_request("POST", INSTANCES, fate)
    ran = example("./deploy.sh")
    assert (ran.returncode, ran.stdout) == (code, said[0])
    assert ran.stderr.endswith(said[1])


@pytest.mark.parametrize(
    ("fate", "code", "said"),
    [
        (finishes(0.2, {"instances": ["vm-1"]}), 0, "The new instance is vm-1\n"),
        (
            fails(0.2, "No valid host", {"volumes": ["disk"]}),
            1,
            "It failed: No valid host; to clean up: {'volumes': ['disk']}\n",
        ),
    ],
    ids=["finished", "failed"],
)
def test_python(example: Example, account: SimulatedCloud, fate: Script, code: int, said: str) -> None:
    """A deploy script waits with one call."""
    account.on_request("POST", INSTANCES, fate)
    ran = example(sys.executable, "deploy.py")
    assert (ran.returncode, ran.stdout + ran.stderr) == (code, said)


def test_asynchronous_python(example: Example, account: SimulatedCloud) -> None:
    """Several tasks are told of as they end."""
    late = account.add(finishes(0.6, {"instances": ["vm-2"]}))
    soon = account.add(finishes(0.0, {"instances": ["vm-1"]}))
    ran = example(sys.executable, "async_deploy.py", late, soon)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{soon}: {{'instances': ['vm-1']}}\n{late}: {{'instances': ['vm-2']}}\n"
