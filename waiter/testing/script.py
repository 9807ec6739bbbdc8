"""What a simulated task goes through, as data."""

from __future__ import annotations

import math
from typing import Any

import msgspec

ENDED = ("FINISHED", "ERROR")

KINDS = (
    "ai_clusters",
    "api_keys",
    "caas_containers",
    "clusters",
    "ddos_profiles",
    "faas_functions",
    "faas_namespaces",
    "file_shares",
    "floatingips",
    "healthmonitors",
    "images",
    "inference_instances",
    "instances",
    "k8s_clusters",
    "k8s_pools",
    "l7polices",
    "l7rules",
    "laas_topic",
    "listeners",
    "loadbalancers",
    "members",
    "networks",
    "pools",
    "ports",
    "postgresql_clusters",
    "projects",
    "registry_registries",
    "registry_users",
    "routers",
    "secrets",
    "security_group_rules",
    "security_groups",
    "servergroups",
    "snapshots",
    "subnets",
    "volumes",
)
INTEGER_KINDS = ("ddos_profiles", "projects")


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A state and for how many seconds a task stays in it."""

    state: str
    seconds: float = math.inf
    detailed_state: str | None = None

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            message = f"a phase cannot last {self.seconds} s"
            raise ValueError(message)


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The life of a task: its phases in order, the last of which lasts for ever.

    A script whose last phase is FINISHED or ERROR ends there. `created_resources` is what the
    ended task then shows, kind by kind: a list of IDs, or how many IDs to make up; with
    `all_kinds`, the other kinds are shown as empty lists. None is null.

    `age` is for how many seconds the task has been going when it is added. For `hidden_for`
    seconds after that the API does not know it yet (404), and from `gone_after` seconds on no
    longer. With `starts_when_seen`, its life begins with the first request for it. `fields`
    replaces or adds fields of the answer; a field that is `msgspec.UNSET` is left out.

    Raises ValueError when it has no phase, or one that never gives way to the next.
    """

    phases: tuple[Phase, ...]
    task_type: str = "create_vm"
    created_resources: dict[str, int | list[str | int]] | None = None
    all_kinds: bool = False
    error: str | None = None
    project_id: int = 1
    region_id: int = 1
    age: float = 0.0
    hidden_for: float = 0.0
    gone_after: float = math.inf
    starts_when_seen: bool = False
    fields: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.phases:
            message = "a script needs a phase"
            raise ValueError(message)
        if any(phase.seconds == math.inf for phase in self.phases[:-1]):
            message = "only the last phase may last for ever"
            raise ValueError(message)

    def position(self, seconds: float) -> tuple[int, float]:
        """Which phase it is in after so many seconds, and at how many that phase began."""
        began = 0.0
        last = len(self.phases) - 1
        for index, phase in enumerate(self.phases[:last]):
            if seconds < began + phase.seconds:
                return index, began
            began += phase.seconds
        return last, began
