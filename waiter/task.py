"""Tasks and what they created: frozen values, decoded from the API's JSON.

Source of every field: the description of ``GET /cloud/v1/tasks/{task_id}``. Decoding is strict about the fields that decide a
wait (``id`` and ``state``) and lenient about the rest: a wait must not fail because ``acknowledged_by`` became a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from typing import Any, Self, cast

import msgspec


class TaskState(StrEnum):
    """The state of a task. A state that the description does not name yet is kept as it is.

    >>> TaskState("PAUSED").is_known
    False
    """

    NEW = "NEW"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    ERROR = "ERROR"

    @classmethod
    def _missing_(cls, value: object) -> TaskState | None:
        if not isinstance(value, str) or not value:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether the API's description names this state."""
        return self.value in type(self).__members__

    @property
    def is_final(self) -> bool:
        """Whether a task in this state has ended: FINISHED or ERROR; no unknown state is final."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({TaskState.FINISHED, TaskState.ERROR})


_TASK_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


def is_task_id(text: object) -> bool:
    """Whether this can be the ID of a task: the API's description says string, and real ones are UUIDs."""
    return isinstance(text, str) and _TASK_ID.fullmatch(text) is not None


class CreatedResources(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The IDs of what a task created: a tuple for each kind, empty when there is none.

    ``resources.instances[0]`` is one ID, ``resources["instances"]`` a kind by its name, and ``as_dict()`` has all kinds that
    are not empty. A kind that the description does not name yet can be read both ways. IDs are strings; those of
    ``ddos_profiles`` and ``projects`` are integers.
    """

    api_keys: tuple[str, ...] = ()
    caas_containers: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    ddos_profiles: tuple[int, ...] = ()
    faas_functions: tuple[str, ...] = ()
    faas_namespaces: tuple[str, ...] = ()
    file_shares: tuple[str, ...] = ()
    floatingips: tuple[str, ...] = ()
    healthmonitors: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    inference_instances: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    k8s_clusters: tuple[str, ...] = ()
    k8s_pools: tuple[str, ...] = ()
    l7polices: tuple[str, ...] = ()
    l7rules: tuple[str, ...] = ()
    laas_topic: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    loadbalancers: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    postgresql_clusters: tuple[str, ...] = ()
    projects: tuple[int, ...] = ()
    registry_registries: tuple[str, ...] = ()
    registry_users: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    security_group_rules: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    servergroups: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    unknown_kinds: dict[str, tuple[str | int, ...]] = {}

    @classmethod
    def from_mapping(cls, kinds: object) -> Self:
        """Return the resources of ``{kind: [ids]}`` as the API sends it; null and malformed kinds are empty. Never raises."""
        if not isinstance(kinds, Mapping):
            # One object for all: ten thousand running tasks would otherwise hold 4 MB of them.
            return cast("Self", _NO_RESOURCES)
        known: dict[str, Any] = {}
        unknown: dict[str, tuple[str | int, ...]] = {}
        for kind, value in kinds.items():
            name = "clusters" if kind == "ai_clusters" else str(kind)
            read = known if name in _KINDS else unknown
            if ids := _ids(value):
                read[name] = tuple(dict.fromkeys([*read.get(name, ()), *ids]))
        return cls(**known, unknown_kinds=unknown)

    @classmethod
    def merge(cls, many: Iterable[CreatedResources]) -> Self:
        """Return what several tasks created together, in the order given, each ID once."""
        merged: dict[str, list[str | int]] = {}
        for resources in many:
            for kind, ids in resources.as_dict().items():
                merged.setdefault(kind, []).extend(ids)
        return cls.from_mapping(merged)

    @property
    def ai_clusters(self) -> tuple[str, ...]:
        """The deprecated name of ``clusters``."""
        return self.clusters

    def __getitem__(self, kind: str) -> tuple[str | int, ...]:
        """Return the IDs of a kind. Raises KeyError for a kind that is neither described nor present."""
        if kind == "ai_clusters" or kind in _KINDS:
            ids: tuple[str | int, ...] = getattr(self, kind)
            return ids
        return self.unknown_kinds[kind]

    def __getattr__(self, kind: str) -> tuple[str | int, ...]:
        try:
            return self.unknown_kinds[kind]
        except KeyError:
            message = f"{type(self).__name__!r} has no attribute {kind!r}"
            raise AttributeError(message, name=kind, obj=self) from None

    def __bool__(self) -> bool:
        return bool(self.as_dict())

    def __hash__(self) -> int:
        return hash(tuple((kind, tuple(ids)) for kind, ids in self.as_dict().items()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{kind}={tuple(ids)!r}" for kind, ids in self.as_dict().items())
        return f"{type(self).__name__}({shown})"

    def as_dict(self) -> dict[str, list[str | int]]:
        """Return the kinds that are not empty, ready for JSON: ``{"instances": ["..."]}``."""
        kinds: dict[str, list[str | int]] = {}
        for kind in _KINDS:
            if ids := getattr(self, kind):
                kinds[kind] = list(ids)
        for kind, ids in self.unknown_kinds.items():
            if ids:
                kinds[kind] = list(ids)
        return kinds


_NO_RESOURCES = CreatedResources()
_KINDS = tuple(name for name in CreatedResources.__struct_fields__ if name != "unknown_kinds")


def _ids(value: object) -> list[str | int]:
    """Return the IDs in a value of any shape: IDs, objects with an ``id``, and other objects as JSON, so that none is lost."""
    ids: list[str | int] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        id_ = item.get("id") if isinstance(item, Mapping) and "id" in item else item
        if isinstance(id_, float):
            ids.append(int(id_) if id_.is_integer() else str(id_))
        elif isinstance(id_, str | int) and not isinstance(id_, bool):
            ids.append(id_)
        elif isinstance(item, Mapping) and item:
            ids.append(json.dumps(item, default=str))
    return ids


class Task(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task as the API describes it. Times are UTC; absent fields are None.

    Fields that the description does not name, and values that contradict it, are in ``unknown_fields`` as they were received.
    """

    id: str
    state: TaskState
    task_type: str | None = None
    detailed_state: str | None = None
    error: str | None = None
    created_resources: CreatedResources = CreatedResources()
    created_on: datetime | None = None
    updated_on: datetime | None = None
    finished_on: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: int | None = None
    client_id: int | None = None
    data: Any = None
    job_id: str | None = None
    lifecycle_policy_id: int | None = None
    project_id: int | None = None
    region_id: int | None = None
    request_id: str | None = None
    schedule_id: str | None = None
    user_client_id: int | None = None
    user_id: int | None = None
    unknown_fields: dict[str, Any] = {}

    @classmethod
    def from_mapping(cls, payload: object) -> Task:
        """Return the task of a JSON object. Raises ValueError that says what is wrong with its ``id`` or ``state``."""
        if not isinstance(payload, dict):
            msgspec.convert(payload, _Decisive)  # raises
        fields = dict(cast("dict[str, Any]", payload))
        fields["created_resources"] = CreatedResources.from_mapping(fields.get("created_resources"))
        unknown = fields.keys() - _FIELDS
        fields["unknown_fields"] = {name: fields[name] for name in fields if name in unknown} if unknown else {}
        try:
            return msgspec.convert(fields, cls)
        except msgspec.ValidationError:
            msgspec.convert(payload, _Decisive)
            misfits = {name: fields.pop(name) for name in _FIELDS & fields.keys() if not _fits(name, fields[name])}
            fields["unknown_fields"] |= misfits
            return msgspec.convert(fields, cls)

    def __post_init__(self) -> None:
        for name in _TIMES:
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                msgspec.structs.force_setattr(self, name, time.replace(tzinfo=UTC))

    @property
    def ended(self) -> bool:
        """Whether the task is FINISHED or ERROR."""
        return self.state in FINAL_STATES

    @property
    def failed(self) -> bool:
        """Whether the task ended in ERROR."""
        return self.state is TaskState.ERROR

    @property
    def target(self) -> str | None:
        """What the task acts on, read from its ``data``: a name, or IDs such as ``volume 7a1f..., instance 93c0...``.

        None when ``data`` says nothing. At most 200 characters.
        """
        return _target(self.data)

    def __hash__(self) -> int:
        return hash((self.id, self.state, self.updated_on))


_MAX_TARGET = 200
# Whose task it is and how it does its work, not what it acts on.
_NO_TARGETS = frozenset({"client", "flavor", "job", "project", "region", "request", "reservation", "schedule", "task", "user"})


def _target(data: object) -> str | None:
    # `data` is not described: create_vm has a name or names, and attach_volume a volume_id and an instance_id.
    if not isinstance(data, Mapping):
        return None
    names = data.get("names") if isinstance(data.get("names"), list) else [data.get("name")]
    found = [name for name in cast("list[object]", names) if isinstance(name, str) and name.strip()]
    if not found:
        ids = [(str(key)[:-3], value) for key, value in data.items() if str(key).endswith("_id")]
        found = [
            f"{kind.replace('_', ' ')} {value}"
            for kind, value in ids
            if kind not in _NO_TARGETS and isinstance(value, str | int) and str(value).strip()
        ]
    text = " ".join(", ".join(found).split())
    return f"{text[: _MAX_TARGET - 3]}..." if len(text) > _MAX_TARGET else text or None


class _Decisive(msgspec.Struct):
    """The fields that decide a wait, which must be valid."""

    id: str
    state: TaskState


# Bytes of JSON: a body and, in a larger one, a field.
MAX_DECODED = 2**20
_MAX_FIELD = 2**16
# Python refuses to convert more of them, and no field has as many.
_MAX_DIGITS = 4000
_TIMES = ("created_on", "updated_on", "finished_on", "acknowledged_at")
_FIELDS = frozenset(Task.__struct_fields__) - {"unknown_fields"}


def _fits(name: str, value: object) -> bool:
    try:
        msgspec.convert({"id": "-", "state": "NEW", name: value}, Task)
    except msgspec.ValidationError:
        return False
    return True


def decode_task(body: bytes) -> Task:
    """Return the task in the body of a response. Raises ValueError that says what is wrong with it.

    A body that is not valid JSON is decoded leniently, because a wait must not fail for a field that does not decide it. Of a
    large body, large fields are left out, because decoded JSON may need more than twenty times the memory of its text.
    """
    if len(body) > MAX_DECODED:
        return Task.from_mapping(_decode_small_fields(body))
    try:
        payload = msgspec.json.decode(body)
    except ValueError as error:
        payload = decode_leniently(body, error)
    return Task.from_mapping(payload)


def _decode_small_fields(body: bytes) -> dict[str, Any]:
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    limits = dict.fromkeys(_FIELDS, _MAX_FIELD) | {"created_resources": MAX_DECODED}
    return {name: msgspec.json.decode(raw) for name, raw in fields.items() if len(raw) <= limits.get(name, 0)}


def decode_leniently(body: bytes, error: ValueError) -> object:
    """Return JSON in any Unicode encoding, with invalid text replaced and invalid numbers as text; else raise ``error``."""
    text = body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff")
    try:
        payload = json.loads(text, parse_float=_parse_float, parse_int=_parse_int, parse_constant=str)
    except (ValueError, RecursionError):
        raise error from None
    return _replace_surrogates(payload)


def _parse_float(text: str) -> float | str:
    return number if isfinite(number := float(text)) else text


def _parse_int(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


def _replace_surrogates(payload: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the payload with a replacement character for each lone surrogate, which no encoding can write."""
    if isinstance(payload, str):
        return payload.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(payload, list):
        return [_replace_surrogates(item) for item in payload]
    if isinstance(payload, dict):
        return {_replace_surrogates(name): _replace_surrogates(value) for name, value in payload.items()}
    return payload


class TaskSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A task as one poll saw it; ``age`` is the seconds since its creation by the server's clock, or None when unknown."""

    task: Task
    age: float | None = None


def is_older(task: Task, seen: Task | None) -> bool:
    """Return whether a listing shows a task as it may have been before it was last seen."""
    if seen is None or seen.updated_on is None:
        return False
    # Times may be of whole seconds: what was changed in the same one may be older.
    return task.updated_on is None or task.updated_on <= seen.updated_on
