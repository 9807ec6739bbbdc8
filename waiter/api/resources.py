"""The resources that tasks create: their own endpoints, and when they are ready.

Read from the official Python SDK. What the API does not document is treated leniently: a status
that is neither ready nor failed counts as pending.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

Readiness = Literal["pending", "ready", "failed"]

_ERRORS = ("error", "error_*", "*_error")


class ResourceKind(msgspec.Struct, frozen=True):
    """A kind of `created_resources`, and how to tell whether a resource of it is ready.

    `path` has the placeholders {project_id}, {region_id} and {id}. `field` is the one that shows
    the status; a resource without such a field is ready once it exists. `failed` are patterns,
    `pending` examples of what is shown before. The fields in `nonzero` have to be nonzero as well.
    """

    path: str
    field: str | None = None
    ready: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    nonzero: tuple[str, ...] = ()

    def assess(self, resource: Mapping[str, Any]) -> Readiness:
        """Return whether a resource, as its endpoint shows it, is ready, failed or neither."""
        if self.field is None:
            return "ready"
        status = resource.get(self.field)
        if status in self.ready and all(resource.get(name) for name in self.nonzero):
            return "ready"
        if isinstance(status, str) and any(fnmatchcase(status, pattern) for pattern in self.failed):
            return "failed"
        return "pending"


def _regional(name: str, version: str = "v1") -> str:
    return f"/cloud/{version}/{name}/{{project_id}}/{{region_id}}/{{id}}"


RESOURCE_KINDS: dict[str, ResourceKind] = {
    "instances": ResourceKind(_regional("instances"), "status", ("ACTIVE", "SHUTOFF"), ("ERROR",), ("BUILD",)),
    "images": ResourceKind(
        # Seen after FINISHED: `saving` and size 0. The failures are those of OpenStack Glance.
        _regional("images"),
        "status",
        ("active",),
        ("deactivated", "deleted", "killed", "pending_delete", *_ERRORS),
        ("saving", "queued"),
        nonzero=("size",),
    ),
    "volumes": ResourceKind(_regional("volumes"), "status", ("available", "in-use"), _ERRORS, ("creating",)),
    "snapshots": ResourceKind(_regional("snapshots"), "status", ("available",), _ERRORS, ("creating",)),
    "loadbalancers": ResourceKind(
        _regional("loadbalancers"), "provisioning_status", ("ACTIVE",), ("ERROR",), ("PENDING_CREATE",)
    ),
    "floatingips": ResourceKind(_regional("floatingips"), "status", ("ACTIVE", "DOWN"), ("ERROR",), ("BUILD",)),
    "file_shares": ResourceKind(_regional("file_shares"), "status", ("available",), _ERRORS, ("creating",)),
    "k8s_clusters": ResourceKind(_regional("k8s/clusters", "v2"), "status", ("Provisioned",), (), ("Provisioning",)),
    "postgresql_clusters": ResourceKind(
        _regional("dbaas/postgres/clusters"), "status", ("READY",), ("FAILED",), ("PREPARING",)
    ),
    "networks": ResourceKind(_regional("networks")),
    "subnets": ResourceKind(_regional("subnets")),
    "routers": ResourceKind(_regional("routers")),
    "ports": ResourceKind(_regional("reserved_fixed_ips")),
    "security_groups": ResourceKind(_regional("securitygroups")),
    "secrets": ResourceKind(_regional("secrets")),
    "servergroups": ResourceKind(_regional("servergroups")),
}
# Bare metal servers are among the `instances` of their tasks, and have an endpoint of their own.
BARE_METAL = ResourceKind(_regional("bminstances"), "status", ("ACTIVE",), ("ERROR",), ("BUILD",))


def kind_of(name: str, task_type: str | None) -> ResourceKind | None:
    """Return the kind of `created_resources` for a task of this type, or None if it has no known endpoint."""
    if name == "instances" and (task_type or "").startswith("create_bm"):
        return BARE_METAL
    return RESOURCE_KINDS.get(name)
