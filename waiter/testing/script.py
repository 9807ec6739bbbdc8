"""The script of a simulated task: its states and what it creates, as data."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

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

    state: Annotated[str, Meta(examples=["NEW", "RUNNING", "FINISHED", "ERROR"])]
    seconds: Annotated[float, Meta(extra_json_schema={"minimum": 0}, description="without an end if left out")] = math.inf
    detailed_state: Annotated[str | None, Meta(examples=["NETWORK", "STORAGE", "POST_DEPLOY_SETUP"])] = None

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

    The created resources respond at their own endpoints once the task has ended. They are ready
    `resources_ready_after` seconds later; with `resources_fail`, they have failed by then. They are
    unknown (404) for `resources_hidden_for` seconds after the end, and again from
    `resources_gone_after` seconds on.

    Raises ValueError without a phase, or if a phase before the last one has no end.
    """

    phases: Annotated[
        tuple[Phase, ...], Meta(extra_json_schema={"minItems": 1}, description="states in order; only the last has no end")
    ]
    task_type: str = "create_vm"
    created_resources: Annotated[
        dict[str, int | list[str | int]] | None, Meta(description="for each kind a list of IDs, or how many to generate")
    ] = None
    all_kinds: Annotated[bool, Meta(description="show the other kinds as empty lists")] = False
    error: Annotated[str | None, Meta(description="text of a task that ends in ERROR")] = None
    project_id: int = 1
    region_id: int = 1
    age: Annotated[float, Meta(description="seconds for which the task has been running at the start")] = 0.0
    hidden_for: Annotated[float, Meta(description="seconds for which the task is unknown (404) at first")] = 0.0
    gone_after: Annotated[float, Meta(description="seconds after which the task is unknown (404)")] = math.inf
    starts_when_seen: Annotated[bool, Meta(description="start with the first request for the task")] = False
    fields: Annotated[dict[str, Any], Meta(description="fields of the response to replace or add")] = {}
    resources_ready_after: Annotated[
        float, Meta(description="seconds after its end at which the created resources are ready at their own endpoints")
    ] = 0.0
    resources_fail: Annotated[bool, Meta(description="the created resources fail instead")] = False
    resources_hidden_for: Annotated[
        float, Meta(description="seconds after its end for which the created resources are still unknown (404)")
    ] = 0.0
    resources_gone_after: Annotated[
        float, Meta(description="seconds after its end from which on the created resources are unknown (404)")
    ] = math.inf

    def __post_init__(self) -> None:
        if not self.phases:
            message = "a script needs a phase"
            raise ValueError(message)
        if any(phase.seconds == math.inf for phase in self.phases[:-1]):
            message = "only the last phase may last for ever"
            raise ValueError(message)

    @property
    def duration(self) -> float:
        """Return the seconds until the last phase."""
        return sum(phase.seconds for phase in self.phases[:-1])

    def position(self, seconds: float) -> tuple[int, float]:
        """Return the index of the phase at `seconds`, and the second at which that phase began."""
        began = 0.0
        last = len(self.phases) - 1
        for index, phase in enumerate(self.phases[:last]):
            if seconds < began + phase.seconds:
                return index, began
            began += phase.seconds
        return last, began
