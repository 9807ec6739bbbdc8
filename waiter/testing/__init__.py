"""A simulated Gcore Cloud, for tests of waiter and of everything that uses it.

    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(19, {"instances": 1}))
    cloud.fault(status(503, retry_after=2))
    wait_for_task(task_id, **cloud.options)
    cloud.verify()

`SimulatedCloud` responds in process (`transport`, `options`) or over real HTTP (`serve`). The
scenarios of tasks are in `waiter.testing.scenarios`, the faults in `waiter.testing.faults`.
"""

from typing import TYPE_CHECKING

from waiter._lazy import loads_lazily

if TYPE_CHECKING:
    from waiter.testing.cloud import Request, SimulatedCloud, SimulatedServer
    from waiter.testing.faults import (
        Fault,
        drip,
        empty,
        half_body,
        hang,
        html,
        other_task,
        redirect,
        refuse,
        reset,
        says,
        status,
        truncated,
        wrong_types,
    )
    from waiter.testing.scenarios import (
        appears,
        ended,
        fails,
        finishes,
        missing,
        never_ends,
        resources_appear,
        resources_fail,
        resources_ready,
        resources_vanish,
        unknown_state,
        vanishes,
    )
    from waiter.testing.script import Phase, Script
    from waiter.testing.script_file import cloud_from_script
    from waiter.testing.virtual_clock import VirtualClock

__all__ = [
    "Fault",
    "Phase",
    "Request",
    "Script",
    "SimulatedCloud",
    "SimulatedServer",
    "VirtualClock",
    "appears",
    "cloud_from_script",
    "drip",
    "empty",
    "ended",
    "fails",
    "finishes",
    "half_body",
    "hang",
    "html",
    "missing",
    "never_ends",
    "other_task",
    "redirect",
    "refuse",
    "reset",
    "resources_appear",
    "resources_fail",
    "resources_ready",
    "resources_vanish",
    "says",
    "status",
    "truncated",
    "unknown_state",
    "vanishes",
    "wrong_types",
]

if not TYPE_CHECKING:
    # pytest imports this package in every project, for its plugin: it has to load fast.
    __getattr__ = loads_lazily(__name__, __all__, ["virtual_clock", "script", "scenarios", "faults", "cloud", "script_file"])
