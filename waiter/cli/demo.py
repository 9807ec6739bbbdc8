"""``waiter demo``: three tasks of different fates, and what a user sees of each."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from waiter.console.exit_codes import ExitCode
from waiter.console.streams import write_result
from waiter.testing import Phase, Script, SimulatedCloud, status

_GOOD: Final = Script(
    phases=(Phase("NEW", 9.5), Phase("RUNNING", 2, "NETWORK"), Phase("RUNNING", 2, "VOLUME"), Phase("FINISHED")),
    created_resources={"instances": 1, "volumes": 1},
    age=8.5,
)
_BROKEN: Final = Script(
    phases=(Phase("RUNNING", 1), Phase("ERROR")),
    created_resources={"volumes": 1},
    error="No valid host was found",
)
_SLOW: Final = Script(phases=(Phase("RUNNING"),), task_type="create_k8s_cluster_v2")
_PAST: Final = (10.0, 11.0, 12.0, 12.5, 13.0, 13.0, 13.5, 14.0, 14.0, 15.0, 16.0, 20.0)


def run(args: argparse.Namespace) -> int:
    """Show all three and give 0 if each ended as it should."""
    began = time.monotonic()
    cloud = SimulatedCloud(strict=False)
    cloud.add_past("create_vm", _PAST)
    with cloud.serve() as url:
        quiet = {name: value for name, value in args.environ.items() if not name.startswith(("WAITER_", "GCORE_"))}
        environ = quiet | {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key}
        write_result(f"A simulated Gcore Cloud listens on {url}.\nThree tasks of different fates:\n")
        codes = [
            _show("1. It finishes, though the API is away for a moment", _let_down(cloud), [], environ),
            _show("2. It fails, and leaves something behind", cloud.add(_BROKEN), [], environ),
            _show("3. It takes longer than anybody wants to wait", cloud.add(_SLOW), ["--timeout", "2s"], environ),
        ]
    as_it_should = codes == [ExitCode.FINISHED, ExitCode.FAILED, ExitCode.TIMED_OUT]
    write_result(_GOODBYE if as_it_should else f"\nThis is not what should have happened: exit codes {codes}.\n")
    write_result(f"That took {time.monotonic() - began:.0f} s.\n")
    return ExitCode.FINISHED if as_it_should else ExitCode.FAULT


_GOODBYE: Final = """
That is all: the result on standard output, everything else on standard error,
and an exit code for each fate. Now with your own account:

  export GCORE_API_KEY='...'   # in single quotes, because of the $ in it
  waiter wait TASK_ID
"""


def _let_down(cloud: SimulatedCloud) -> str:
    task_id = cloud.add(_GOOD)
    cloud.outage(1.0, 60.0, status(503), times=2, task=task_id)
    return task_id


def _show(title: str, task_id: str, options: Sequence[str], environ: Mapping[str, str]) -> int:
    words = ["wait", task_id, *options]
    write_result(f"\n{title}:\n\n$ {shlex.join(['waiter', *words])}\n")
    code = subprocess.run([sys.executable, "-m", "waiter", *words], env=environ, check=False).returncode  # noqa: S603 - itself
    write_result(f"[exit code {code}]\n")
    return code
