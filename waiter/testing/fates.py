"""The common fates of a task, one call each.

Each returns a `Script` for `SimulatedCloud.add`; further keywords are fields of `Script`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict, Unpack

from msgspec.structs import replace

from waiter.testing.script import Phase, Script

Resources: TypeAlias = Mapping[str, int | Sequence[str | int]]


class ScriptFields(TypedDict, total=False):
    """The fields of `Script` beside its fate."""

    task_type: str
    all_kinds: bool
    project_id: int
    region_id: int
    age: float
    hidden_for: float
    starts_when_seen: bool
    fields: dict[str, object]


def finishes(after: float, resources: Resources | None = None, **script: Unpack[ScriptFields]) -> Script:
    """A task that is RUNNING for `after` seconds, then FINISHED with these resources."""
    phases = (Phase("RUNNING", after), Phase("FINISHED"))
    return _script(phases, resources, script)


def fails(
    after: float,
    error: str = "No valid host was found",
    resources: Resources | None = None,
    **script: Unpack[ScriptFields],
) -> Script:
    """A task that ends in ERROR after `after` seconds, and may leave resources behind."""
    phases = (Phase("RUNNING", after), Phase("ERROR"))
    return replace(_script(phases, resources, script), error=error)


def ended(
    resources: Resources | None = None, *, took: float = 19.0, ago: float = 0.0, **script: Unpack[ScriptFields]
) -> Script:
    """A task that took `took` seconds and FINISHED `ago` seconds before it was added."""
    return replace(finishes(took, resources, **script), age=took + ago)


def never_ends(**script: Unpack[ScriptFields]) -> Script:
    """A task that is RUNNING whenever it is asked for."""
    return _script((Phase("RUNNING"),), None, script)


def unknown_state(state: str, seconds: float, then: Script) -> Script:
    """The task `then`, after `seconds` in a state that the description does not have."""
    return replace(then, phases=(Phase(state, seconds), *then.phases))


def vanishes(after: float, **script: Unpack[ScriptFields]) -> Script:
    """A task that is RUNNING for `after` seconds, and then is not there any more (404)."""
    return replace(never_ends(**script), gone_after=after)


def missing() -> Script:
    """A task that the API does not know (404), so that asking for it is expected."""
    return vanishes(0.0)


def appears(after: float, then: Script) -> Script:
    """The task `then`, which the API does not know (404) in its first `after` seconds."""
    return replace(then, hidden_for=after)


def _script(phases: tuple[Phase, ...], resources: Resources | None, more: ScriptFields) -> Script:
    kinds = None if resources is None else {k: _ids(v) for k, v in resources.items()}
    return Script(phases=phases, created_resources=kinds, **more)


def _ids(value: int | Sequence[str | int]) -> int | list[str | int]:
    return value if isinstance(value, int) else list(value)
