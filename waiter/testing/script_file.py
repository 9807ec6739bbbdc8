"""The simulation file: what `waiter simulate` reads, and `cloud_from_script`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from waiter.testing.cloud import SimulatedCloud
from waiter.testing.faults import FAULTS, Fault, Target
from waiter.testing.script import Script

_Shape = TypeVar("_Shape")


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    api_key: str = ""
    speed: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    latency: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    fault_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    seed: int = 0
    skew: float = 0.0
    notation: str = ""


class _Task(Script, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str | None = None


class _Past(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    task_type: str
    durations: list[float]
    errors: list[int] = []
    every: float = 3600.0


class _CreateRoute(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    path: str
    tasks: list[Script]
    method: str = "POST"


class _Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    fault: str
    options: dict[str, Any] = {}
    times: float = 1
    start: float = 0.0
    seconds: float | None = None
    task: str | None = None
    on: Target | None = None

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            message = f"{self.fault!r} is none of {', '.join(FAULTS)}"
            raise ValueError(message)
        self.make()

    def make(self) -> Fault:
        return FAULTS[self.fault](**self.options)


def cloud_from_script(script: Mapping[str, Any], **options: Any) -> SimulatedCloud:  # noqa: ANN401 - those of SimulatedCloud
    """Return the cloud that a mapping (from TOML or JSON) describes; `options` override the mapping.

    Every key is optional: the options `api_key`, `speed`, `latency`, `fault_rate`, `seed`, `skew`
    and `notation` of `SimulatedCloud`; `tasks`, a list of mappings of `Script` fields and `id`;
    `past`, a list of mappings of the arguments of `add_past`; `requests`, a list of mappings of
    `path`, `method` (POST by default) and the `tasks` to start; `faults`, a list of mappings of
    the name of a `fault`, its `options`, and either `times` or an outage from `start` for
    `seconds`, each optionally for one `task` (its ID) or `on` one endpoint (task or listing).

    Raises ValueError that names the problems of all parts of the mapping, one a line.
    """
    problems: list[str] = []
    lists = ("tasks", "past", "requests", "faults")
    plain = {name: value for name, value in script.items() if name not in lists}
    _convert(plain, _Options, "options", problems)
    tasks = _convert_list(script, "tasks", _Task, problems)
    pasts = _convert_list(script, "past", _Past, problems)
    routes = _convert_list(script, "requests", _CreateRoute, problems)
    faults = _convert_list(script, "faults", _Fault, problems)
    problems += _cross_check(tasks, faults)
    if problems:
        raise ValueError("\n".join(problems))
    cloud = SimulatedCloud(**{**plain, **options})
    for task in tasks:
        cloud.add(task, task_id=task.id)
    for past in pasts:
        cloud.add_past(past.task_type, past.durations, errors=past.errors, every=past.every)
    for route in routes:
        cloud.on_request(route.method, route.path, *route.tasks)
    for fault in faults:
        _schedule(cloud, fault)
    return cloud


def _convert(value: object, shape: type[_Shape], where: str, problems: list[str]) -> list[_Shape]:
    try:
        return [msgspec.convert(value, shape)]
    except (msgspec.ValidationError, TypeError) as error:
        problems.append(f"{where}: {error}")
        return []


def _convert_list(script: Mapping[str, Any], name: str, shape: type[_Shape], problems: list[str]) -> list[_Shape]:
    entries = script.get(name, [])
    if not isinstance(entries, list):
        problems.append(f"{name}: not a list")
        return []
    return [made for index, entry in enumerate(entries) for made in _convert(entry, shape, f"{name}[{index}]", problems)]


def _cross_check(tasks: list[_Task], faults: list[_Fault]) -> list[str]:
    ids = [task.id for task in tasks if task.id is not None]
    duplicates = sorted({task_id for task_id in ids if ids.count(task_id) > 1})
    unknown = [fault.task for fault in faults if fault.task not in (None, *ids)]
    return [
        *(f"tasks: duplicate ID {task_id}" for task_id in duplicates),
        *(f"faults: there is no task {task_id}" for task_id in unknown),
    ]


def _schedule(cloud: SimulatedCloud, fault: _Fault) -> None:
    if fault.seconds is None and not fault.start:
        cloud.fault(fault.make(), times=fault.times, task=fault.task, on=fault.on)
    else:
        seconds = math.inf if fault.seconds is None else fault.seconds
        cloud.outage(fault.start, seconds, fault.make(), task=fault.task, on=fault.on)
