"""Messages on standard error as lines and as JSON objects."""

from __future__ import annotations

import json
import signal

import pytest
from command_parts import ENDLESS, GOOD, UNKNOWN, Run, event_of, interrupt_after, make_task, objects

from waiter.cli import app
from waiter.console import signals, stderr, streams
from waiter.errors import AuthenticationError, ConfigurationError, TaskNotFoundError


def test_messages_name_options_instead_of_arguments() -> None:
    """Notes are part of the message."""
    error = ConfigurationError("no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key")
    assert stderr.describe(error) == "no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or use --api-key-file"
    noted = TaskNotFoundError("no such task (404)")
    noted.add_note("it may belong to another account")
    assert stderr.describe(noted) == "no such task (404); it may belong to another account"


def test_refused_key_comes_with_a_hint() -> None:
    """In double quotes a shell expands a part of the key."""
    assert stderr.describe(AuthenticationError("the API key was rejected (401)")) == (
        "the API key was rejected (401); a key with a $ in it must stand in single quotes, or the shell expands part of it"
    )


def test_errors_of_the_api_have_a_request_id(run: Run) -> None:
    """They are reported with the HTTP status."""
    (message,) = objects(run("wait", GOOD, "--log-format", "json", "-o", "ids", env={"GCORE_API_KEY": "wrong"}).err)
    assert (message["event"], message["level"], message["exit_code"], message["status"]) == ("wait.failed", "error", 3, 401)
    assert message["request_id"]
    (look,) = objects(run("status", UNKNOWN, "--log-format", "json", env={"GCORE_API_KEY": "simulated$key"}).err)
    assert (look["event"], look["task_id"], look["status"]) == ("status.failed", UNKNOWN, 404)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["wait", GOOD, "--log-format=json", "--tiemout", "3"], "unknown option --tiemout: did you mean --timeout?"),
        (["wiat", "--log-format", "json"], "'wiat' is no command: did you mean wait?"),
        ([], "there is no command"),
    ],
)
def test_usage_errors_are_objects(run: Run, argv: list[str], message: str) -> None:
    """The format is known before the command line is parsed."""
    ran = run(*argv, env={"WAITER_LOG_FORMAT": "" if argv else "json"})
    (one,) = objects(ran.err)
    assert (ran.code, one["event"], one["error"], one["exit_code"]) == (2, "waiter.misused", message, 2)


def test_last_log_format_counts(run: Run) -> None:
    """The command line overrides the environment."""
    ran = run("wait", "--log-format", "json", "--log-format", "none", env={"WAITER_LOG_FORMAT": "json"})
    assert ran.err.startswith("waiter wait: the following arguments are required")


def test_problems_of_the_configuration_are_a_list(run: Run) -> None:
    """Each problem is one text."""
    (message,) = objects(run("wait", "!", "--log-format", "json", env={"GCORE_API_KEY": " "}).err)
    assert message == {
        "event": "waiter.failed",
        "level": "error",
        "problems": ["not a task ID: '!'", "the API key is empty"],
        "exit_code": 2,
    }


def test_failing_query_is_an_object(run: Run) -> None:
    """It is reported beside the log."""
    *_, message = objects(run("wait", GOOD, "--query", "keys(`1`)", "--log-format", "json").err)
    assert (message["event"], message["query_error"].startswith("In function keys()")) == ("result.not_found", True)


def test_interruption_is_two_objects(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has the signal, one the command that resumes."""
    interrupt_after(monkeypatch, event_of(make_task(ENDLESS)))
    message = objects(run("wait", ENDLESS, "-o", "ids", "--log-format", "json").err)
    assert message == [
        {"event": "wait.interrupted", "level": "warning", "signal": "SIGTERM"},
        {
            "event": "wait.unfinished",
            "level": "info",
            "tasks": {ENDLESS: "RUNNING"},
            "command": f"waiter wait -o ids --log-format json {ENDLESS}",
        },
    ]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (RuntimeError("no"), {"event": "waiter.fault", "error": "RuntimeError: no"}),
        (streams.OutputError("cannot"), {"event": "result.not_written", "message": "cannot"}),
        (signals.Interrupted(signal.SIGINT), {"event": "wait.interrupted", "level": "warning", "signal": "SIGINT"}),
    ],
)
def test_every_end_is_one_object(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: BaseException, message: dict[str, str]
) -> None:
    """A traceback is a part of the object."""

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(app, "_run", fail)
    assert objects(run("wait", GOOD, "--log-format", "json").err) == [{"level": "error", **message}]
    (debug,) = objects(run("wait", GOOD, "--log-format", "json", "--log-level", "debug").err)
    assert ("Traceback" in debug.get("exception", "")) == (message["event"] == "waiter.fault")


def test_message_names_its_task_once(run: Run) -> None:
    """Whatever the message is composed of."""
    away = {"GCORE_BASE_URL": "http://127.0.0.1:9"}
    for argv in (["--timeout", "0.1"], ["--max-outage", "0.1"]):
        ran = run("wait", ENDLESS, "-o", "ids", *argv, env=away)
        assert [line.count(ENDLESS) for line in ran.err.splitlines()] == [1, 1, 1]


def test_levels_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning has the level warning, information the level info."""
    message: list[str] = []
    monkeypatch.setattr(stderr, "write_stderr", message.append)
    monkeypatch.setattr(stderr._Format, "json", True)
    stderr.info("control on http://127.0.0.1:8080")
    stderr.warn("the result cannot be written")
    told = [(line["event"], line["level"], line["message"]) for line in map(json.loads, message)]
    assert told == [
        ("waiter.told", "info", "control on http://127.0.0.1:8080"),
        ("waiter.warned", "warning", "the result cannot be written"),
    ]
