"""``--otel``, with an entry point of the test's own; that of waiter is tested beside the integration."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, Run, interrupt_after

from waiter.cli.telemetry import GROUP

Register = Callable[[str | None], None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Makes an object of this module, or nothing, the installed telemetry."""

    def register(value: str | None) -> None:
        monkeypatch.setitem(sys.modules, "telemetry_of_a_test", sys.modules[__name__])
        found = [EntryPoint("otel", value, GROUP)] if value else []
        wanted = {"group": GROUP, "name": "otel"}
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **by: found if by == wanted else [])

    return register


@contextmanager
def record() -> Iterator[None]:
    sys.stdout.write("recording\n")
    try:
        yield
    finally:
        sys.stdout.write("exported\n")


@pytest.mark.usefixtures("kept_signals")
def test_telemetry_is_exported_before_the_command_replaces_this_process(
    run: Run, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result comes before the export, so that a slow collector does not delay it."""
    register("telemetry_of_a_test:record")
    monkeypatch.setattr(os, "execvpe", lambda *_: sys.stdout.write("replaced\n"))
    ran = run("wait", GOOD, "-q", "--otel", "-o", "ids", "--", "true")
    assert ran.out == "recording\nvm-1\ndisk-1\ndisk-2\nexported\nreplaced\n"


@pytest.mark.parametrize(("options", "code"), [([BROKEN], 1), ([ENDLESS, "--timeout", "0"], 124), (["0" * 8], 4)])
def test_telemetry_is_exported_after_a_failure(run: Run, register: Register, options: list[str], code: int) -> None:
    """The exit code is that of the wait."""
    register("telemetry_of_a_test:record")
    ran = run("wait", *options, "-q", "-o", "ids", env={"WAITER_OTEL": "1"})
    assert (ran.code, ran.out.splitlines()[0], ran.out.splitlines()[-1]) == (code, "recording", "exported")


def test_telemetry_is_exported_after_a_signal(run: Run, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is still under way then."""
    register("telemetry_of_a_test:record")

    interrupt_after(monkeypatch)
    ran = run("wait", ENDLESS, "-q", "-o", "ids", "--otel")
    assert (ran.code, ran.out) == (143, "recording\nexported\n")


def test_wait_for_a_resource_is_exported_after_its_result(run: Run, register: Register) -> None:
    """``waiter until`` has the option too; without it nothing is recorded."""
    register("telemetry_of_a_test:record")
    command = ["until", "/cloud/v1/volumes/1/1/disk-1", "--field", "status", "--is", "available", "-q", "-o", "text"]
    assert run(*command, "--otel").out == "recording\navailable  /cloud/v1/volumes/1/1/disk-1\nexported\n"
    assert run(*command).out == "available  /cloud/v1/volumes/1/1/disk-1\n"


def test_without_the_option_nothing_is_recorded(run: Run, register: Register) -> None:
    """Neither on the command line nor in the environment."""
    register("telemetry_of_a_test:record")
    assert run("wait", GOOD, "-q", "-o", "ids").out == "vm-1\ndisk-1\ndisk-2\n"
    assert run("wait", GOOD, "-q", "-o", "ids", env={"WAITER_OTEL": "no"}).out == "vm-1\ndisk-1\ndisk-2\n"


def test_missing_telemetry_is_a_usage_error_beside_the_others(
    run: Run, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is named, together with all other problems, before anything is polled."""
    register(None)
    ran = run("wait", ENDLESS, "--otel", "--query", "[")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("; --otel: gcore-waiter is not installed with its entry points (waiter.telemetry)\n")
    register("waiter.integrations.otel_command:record")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    problem = "--otel: waiter.integrations.otel needs OpenTelemetry's API: pip install 'gcore-waiter[otel]'"
    assert run("wait", ENDLESS, "--otel") == (2, "", f"waiter: {problem}\n")


def test_entry_point_is_that_of_the_integration() -> None:
    """The file and the function exist; they are run in the environment of the integration."""
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"][GROUP]["otel"].partition(":")
    assert f"\ndef {name}(" in root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
