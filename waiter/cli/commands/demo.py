"""``waiter demo``: three simulated tasks that finish, fail and time out, as a user sees them."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS
from waiter.console.exit_codes import ExitCode
from waiter.console.streams import write_result
from waiter.testing import Phase, Script, SimulatedCloud, status

FINISHES: Final = Script(
    phases=(Phase("NEW", 9.5), Phase("RUNNING", 2, "NETWORK"), Phase("RUNNING", 2, "VOLUME"), Phase("FINISHED")),
    created_resources={"instances": 1, "volumes": 1},
    age=8.5,
    fields={"data": {"name": "web-1"}},
)
FAILS: Final = Script(
    phases=(Phase("RUNNING", 1), Phase("ERROR")),
    created_resources={"volumes": 1},
    error="No valid host was found",
    fields={"data": {"name": "web-2"}},
)
RUNS_FOREVER: Final = Script(phases=(Phase("RUNNING"),), task_type="create_k8s_cluster_v2")
TIMEOUT: Final = 2
_PAST: Final = (10.0, 11.0, 12.0, 12.5, 13.0, 13.0, 13.5, 14.0, 14.0, 15.0, 16.0, 20.0)


def make_parser() -> Parser:
    """Return the parser of ``waiter demo``."""
    return Parser("demo", summary=COMMANDS["demo"], examples="waiter demo")


def run(args: argparse.Namespace) -> int:
    """Wait for all three and return 0 if each ended as expected."""
    started_at = time.monotonic()
    cloud = SimulatedCloud(strict=False)
    cloud.add_past("create_vm", _PAST)
    with cloud.serve() as url:
        inherited = {name: value for name, value in args.environ.items() if not name.startswith(("WAITER_", "GCORE_"))}
        environ = inherited | {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key}
        write_result(f"A simulated Gcore Cloud listens on {url}.\nThree tasks follow:\n")
        codes = [
            _show("1. It finishes, although the API is unavailable for a moment", _add_with_outage(cloud), [], environ),
            _show("2. It fails, and leaves a volume behind", cloud.add(FAILS), [], environ),
            _show("3. It takes longer than the time-out", cloud.add(RUNS_FOREVER), ["--timeout", f"{TIMEOUT}s"], environ),
        ]
    as_expected = codes == [ExitCode.FINISHED, ExitCode.FAILED, ExitCode.TIMED_OUT]
    write_result(FINISHESBYE if as_expected else f"\nThese exit codes are wrong: {codes}\n")
    write_result(f"That took {time.monotonic() - started_at:.0f} s.\n")
    return ExitCode.FINISHED if as_expected else ExitCode.FAULT


FINISHESBYE: Final = """
That is all: the result on standard output, everything else on standard error,
and an exit code for each end. Now with your own account:

  export GCORE_API_KEY='...'   # in single quotes, because of the $ in it
  waiter wait TASK_ID
"""


def _add_with_outage(cloud: SimulatedCloud) -> str:
    task_id = cloud.add(FINISHES)
    cloud.outage(1.0, 60.0, status(503), times=2, task=task_id)
    return task_id


def _show(title: str, task_id: str, options: Sequence[str], environ: Mapping[str, str]) -> int:
    words = ["wait", task_id, *options]
    write_result(f"\n{title}:\n\n$ {shlex.join(['waiter', *words])}\n")
    code = subprocess.run([sys.executable, "-m", "waiter", *words], env=environ, check=False).returncode  # noqa: S603 - waiter itself
    write_result(f"[exit code {code}]\n")
    return code
