"""The resources that tasks create: their own endpoints, and when they are ready.

Read from the official Python SDK. What the API does not document is treated leniently: a status
that is neither ready nor failed counts as pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote as percent_encode

import msgspec

from waiter.api.responses import Response, error_of, invalid_response, one_line, quote
from waiter.task import MAX_DECODED, decode_leniently

if TYPE_CHECKING:
    from waiter.task import Task

Readiness = Literal["pending", "ready", "failed"]
# What an endpoint shows of a resource; None once it answers 404 to a wait for that.
Resource = Mapping[str, Any] | None

# Fields in which other APIs of the same design give a reason; Gcore documents none.
_REASONS = ("status_reason", "fault", "error", "message")
_ERRORS = ("error", "error_*", "*_error")


class Check(Protocol):
    """The condition of a wait for a resource."""

    @property
    def awaits_absence(self) -> bool:
        """Whether the wait is for a 404."""

    def status(self, resource: Resource) -> str | None:
        """Return the status of a resource as text; None if it has none."""

    def assess(self, resource: Resource) -> Readiness:
        """Return whether a resource is ready, failed or neither."""


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

    @property
    def awaits_absence(self) -> bool:
        """Whether the wait is for a 404: it never is."""
        return False

    def status(self, resource: Resource) -> str | None:
        """Return the status of a resource as one line of text; None if its kind or itself has none."""
        return None if self.field is None or resource is None else status_text(resource.get(self.field))

    def assess(self, resource: Resource) -> Readiness:
        """Return whether a resource, as its endpoint shows it, is ready, failed or neither."""
        if self.field is None or resource is None:
            return "ready"
        status = resource.get(self.field)
        if status in self.ready and all(resource.get(name) for name in self.nonzero):
            return "ready"
        if isinstance(status, str) and any(fnmatchcase(status, pattern) for pattern in self.failed):
            return "failed"
        return "pending"


class Condition:
    """A condition for any resource: a value that it has to show, or its absence.

    ``find`` returns the value in a resource. Values are compared as text, in which ``*`` matches any text. With ``gone``, a 404
    and a value of DELETED fulfil the condition.
    """

    def __init__(
        self, find: Callable[[Any], object], values: Iterable[str] = (), fails: Iterable[str] = (), *, gone: bool = False
    ) -> None:
        self._find = find
        self._values = (*values, "DELETED", "deleted") if gone else tuple(values)
        self._fails = tuple(fails)
        self.awaits_absence = gone

    def status(self, resource: Resource) -> str:
        """Return the value as one line of text: ``null`` without one, ``gone`` without a resource."""
        text = "gone" if resource is None else status_text(self._find(resource))
        return "null" if text is None else text

    def assess(self, resource: Resource) -> Readiness:
        """Return whether a resource fulfils the condition, has failed, or neither."""
        text = self.status(resource)
        if resource is None:
            return "ready"
        if _matches(text, self._fails):
            return "failed"
        return "ready" if _matches(text, self._values) else "pending"


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


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


class Target(msgspec.Struct, frozen=True):
    """One resource to poll: its ``path`` and the condition to check.

    ``kind`` and ``resource_id`` are those of `created_resources`; the ``label`` names it in messages.
    """

    path: str
    check: Check
    label: str
    kind: str | None = None
    resource_id: str | int | None = None


def targets_of(task: Task) -> tuple[list[Target], dict[str, list[str | int]]]:
    """Return what a FINISHED task created: the resources to poll, and the IDs of those without a known endpoint, by kind."""
    targets: list[Target] = []
    unknown: dict[str, list[str | int]] = {}
    for name, ids in task.created_resources.as_dict().items():
        kind = None if task.project_id is None or task.region_id is None else kind_of(name, task.task_type)
        for one in ids:
            if kind is None or one in {"", ".", ".."}:
                unknown.setdefault(name, []).append(one)
                continue
            place = {"project_id": task.project_id, "region_id": task.region_id, "id": percent_encode(str(one), safe="")}
            targets.append(Target(kind.path.format_map(place), kind, one_line(f"{name} {one}"), name, one))
    return targets, unknown


def read_resource(response: Response, target: Target) -> Resource:
    """Return the resource that was asked for, None for a 404 that is awaited. Raises ApiError for any other response."""
    if response.status == HTTPStatus.NOT_FOUND and target.check.awaits_absence:
        return None
    if response.status != HTTPStatus.OK:
        raise error_of(response, target.label, what="resource")
    if len(response.body) > MAX_DECODED:
        # Decoded JSON may need more than twenty times the memory of its text.
        raise invalid_response(response, f"more than {MAX_DECODED} bytes", target.label)
    try:
        resource = _decode(response.body)
    except (ValueError, RecursionError) as error:
        raise invalid_response(response, f"{error}: {quote(response.body)}", target.label) from None
    if not isinstance(resource, dict):
        raise invalid_response(response, f"not an object: {quote(response.body)}", target.label)
    if target.resource_id is not None and not _is_same(resource, str(target.resource_id)):
        raise invalid_response(response, f"it describes {one_line(str(resource['id']))}", target.label)
    return resource


def _decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return msgspec.json.decode(body)
    except ValueError as error:
        return decode_leniently(body, error)


def _is_same(resource: Mapping[str, Any], resource_id: str) -> bool:
    """Return whether a resource may be the one of this ID, which some kinds show as their name or in another field."""
    return not isinstance(resource.get("id"), str) or resource_id in resource.values()


def reason_of(resource: Resource) -> str | None:
    """Return the reason for its status that a resource gives, as one line; None if it gives none."""
    for name in _REASONS:
        value = (resource or {}).get(name)
        text = value.get("message") if isinstance(value, dict) else value
        if isinstance(text, str) and (line := one_line(text)):
            return line
    return None


def status_text(value: object) -> str | None:
    """Return a value of a resource as one line of text; None for null."""
    if value is None or isinstance(value, str):
        return value and one_line(value)
    return one_line(msgspec.json.encode(value).decode())
