"""The common scenarios of a task, one function each.

Each returns a `Script` for `SimulatedCloud.add`; further keywords are fields of `Script`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict, Unpack

from msgspec.structs import replace

from waiter.testing.script import Phase, Script

Resources: TypeAlias = Mapping[str, int | Sequence[str | int]]


class ScriptFields(TypedDict, total=False):
    """The fields of `Script` that every scenario takes."""

    task_type: str
    all_kinds: bool
    project_id: int
    region_id: int
    age: float
    hidden_for: float
    starts_when_seen: bool
    fields: dict[str, object]


def finishes(after: float, resources: Resources | None = None, **script: Unpack[ScriptFields]) -> Script:
    """Return a task that is RUNNING for `after` seconds, then FINISHED with these resources."""
    phases = (Phase("RUNNING", after), Phase("FINISHED"))
    return _make_script(phases, resources, script)


def fails(
    after: float,
    error: str = "No valid host was found",
    resources: Resources | None = None,
    **script: Unpack[ScriptFields],
) -> Script:
    """Return a task that ends in ERROR after `after` seconds; `resources` are those it created before."""
    phases = (Phase("RUNNING", after), Phase("ERROR"))
    return replace(_make_script(phases, resources, script), error=error)


def ended(
    resources: Resources | None = None, *, took: float = 19.0, ago: float = 0.0, **script: Unpack[ScriptFields]
) -> Script:
    """Return a task that took `took` seconds and FINISHED `ago` seconds before it was added."""
    return replace(finishes(took, resources, **script), age=took + ago)


def never_ends(**script: Unpack[ScriptFields]) -> Script:
    """Return a task that stays RUNNING."""
    return _make_script((Phase("RUNNING"),), None, script)


def unknown_state(state: str, seconds: float, then: Script) -> Script:
    """Return the task `then` with `seconds` before it in a state that the API description lacks."""
    return replace(then, phases=(Phase(state, seconds), *then.phases))


def vanishes(after: float, **script: Unpack[ScriptFields]) -> Script:
    """Return a task that is RUNNING for `after` seconds and then unknown to the API (404)."""
    return replace(never_ends(**script), gone_after=after)


def missing() -> Script:
    """Return a task that is unknown to the API (404), for a test that expects this."""
    return vanishes(0.0)


def appears(after: float, then: Script) -> Script:
    """Return the task `then`, unknown to the API (404) for the first `after` seconds."""
    return replace(then, hidden_for=after)


def resources_ready(after: float, then: Script) -> Script:
    """Return the task `then`, whose created resources are ready `after` seconds after its end."""
    return replace(then, resources_ready_after=after)


def resources_appear(after: float, then: Script) -> Script:
    """Return the task `then`, whose created resources are unknown (404) for `after` seconds after its end."""
    return replace(then, resources_hidden_for=after)


def resources_vanish(after: float, then: Script) -> Script:
    """Return the task `then`, whose created resources are unknown (404) from `after` seconds after its end on."""
    return replace(then, resources_gone_after=after)


def resources_fail(after: float, then: Script) -> Script:
    """Return the task `then`, whose created resources have failed `after` seconds after its end."""
    return replace(then, resources_ready_after=after, resources_fail=True)


def _make_script(phases: tuple[Phase, ...], resources: Resources | None, fields: ScriptFields) -> Script:
    kinds = None if resources is None else {kind: _ids(value) for kind, value in resources.items()}
    return Script(phases=phases, created_resources=kinds, **fields)


def _ids(value: int | Sequence[str | int]) -> int | list[str | int]:
    return value if isinstance(value, int) else list(value)
