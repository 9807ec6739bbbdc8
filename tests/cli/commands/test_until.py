"""``waiter until`` from arguments to exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from math import inf

import pytest
from command_parts import Run, Terminal

from waiter.cli.commands import until
from waiter.cli.wait_thread import InboxReader
from waiter.console import signals
from waiter.testing import (
    Fault,
    Script,
    SimulatedCloud,
    ended,
    finishes,
    redirect,
    resources_appear,
    resources_vanish,
    says,
    status,
)


@pytest.fixture
def add(cloud: SimulatedCloud) -> Callable[..., str]:
    """Add a volume, and return its path."""
    count = iter(range(1000))

    def add(script: Callable[[Script], Script] = lambda script: script) -> str:
        name = f"until-{next(count)}-{time.monotonic_ns()}"
        cloud.add(script(finishes(0, {"volumes": [name]})))
        return f"/cloud/v1/volumes/1/1/{name}"

    return add


def test_value_is_awaited_and_the_resource_printed(run: Run, cloud: SimulatedCloud, add: Callable[..., str]) -> None:
    """Each change is a line on standard error, and the result is the resource as JSON."""
    path = add()
    cloud.fault(says({"status": "creating"}), times=2, on="resource")
    ran = run("until", path, "--field", "status", "--is", "available", "in-use", "--interval", "0.1")
    assert (ran.code, ran.err) == (0, f"waiter: {path} is creating\nwaiter: {path} is available\n")
    assert json.loads(ran.out)["status"] == "available"


def test_value_that_fails_is_a_failure(run: Run, add: Callable[..., str]) -> None:
    """The resource is printed too; an asterisk matches any text."""
    path = add()
    ran = run("until", path, "--field", "status", "--is", "in-use", "--fails", "error", "av*", "-q", "-o", "text")
    assert ran == (1, f"available  {path}\n", f"waiter: {path} failed: available\n")


def test_query_applies_to_the_resource(run: Run, add: Callable[..., str]) -> None:
    """As in waiter wait, a null result is a warning or, with --strict, an error."""
    path = add()
    condition = ("--field", "status", "--is", "available", "-q")
    assert run("until", path, *condition, "--query", "[status, size]", "-o", "text").out == "available\n"
    assert run("until", path, *condition, "--query", "nothing", "--strict").code == 2


def test_condition_may_be_repeated_and_set_by_the_environment(run: Run, add: Callable[..., str]) -> None:
    """Values of a variable are separated by commas."""
    path = add()
    assert run("until", "--field", "status", "--is", "x", "--is", "available", "-q", path).code == 0
    assert run("until", path, "-q", env={"WAITER_FIELD": "status", "WAITER_IS": "x,available"}).code == 0


@pytest.mark.parametrize(
    ("value", "awaited"),
    [(None, "null"), (True, "true"), (7, "7"), ({"a": [1]}, '{"a":[1]}'), ("[x]", "[x]"), ("", ""), ("two words", "two*")],
)
def test_values_are_compared_as_text(run: Run, cloud: SimulatedCloud, value: object, awaited: str) -> None:
    """Text as it is, everything else as JSON."""
    path = f"/cloud/v1/values/{time.monotonic_ns()}"
    cloud.on_request("GET", path, json={"a": {"b": value}})
    assert run("until", path, "--field", "a.b", "--is", awaited, "-q").code == 0


def test_field_that_does_not_fit_is_null(run: Run, add: Callable[..., str]) -> None:
    """A function of JMESPath may fail on what a resource shows for the moment."""
    assert run("until", add(), "--field", "length(size)", "--is", "null", "-q").code == 0


def test_resource_that_is_gone_is_null(run: Run, cloud: SimulatedCloud, add: Callable[..., str]) -> None:
    """With --gone, a 404 is the end."""
    path = add(lambda script: resources_vanish(0, script))
    cloud.fault(says({"status": "available"}), times=2, on="resource")
    ran = run("until", path, "--gone", "--interval", "0.1")
    assert ran == (0, "null\n", f"waiter: {path} is available\nwaiter: {path} is gone\n")
    assert run("until", path, "--gone", "-q", "-o", "text").out == f"gone  {path}\n"


@pytest.mark.parametrize(("field", "code"), [("status", 0), ("provisioning_status", 0), ("state", 124)])
def test_deleted_resource_is_gone(run: Run, cloud: SimulatedCloud, field: str, code: int) -> None:
    """Some resources are shown as DELETED for a while."""
    path = f"/cloud/v1/deleted/{time.monotonic_ns()}"
    cloud.on_request("GET", path, json={field: "DELETED"})
    assert run("until", path, "--gone", "-q", "--timeout", "0.3").code == code


def test_deletion_that_fails_is_a_failure(run: Run, cloud: SimulatedCloud) -> None:
    """--fails goes with --gone."""
    path = f"/cloud/v1/deleted/{time.monotonic_ns()}"
    cloud.on_request("GET", path, json={"status": "error_deleting", "status_reason": "in use"})
    ran = run("until", path, "--gone", "--fails", "error*", "-q")
    assert (ran.code, ran.err) == (1, f"waiter: {path} failed: error_deleting: in use\n")


def test_time_out_has_a_code_of_its_own(run: Run, add: Callable[..., str]) -> None:
    """The message has the last value."""
    path = add()
    ran = run("until", path, "--field", "status", "--is", "in-use", "--timeout", "0.3", "-q")
    assert (ran.code, ran.out) == (124, "")
    assert re.fullmatch(rf"waiter: not as awaited after \d+ s: {path} is available\n", ran.err)


def test_outage_is_survived(run: Run, cloud: SimulatedCloud, add: Callable[..., str]) -> None:
    """As by waiter wait."""
    path = add()
    cloud.fault(status(503), on="resource")
    assert run("until", path, "--field", "status", "--is", "available", "-q").code == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(503), r"waiter: no usable answer for \d+ s: the API returned 503"),
        (redirect("https://evil.example/"), ".* but the API key is sent to the configured host only"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_outage_is_limited(run: Run, fault: Fault, message: str) -> None:
    """As that of waiter wait. No redirect is followed."""
    cloud = SimulatedCloud(strict=False)
    cloud.add(ended({"volumes": ["disk"]}))
    cloud.fault(fault, times=inf, on="resource")
    with cloud.serve() as url:
        argv = ("until", "/cloud/v1/volumes/1/1/disk", "--field", "status", "--is", "available", "-q", "--max-outage", "0.2")
        ran = run(*argv, env={"GCORE_BASE_URL": url})
    assert ran.code == 5
    assert re.match(message, ran.err)


def test_refused_key_ends_the_wait(run: Run, add: Callable[..., str]) -> None:
    """As for tasks."""
    assert run("until", add(), "--gone", "-q", env={"GCORE_API_KEY": "wrong$key"}).code == 3


def test_response_that_is_no_object_is_an_outage(run: Run, cloud: SimulatedCloud) -> None:
    """A list has no field."""
    path = f"/cloud/v1/list/{time.monotonic_ns()}"
    cloud.on_request("GET", path, json=["active"])
    ran = run("until", path, "--field", "status", "--is", "active", "-q", "--max-outage", "0.2")
    assert (ran.code, "not an object" in ran.err) == (5, True)


def test_path_that_is_found_late_has_a_grace(run: Run, add: Callable[..., str]) -> None:
    """The first 404 does not end the wait."""
    path = add(lambda script: resources_appear(0.3, script))
    assert run("until", path, "--field", "status", "--is", "available", "-q").code == 0


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["/x"], "required: --field and --is, or --gone"),
        (["/x", "--field", "status"], "required: --field and --is, or --gone"),
        (["/x", "--is", "a"], "required: --field and --is, or --gone"),
        (["/x", "--gone", "--is", "a"], "not allowed with argument"),
        (["--gone"], "required: PATH"),
        (
            ["--field", "status", "--is", "active", "in use", "/x/y"],
            "PATH stands before options that take several values: waiter until /x/y --field status --is active 'in use'",
        ),
        (
            ["--gone", "--fails", "error*", "https://h/x"],
            "PATH stands before options that take several values: waiter until https://h/x --gone --fails 'error*'",
        ),
        (["/x", "/y", "--gone"], "one argument too many: /y"),
        (["/x", "--field", "sta[", "--is", "a"], "--field: Invalid jmespath expression"),
        (["/x", "--field", "nope(a)", "--is", "a"], "--field: Unknown function: nope()"),
        (["/x/../y", "--gone"], "must not contain . or .."),
        (["https://evil.example/x", "--gone"], "must begin with http://127.0.0.1"),
        (["/x", "--gone", "-o", "ids"], "invalid choice: 'ids'"),
    ],
)
def test_wrong_usage_sends_nothing(run: Run, argv: list[str], problem: str) -> None:
    """The exit code is 2."""
    ran = run("until", *argv)
    assert (ran.code, ran.out, problem in ran.err) == (2, "", True)


def test_log_has_the_events_with_the_path(run: Run, add: Callable[..., str]) -> None:
    """What the log reports is not written again; other failures are objects with the path."""
    path = add()
    argv = ("until", path, "--field", "status", "--log-format", "json")
    failed = [json.loads(line) for line in run(*argv, "--is", "x", "--fails", "available").err.splitlines()]
    assert [(one["event"], one["path"]) for one in failed] == [("resource.state_changed", path), ("resource.failed", path)]
    late = [json.loads(line) for line in run(*argv, "--is", "x", "--timeout", "0.2").err.splitlines()]
    assert [one["event"] for one in late] == ["resource.state_changed", "resource.timed_out"]
    refused = run(*argv, "--is", "x", env={"GCORE_API_KEY": "wrong$key"}).err
    assert json.loads(refused)["path"] == path


def test_live_progress_shows_the_value(terminal: Callable[..., Terminal], add: Callable[..., str]) -> None:
    """The row has the value and the path."""
    path = add()
    at = terminal("until", path, "--field", "status", "--is", "in-use", "--timeout", "1.5", columns=120)
    assert any(" available " in line and path in line for line in at.until("available"))
    code, (message,) = at.finish()
    assert code == 124
    assert re.fullmatch(rf"waiter: not as awaited after \d+ s: {path} is available", message)


def test_interruption_ends_the_wait(environ: dict[str, str], add: Callable[..., str]) -> None:
    """SIGTERM exits immediately with 143, and the message has the last value."""
    path = add()
    command = [sys.executable, "-m", "waiter", "until", path, "--field", "status", "--is", "in-use"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "is available" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert (process.wait(), process.stderr.read()) == (143, f"waiter: interrupted by SIGTERM; {path} is available\n")


def test_fault_of_waiter_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the thread of the wait reaches the main thread."""

    def fail(*_: object) -> None:
        message = "broken"
        raise RuntimeError(message)

    monkeypatch.setattr("waiter.wait.Waiter.until", fail)
    ran = run("until", "/x", "--gone")
    assert (ran.code, "a fault in waiter itself: RuntimeError: broken" in ran.err) == (70, True)


def test_interruption_is_reported_with_the_value(run: Run, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a JSON log it is an object."""

    def interrupt(*_: object, **__: object) -> None:
        raise signals.Interrupted(signal.SIGINT)

    monkeypatch.setattr(until, "start_thread", lambda *_: threading.Thread())
    monkeypatch.setattr(InboxReader, "read_until_done", interrupt)
    path = add()
    ran = run("until", path, "--gone", "--log-format", "json")
    shown = json.loads(ran.err.splitlines()[-1])
    assert (ran.code, shown["signal"], shown["path"], shown["value"]) == (130, "SIGINT", path, "not polled yet")
