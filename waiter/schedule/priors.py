"""How long tasks of a type usually take, for waits without durations of their account.

The ranges are those of the public documentation of Gcore Cloud, in seconds. A type that the documentation does not give, but
whose duration was observed, stands with two thirds of that to one and a half times it. To correct a range, change its line. A
few durations of the account's own outweigh it: a range that is wrong by a factor of two costs a fresh process 4 to 10%
(``tests/benchmarks/fresh.py``).
"""

from functools import cache
from typing import Final

from waiter.schedule.history import History

USUAL_DURATIONS: Final = {
    "create_ai_cluster_gpu": (900.0, 2400.0),  # bare metal
    "create_bm": (240.0, 900.0),
    "create_caas_container": (30.0, 60.0),
    "create_dbaas_postgres_cluster": (180.0, 300.0),
    "create_fip": (2.0, 4.5),  # observed: 3
    "create_gpu_virtual_cluster": (180.0, 480.0),
    "create_k8s_cluster_v2": (300.0, 900.0),
    "create_loadbalancer": (30.0, 90.0),
    "create_network": (5.0, 10.0),
    "create_sfs": (60.0, 90.0),
    "create_subnet": (5.0, 10.0),
    "create_vm": (15.0, 30.0),
    "create_volume": (5.0, 15.0),
    "delete_vm": (15.0, 70.0),
    "update_router": (0.67, 1.5),  # observed: 1
}
"""The range in seconds within which most tasks of a type end."""


@cache
def prior(task_type: str) -> History | None:
    """Return what is known of a type without any durations, or None for a type that is not documented."""
    usual = USUAL_DURATIONS.get(task_type)
    return None if usual is None else History(usual=usual)
