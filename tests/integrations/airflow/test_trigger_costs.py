"""What many triggers cost. Measured while nothing else runs: .ci/integrations runs this file last."""

from __future__ import annotations

import sys
from collections.abc import Callable

from triggers import costs_of

from waiter.testing import SimulatedServer

Connect = Callable[..., None]


def test_two_thousand_triggers_on_one_loop(gcore_server: SimulatedServer, connect: Connect) -> None:
    """A triggerer runs 1,000 unless its capacity is raised."""
    connect()
    [cost] = costs_of("bare", number=2000, cloud=gcore_server.cloud)
    sys.stdout.write(f"2000 triggers: {cost}\n")
    assert cost["errors"] == []
    assert cost["added_mebibytes"] <= 40
    assert cost["descriptors"] <= 150
    assert cost["lag_ms"] <= 100


def test_triggerer_costs_little_more_than_with_the_triggers_of_airflow(gcore_server: SimulatedServer, connect: Connect) -> None:
    """A thousand waits in the runner of a triggerer, beside as many of a trigger that only sleeps and logs.

    They are compared up to three times, and the lowest costs count, since the processes share processors with others.
    """
    connect()
    gcore_server.cloud.strict = False  # only half of the tasks are awaited
    ratios: list[float] = []
    while len(ratios) < 3 and not any(ratio <= 1.2 for ratio in ratios):
        gcore, date_time = costs_of("gcore", "date_time", number=1000, cloud=gcore_server.cloud)
        sys.stdout.write(f"1000 triggers: {gcore} beside {date_time}\n")
        assert gcore["errors"] == []
        assert gcore["mebibytes"] <= 1.2 * date_time["mebibytes"]
        ratios.append(gcore["cpu"] / date_time["cpu"])
    assert min(ratios) <= 1.2
