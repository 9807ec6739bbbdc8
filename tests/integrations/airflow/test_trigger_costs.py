"""What many triggers cost. Measured while nothing else runs: .ci/integrations runs this file last."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waiter.testing import SimulatedCloud, SimulatedServer, ended, finishes

Connect = Callable[..., None]


def costs_of(*kinds: str, number: int, cloud: SimulatedCloud) -> list[dict[str, Any]]:
    """Return what this number of triggers of each kind costs, in processes beside each other; see ``many_triggers.py``."""
    script = finishes(45, {"instances": ["i-1"]}, starts_when_seen=True)
    file, pipe = str(Path(__file__).with_name("many_triggers.py")), subprocess.PIPE
    started = [subprocess.Popen([sys.executable, file, kind, "45"], stdin=pipe, stdout=pipe, text=True) for kind in kinds]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(" ".join([*(cloud.add(script) for _ in range(number)), cloud.add(ended())]))
        process.stdin.close()
        process.stdin = None
    costs = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    sys.stdout.write(f"{number} triggers: {dict(zip(kinds, costs, strict=True))}\n")
    assert [cost["errors"] for cost in costs] == [[]] * len(kinds)
    return costs


def test_two_thousand_triggers_on_one_loop(gcore_server: SimulatedServer, connect: Connect) -> None:
    """A triggerer runs 1,000 unless its capacity is raised."""
    connect()
    [cost] = costs_of("bare", number=2000, cloud=gcore_server.cloud)
    assert cost["added_mebibytes"] <= 40
    assert cost["descriptors"] <= 150
    assert cost["lag_ms"] <= 100


def test_triggerer_costs_little_more_than_with_the_triggers_of_airflow(gcore_server: SimulatedServer, connect: Connect) -> None:
    """A thousand waits in the runner of a triggerer, beside as many of a trigger that only sleeps and logs."""
    connect()
    gcore_server.cloud.strict = False  # only half of the tasks are awaited
    gcore, date_time = costs_of("gcore", "date_time", number=1000, cloud=gcore_server.cloud)
    assert gcore["mebibytes"] <= 1.2 * date_time["mebibytes"]
    assert gcore["cpu"] <= 2 * date_time["cpu"]
