"""What the README promises is so."""

from __future__ import annotations

import builtins
import inspect
import re
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest

import waiter
import waiter.config.settings
from waiter import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    PermissionDeniedError,
    Task,
    TaskError,
    TaskNotFoundError,
    TasksError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    WaiterError,
)
from waiter.cli import main
from waiter.config.settings import Options, resolve
from waiter.console.exit_codes import exit_code
from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule
from waiter.testing import SimulatedCloud, ended

pytest_plugins = ["pytester"]
README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def table_after(heading: str) -> list[list[str]]:
    section = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def errors_of(row: list[str]) -> list[str]:
    return [name for name in re.findall(r"`(\w+Error)`", row[0]) if hasattr(waiter, name)]


def test_the_first_screen_says_what_it_does_for_whom() -> None:
    """One sentence, for whom, and the two commands, before anybody scrolls."""
    first = "\n".join(README.splitlines()[:22])
    assert "tells you the moment a Gcore Cloud task ends" in first
    assert "a deploy script, a step of a pipeline, a container beside your application" in first
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/waiter demo" in first
    assert ".venv/bin/pip install '.[test]' && .venv/bin/pytest" in first


def test_the_table_of_errors_is_whole() -> None:
    """Every error stands in it, with what it carries."""
    named = {name for row in table_after("Errors") for name in errors_of(row)}
    exported = {name for name in waiter.__all__ if name.endswith("Error")} - {"WaiterError"}
    assert named == exported


TASK = Task(id="t-1", state=TaskState.ERROR)
ENDS: dict[str, WaiterError] = {
    "TaskError": TaskError(TASK),
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


@pytest.mark.parametrize("row", table_after("Errors"), ids=lambda row: row[0].partition("`, ")[0].strip("`"))
def test_each_error_carries_what_the_table_says_and_has_its_exit_code(row: list[str]) -> None:
    """The attributes are there, and the command ends with that code."""
    for name in errors_of(row):
        error = ENDS[name]
        assert [one for one in re.findall(r"`\.(\w+)`", row[2]) if not hasattr(error, one)] == []
        assert exit_code(error) == (int(row[3]) if row[3].isdigit() else 1)


def test_the_table_of_arguments_is_whole() -> None:
    """Every argument stands in it, once; those for tests stand in their docstring."""
    named = [re.findall(r"`(\w+)`", row[0])[0] for row in table_after("Arguments")]
    assert sorted([*named, "allow_http", "sleep", "clock"]) == sorted(Options.__annotations__)


def test_the_defaults_of_the_arguments_are_those_of_the_table() -> None:
    """What is said to hold when nothing is given holds."""
    said = {re.findall(r"`(\w+)`", row[0])[0]: row[1].rpartition("else ")[2] for row in table_after("Arguments")}
    settings = resolve(Options(api_key="k"), {})
    schedule = settings.wait
    assert isinstance(schedule, Schedule)
    held = {name: getattr(settings, name) for name in ("base_url", "timeout", "max_outage", "learn", "max_rps")}
    held |= {
        "price": schedule.price,
        "min_interval": schedule.min_interval,
        "wait": "the schedule",
        "on_event": settings.on_event,
    }
    assert {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in held.items()} == {
        name: said[name] for name in held
    }
    assert (said["stall_timeout"], settings.stall_timeout) == ("None", inf)


def test_all_doors_take_the_same_arguments() -> None:
    """Blocking or awaited, one task or many."""
    doors: list[Any] = [waiter.wait_for_task, waiter.wait_for_tasks, waiter.Waiter.__init__, waiter.AsyncWaiter.__init__]
    doors += [waiter.aio.wait_for_task, waiter.aio.wait_for_tasks]
    assert {inspect.signature(door).parameters["options"].annotation for door in doors} == {"Unpack[Options]"}


def test_every_error_is_a_waiter_error_and_what_else_it_says() -> None:
    """Whoever expects a standard error gets one."""
    for row in table_after("Errors"):
        also = re.findall(r"also an? `(\w+)`", row[0])
        kinds = (WaiterError, *(getattr(builtins, name) for name in also))
        assert [name for name in errors_of(row) if not all(isinstance(ENDS[name], kind) for kind in kinds)] == []


def test_every_event_that_is_named_is_told() -> None:
    """The list of events names each that is sent, and none that is not."""
    listed = re.findall(r"`((?:task|poll|history)\.\w+)`", README.partition("## Logging")[2])
    source = (Path(waiter.__file__).parent / "polling" / "wait_state.py").read_text()
    assert set(listed) == set(re.findall(r'"((?:task|poll|history)\.\w+)"', source))


def test_the_longest_first_gap() -> None:
    """However wrong the history, the next look at a new task comes in the time that is named."""
    (seconds,) = re.findall(r"at most (\d+) s, [^.]*for a new task at the default price", " ".join(README.split()))
    never = History([86_400.0] * 100)
    assert 0.9 * int(seconds) < Schedule(history=never).interval(0.0) < int(seconds) + 0.5
    assert Schedule(price=0.2 * 100).interval(0.0) == pytest.approx(Schedule(history=never).interval(0.0))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> SimulatedCloud:
    """Leads the README's code, as it stands, into the simulation."""
    cloud = SimulatedCloud.virtual(strict=False)
    for task_id in ("26986bc0-748a-4448-b836-0a2aa465eb06", "id-1", "id-2"):
        cloud.add(ended({"instances": ["i-1"]}), task_id=task_id)
    real = waiter.config.settings.resolve

    def resolve(options: Any, *rest: Any) -> Any:
        return real(cloud.options | options, *rest)

    monkeypatch.setattr("waiter.wait.resolve", resolve)
    return cloud


@pytest.mark.parametrize("code", [code for code in blocks("python") if "def test_" not in code])
def test_the_python_of_the_readme_runs(code: str, cloud: SimulatedCloud, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands, against the simulation."""
    exec(compile(code, "README.md", "exec"), {})
    capsys.readouterr()
    assert len(cloud.requests) >= 1


def test_the_readmes_test_passes(pytester: pytest.Pytester) -> None:
    """A user's suite that begins like this works."""
    pytester.makepyfile(next(code for code in blocks("python") if "def test_" in code))
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)


def test_every_option_of_the_readmes_commands_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """No command of the README names an option that the command's help does not."""
    used = {found for block in blocks("console") for found in re.findall(r"waiter (\w+)[^|\n]*? (--[a-z-]{2,})", block)}
    assert used
    for command, option in used:
        with suppress(SystemExit):
            main([command, "--help"])
        assert option in capsys.readouterr().out, (command, option)


def test_pictures_and_folders_that_are_named_are_there() -> None:
    """No dead link."""
    root = Path(__file__).parent.parent
    named = [*re.findall(r"!\[[^]]*\]\(([^)]+)\)", README), "examples/kubernetes", "tests/benchmarks/startup.py"]
    named += [f"examples/{name}" for name in ("github-actions.yml", "gitlab-ci.yml", "Makefile", "deploy.sh", "main.tf")]
    assert [name for name in named if not (root / name).exists()] == []
