"""The script of a simulated task: its states and what it creates, as data."""

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
    """A state, and the seconds for which a task stays in it."""

    state: str
    seconds: float = math.inf
    detailed_state: str | None = None

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            message = f"a phase cannot last {self.seconds} s"
            raise ValueError(message)


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The phases of a task in order; the last one has no end.

    A task whose last phase is FINISHED or ERROR ends there. It then shows `created_resources`,
    for each kind a list of IDs or the number of IDs to generate; None is shown as null. With
    `all_kinds`, the other kinds are shown as empty lists.

    `age` is how many seconds the task has been running when it is added. It is unknown to the
    API (404) for `hidden_for` seconds after it was added, and again from `gone_after` seconds
    on. With `starts_when_seen`, these times begin with the first request for the task. `fields`
    replaces or adds fields of the response; the value `msgspec.UNSET` removes a field.

    Raises ValueError without a phase, or if a phase before the last one has no end.
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
        """Return the index of the phase at `seconds`, and the second at which that phase began."""
        began = 0.0
        last = len(self.phases) - 1
        for index, phase in enumerate(self.phases[:last]):
            if seconds < began + phase.seconds:
                return index, began
            began += phase.seconds
        return last, began
