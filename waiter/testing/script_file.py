"""The simulation file: what `waiter simulate` and `cloud_from_script` read.

`simulation.schema.json` beside this module describes the file as JSON Schema, for editors. It is
what `schema` returns.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from waiter.testing.cloud import SimulatedCloud
from waiter.testing.endpoints import TASK_IDS, CreateRoute
from waiter.testing.faults import FAULTS, Fault, Target
from waiter.testing.script import Script

_Shape = TypeVar("_Shape")


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    api_key: Annotated[str, Meta(description="the only key that is accepted")] = ""
    speed: Annotated[float, Meta(gt=0, description="divides every scripted duration")] = 1.0
    latency: Annotated[float, Meta(ge=0, description="seconds by which each response is delayed")] = 0.0
    fault_rate: Annotated[float, Meta(ge=0, le=1, description="share of requests that get a random fault")] = 0.0
    seed: Annotated[int, Meta(description="the same seed generates the same IDs and random faults")] = 0
    skew: Annotated[float, Meta(description="seconds by which the server's clock is off")] = 0.0
    notation: Annotated[str, Meta(description="format of times, as strftime takes it")] = ""
    all_kinds: Annotated[bool, Meta(description="ended tasks show kinds that they did not create as empty lists")] = False


class _Task(Script, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task, from the start of the simulation."""

    id: Annotated[str | None, Meta(description="generated if it is left out")] = None


class _Past(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Tasks of one type that have ended, for waits to learn from."""

    task_type: str
    durations: Annotated[list[float], Meta(description="seconds that each took, oldest first")]
    errors: Annotated[list[int], Meta(description="indexes of those that ended in ERROR")] = []
    every: Annotated[float, Meta(description="seconds between their ends")] = 3600.0


class _Route(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request that starts tasks, or gets JSON of your own."""

    path: Annotated[str, Meta(description="`*` matches any text, `{name}` captures one segment")]
    tasks: Annotated[list[Script], Meta(description="tasks that each request starts")] = []
    method: str = "POST"
    json: Annotated[Any, Meta(description='the response; placeholders such as "{tasks[0]}" are filled in')] = msgspec.field(
        default_factory=TASK_IDS.copy
    )
    status: int = 200

    def __post_init__(self) -> None:
        CreateRoute(method=self.method, pattern=self.path, json=self.json, status=self.status)


class _Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault for the next requests, or an outage for a period."""

    fault: Annotated[str, Meta(description="name of the fault")]
    options: Annotated[dict[str, Any], Meta(description="arguments of the fault")] = {}
    times: Annotated[float | None, Meta(description="number of requests: by default 1, in an outage all")] = None
    start: Annotated[float, Meta(description="seconds until the outage begins")] = 0.0
    seconds: Annotated[float | None, Meta(description="length of the outage; without an end if left out")] = None
    task: Annotated[str | None, Meta(description="ID of the only task that gets it")] = None
    on: Annotated[Target | None, Meta(description="the only endpoint that gets it")] = None

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            message = f"{self.fault!r} is none of {', '.join(FAULTS)}"
            raise ValueError(message)
        self.make()

    @property
    def is_outage(self) -> bool:
        return self.seconds is not None or self.start > 0

    def make(self) -> Fault:
        return FAULTS[self.fault](**self.options)


class _File(_Options, kw_only=True, forbid_unknown_fields=True):
    """A simulated Gcore Cloud for `waiter simulate`: tasks, past tasks, requests and faults."""

    tasks: list[_Task] = []
    past: list[_Past] = []
    requests: list[_Route] = []
    faults: list[_Fault] = []
    schema: Annotated[str, Meta(description="address of this schema, for editors")] = msgspec.field(name="$schema", default="")


def cloud_from_script(script: Mapping[str, Any], **options: Any) -> SimulatedCloud:  # noqa: ANN401 - those of SimulatedCloud
    """Return the cloud that a mapping (from TOML or JSON) describes; `options` override the mapping.

    Every key is optional: the options `api_key`, `speed`, `latency`, `fault_rate`, `seed`, `skew`,
    `notation` and `all_kinds` of `SimulatedCloud`; `tasks`, a list of mappings of `Script` fields
    and `id`; `past`, a list of mappings of the arguments of `add_past`; `requests`, a list of
    mappings of `path`, `method` (POST by default), and of the `tasks` to start, the `json` and the
    `status` of the response as `on_request` takes them; `faults`, a list of mappings of the name of
    a `fault`, its `options`, and `times`, or an outage from `start` for `seconds`, each optionally
    for one `task` (its ID) or `on` one endpoint (task, listing or resource). `$schema` is ignored.

    Raises ValueError that names the problems of all parts of the mapping, one a line.
    """
    problems: list[str] = []
    lists = ("tasks", "past", "requests", "faults")
    plain = {name: value for name, value in script.items() if name not in (*lists, "$schema")}
    _convert(plain, _Options, "options", problems)
    tasks = _convert_list(script, "tasks", _Task, problems)
    pasts = _convert_list(script, "past", _Past, problems)
    routes = _convert_list(script, "requests", _Route, problems)
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
        cloud.on_request(route.method, route.path, *route.tasks, json=route.json, status=route.status)
    for fault in faults:
        _schedule(cloud, fault)
    return cloud


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, as `simulation.schema.json` has it."""
    described = msgspec.json.schema(_File)
    definitions = {name.removeprefix("_"): _tidy(definition) for name, definition in described["$defs"].items()}
    definitions["Fault"]["properties"]["fault"]["enum"] = list(FAULTS)
    definitions["Fault"]["allOf"] = [
        {"if": {"properties": {"fault": {"const": name}}}, "then": _options_schema(make)} for name, make in FAULTS.items()
    ]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Simulation file"}
    return {**head, **definitions.pop("File"), "$defs": definitions}


def _tidy(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema without the private names of classes, and without infinite numbers, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _tidy(entry) for key, entry in value.items() if key != "title" and entry != math.inf}
    if isinstance(value, list):
        return [_tidy(entry) for entry in value]
    # Python 3.13 removes the indentation of docstrings, which are the descriptions.
    return inspect.cleandoc(value).replace("#/$defs/_", "#/$defs/") if isinstance(value, str) else value


def _options_schema(make: object) -> dict[str, Any]:
    parameters = inspect.signature(make).parameters  # type: ignore[arg-type]
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    options = {"properties": {name: {} for name in parameters}, "additionalProperties": False, "required": required}
    return {"properties": {"options": options}, "required": ["options"] if required else []}


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


def _cross_check(tasks: list[_Task], faults: list[_Fault]) -> Iterator[str]:
    ids = [task.id for task in tasks if task.id is not None]
    yield from (f"tasks: duplicate ID {task_id}" for task_id in sorted({one for one in ids if ids.count(one) > 1}))
    yield from (f"faults: there is no task {fault.task}" for fault in faults if fault.task not in (None, *ids))


def _schedule(cloud: SimulatedCloud, fault: _Fault) -> None:
    if fault.is_outage:
        seconds = math.inf if fault.seconds is None else fault.seconds
        times = math.inf if fault.times is None else fault.times
        cloud.outage(fault.start, seconds, fault.make(), times=times, task=fault.task, on=fault.on)
    else:
        cloud.fault(fault.make(), times=1 if fault.times is None else fault.times, task=fault.task, on=fault.on)
