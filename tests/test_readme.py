"""The README: its commands, its tables, and the figures of the schedule page agree with the code."""

from __future__ import annotations

import builtins
import inspect
import re
from math import inf
from pathlib import Path
from typing import Any

import pytest

import waiter
from waiter import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    PermissionDeniedError,
    ResourceError,
    Task,
    TaskError,
    TaskNotFoundError,
    TasksError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    WaiterError,
)
from waiter.config.options import Options
from waiter.config.settings import resolve
from waiter.console.exit_codes import exit_code
from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_after(heading: str) -> list[list[str]]:
    section = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def errors_of(row: list[str]) -> list[str]:
    return [name for name in re.findall(r"`(\w+Error)`", row[0]) if hasattr(waiter, name)]


def test_first_screen_has_purpose_audience_and_commands() -> None:
    """One sentence on the purpose, the users, and the two commands stand in the first 22 lines."""
    first = "\n".join(README.splitlines()[:22])
    assert "tells you the moment a Gcore Cloud task ends" in first
    assert "in a deploy script, a step of a pipeline, a container beside your application" in first
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/waiter demo" in first
    assert ".venv/bin/pip install '.[test]' && .venv/bin/pytest" in first


def test_readme_is_one_page() -> None:
    """Everything longer is a page under examples/."""
    assert len(README.splitlines()) <= 130


def test_table_of_errors_is_complete() -> None:
    """Each exported error has a row."""
    named = {name for row in table_after("Errors and exit codes") for name in errors_of(row)}
    exported = {name for name in waiter.__all__ if name.endswith("Error")} - {"WaiterError"}
    assert named == exported


TASK = Task(id="t-1", state=TaskState.ERROR)
ENDS: dict[str, WaiterError] = {
    "TaskError": TaskError(TASK),
    "ResourceError": ResourceError("killed", task=TASK, kind="images", resource_id="m-1", resource={}),
    "ConfigurationError": ConfigurationError("no API key"),
    "AuthenticationError": AuthenticationError("401"),
    "PermissionDeniedError": PermissionDeniedError("403"),
    "TaskNotFoundError": TaskNotFoundError("404"),
    "ApiUnavailableError": ApiUnavailableError("503"),
    "ApiError": ApiError("418"),
    "InvalidResponseError": InvalidResponseError("[]"),
    "TaskStalledError": TaskStalledError(TASK, waited=1),
    "TaskTimeoutError": TaskTimeoutError("t-1", waited=1, last_task=None, last_error=None),
    "TasksError": TasksError.of(succeeded={}, failed={"t-1": TaskError(TASK)}),
}


@pytest.mark.parametrize("row", table_after("Errors and exit codes"), ids=lambda row: row[0].partition("`, ")[0].strip("`"))
def test_error_has_the_attributes_and_exit_code_of_its_row(row: list[str]) -> None:
    """The attributes exist, and the command ends with that code."""
    for name in errors_of(row):
        error = ENDS[name]
        assert [one for one in re.findall(r"`\.(\w+)`", row[2]) if not hasattr(error, one)] == []
        assert exit_code(error) == (int(row[3]) if row[3].isdigit() else 1)


def test_table_of_arguments_is_complete() -> None:
    """Each argument has one row, except those for tests, which the docstring of Options describes."""
    named = [re.findall(r"`(\w+)`", row[0])[0] for row in table_after("Arguments")]
    assert sorted([*named, "allow_http", "sleep", "clock"]) == sorted(Options.__annotations__)


def test_defaults_of_arguments_are_those_of_the_table() -> None:
    """Without arguments and environment, the settings have the values of the table."""
    documented = {re.findall(r"`(\w+)`", row[0])[0]: row[1].rpartition("else ")[2] for row in table_after("Arguments")}
    settings = resolve(Options(api_key="k"), {})
    schedule = settings.wait
    assert isinstance(schedule, Schedule)
    actual = {name: getattr(settings, name) for name in ("base_url", "timeout", "max_outage", "learn", "max_rps")}
    actual |= {
        "price": schedule.price,
        "min_interval": schedule.min_interval,
        "wait": "the schedule",
        "on_event": settings.on_event,
    }
    assert {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in actual.items()} == {
        name: documented[name] for name in actual
    }
    assert (documented["stall_timeout"], settings.stall_timeout) == ("None", inf)


def test_all_interfaces_take_the_same_arguments() -> None:
    """Blocking or awaited, for one task or for several."""
    callables: list[Any] = [waiter.wait_for_task, waiter.wait_for_tasks, waiter.Waiter.__init__, waiter.AsyncWaiter.__init__]
    callables += [waiter.aio.wait_for_task, waiter.aio.wait_for_tasks]
    assert {inspect.signature(one).parameters["options"].annotation for one in callables} == {"Unpack[Options]"}


def test_every_error_is_a_waiter_error_and_the_standard_error_of_its_row() -> None:
    """A ConfigurationError is also a ValueError, for example."""
    for row in table_after("Errors and exit codes"):
        also = re.findall(r"also an? `(\w+)`", row[0])
        kinds = (WaiterError, *(getattr(builtins, name) for name in also))
        assert [name for name in errors_of(row) if not all(isinstance(ENDS[name], kind) for kind in kinds)] == []


def test_list_of_events_is_complete() -> None:
    """The Python page names each event that the code reports, and no other."""
    page = (ROOT / "examples" / "python" / "README.md").read_text(encoding="utf-8")
    pattern = r"(?:task|poll|history|wait)\.[a-z_]+"
    listed = set(re.findall(rf"`({pattern})`", page.partition("## Events and logs")[2]))
    package = Path(waiter.__file__).parent
    sources = [package / "events.py", *package.glob("polling/*.py")]
    assert listed == {name for file in sources for name in re.findall(rf'"({pattern})"', file.read_text(encoding="utf-8"))}


def test_longest_first_interval_is_the_documented_one() -> None:
    """With a history that is wrong by any factor, the second poll of a new task comes within the time on the page."""
    page = (ROOT / "examples" / "schedule" / "README.md").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"second poll of a new task comes after at most ([\d.]+) s", " ".join(page.split()))
    never = History([86_400.0] * 100)
    assert float(seconds) == pytest.approx(Schedule(history=never).interval(0.0), abs=0.1)
