"""What is said on standard error: objects for programs beside a log in JSON, and no fact twice in any form."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Run, Terminal, a_task, seen

from waiter.cli import app, follow, progress
from waiter.cli.board import Board
from waiter.console import log_format as logs
from waiter.console import signals, stderr, streams


def objects(err: str) -> list[dict[str, Any]]:
    """Read standard error as a program does, and leave out when it was said."""
    said = [json.loads(line) for line in err.splitlines()]
    assert all(one.pop("timestamp").endswith("Z") for one in said)
    return said


def test_a_failure_is_told_once(run: Run) -> None:
    """By its event, in a log of either form; how to go on is told beside it."""
    argv = ["wait", BROKEN, ENDLESS, "--timeout", "0.2", "-o", "ids", "--progress", "lines"]
    ran = run(*argv, "--log-format", "json")
    said = objects(ran.err)
    assert sorted(one["event"] for one in said) == [
        "task.failed",
        "task.state_changed",
        "task.state_changed",
        "task.timed_out",
        "wait.unfinished",
    ]
    assert said[-1] == {
        "event": "wait.unfinished",
        "level": "info",
        "tasks": {ENDLESS: "RUNNING/NETWORK"},
        "command": f"waiter wait --timeout 0.2 -o ids --progress lines --log-format json {ENDLESS}",
    }
    lines = run(*argv, "--log-format", "console").err
    told = ("No valid host", "task.timed_out", "not ended after", "go on waiting")
    assert [lines.count(fact) for fact in told] == [1, 1, 0, 1]


def test_what_the_level_of_the_log_leaves_out_is_told_all_the_same(run: Run) -> None:
    """A time-out is a warning; in a log of errors only it would be no word at all."""
    ran = run("wait", ENDLESS, "--timeout", "0.1", "-o", "ids", "--log-format", "json", "--log-level", "error")
    failed, unfinished = objects(ran.err)
    assert (ran.code, failed["event"], failed["exit_code"], unfinished["event"]) == (124, "wait.failed", 124, "wait.unfinished")
    assert failed["error"].startswith("not ended after 0 s: last seen RUNNING/NETWORK")


def test_errors_of_the_api(run: Run) -> None:
    """No event tells of them; they come with what Gcore's support will ask for."""
    (said,) = objects(run("wait", GOOD, "--log-format", "json", "-o", "ids", env={"GCORE_API_KEY": "wrong"}).err)
    assert (said["event"], said["level"], said["exit_code"], said["status"]) == ("wait.failed", "error", 3, 401)
    assert said["request_id"]
    (look,) = objects(run("status", UNKNOWN, "--log-format", "json", env={"GCORE_API_KEY": "simulated$key"}).err)
    assert (look["event"], look["task_id"], look["status"]) == ("look.failed", UNKNOWN, 404)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["wait", GOOD, "--log-format=json", "--tiemout", "3"], "unknown option --tiemout: did you mean --timeout?"),
        (["wiat", "--log-format", "json"], "'wiat' is no command: did you mean wait?"),
        ([], "there is no command"),
    ],
)
def test_mistakes(run: Run, argv: list[str], said: str) -> None:
    """How to speak of a mistake on the command line is known before it is read."""
    ran = run(*argv, env={"WAITER_LOG_FORMAT": "" if argv else "json"})
    (one,) = objects(ran.err)
    assert (ran.code, one["event"], one["error"], one["exit_code"]) == (2, "waiter.misused", said, 2)


def test_the_command_line_outweighs_the_environment(run: Run) -> None:
    """Of several forms on it, the last counts."""
    ran = run("wait", "--log-format", "json", "--log-format", "none", env={"WAITER_LOG_FORMAT": "json"})
    assert ran.err.startswith("waiter wait: the following arguments are required")


def test_all_problems_of_the_configuration(run: Run) -> None:
    """Each is one text of a list."""
    (said,) = objects(run("wait", "!", "--log-format", "json", env={"GCORE_API_KEY": " "}).err)
    assert said == {
        "event": "waiter.failed",
        "level": "error",
        "problems": ["not a task ID: '!'", "the API key is empty"],
        "exit_code": 2,
    }


def test_a_query_without_an_answer(run: Run) -> None:
    """It is said beside the log as well."""
    *_, said = objects(run("wait", GOOD, "--query", "keys(`1`)", "--log-format", "json").err)
    assert (said["event"], said["query_error"].startswith("In function keys()")) == ("result.not_found", True)


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal is one fact, how to go on another."""

    def follow_until(_: object, board: Board, *__: object, **___: object) -> None:
        board.rows[ENDLESS].note(seen(a_task(ENDLESS)), 0.0)
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(follow, "start", lambda *_: threading.Thread())
    monkeypatch.setattr(follow, "follow", follow_until)
    said = objects(run("wait", ENDLESS, "-o", "ids", "--log-format", "json").err)
    assert said == [
        {"event": "wait.interrupted", "level": "warning", "signal": "SIGTERM"},
        {
            "event": "wait.unfinished",
            "level": "info",
            "tasks": {ENDLESS: "RUNNING"},
            "command": f"waiter wait -o ids --log-format json {ENDLESS}",
        },
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RuntimeError("no"), {"event": "waiter.fault", "error": "RuntimeError: no"}),
        (streams.OutputError("cannot"), {"event": "result.not_written", "message": "cannot"}),
        (signals.Interrupted(signal.SIGINT), {"event": "wait.interrupted", "level": "warning", "signal": "SIGINT"}),
    ],
)
def test_whatever_ends_the_run(run: Run, monkeypatch: pytest.MonkeyPatch, fault: BaseException, said: dict[str, str]) -> None:
    """One object, and a traceback only as a part of it."""

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(app, "_run", fail)
    assert objects(run("wait", GOOD, "--log-format", "json").err) == [{"level": "error", **said}]
    (debug,) = objects(run("wait", GOOD, "--log-format", "json", "--log-level", "debug").err)
    assert ("Traceback" in debug.get("exception", "")) == (said["event"] == "waiter.fault")


def test_a_terminal_shows_objects_too(terminal: Callable[..., Terminal]) -> None:
    """Nothing is drawn between them, even if somebody asks for it."""
    argv = ["wait", ENDLESS, "--timeout", "0.1", "-o", "ids", "--log-format", "json", "--progress", "live"]
    code, screen = terminal(*argv, columns=1000).finish()
    assert (code, [json.loads(line)["event"] for line in screen]) == (
        124,
        ["task.state_changed", "task.timed_out", "wait.unfinished"],
    )


def test_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they warn of is in the log, in its form, and not beside it."""
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    lines: list[str] = []
    logs.configure("json", "info", logs.LineWriter(lines.append))
    heard = logging.lastResort
    assert heard is not None
    heard.handle(logging.makeLogRecord({"name": "uvicorn", "levelno": 40, "msg": "no %s", "args": ("luck",), "exc_info": None}))
    with pytest.raises(ZeroDivisionError) as caught:
        1 // 0  # noqa: B018
    info = (caught.type, caught.value, caught.tb)
    heard.handle(logging.makeLogRecord({"name": "asyncio", "levelno": 30, "msg": "never retrieved", "exc_info": info}))
    structlog.reset_defaults()
    first, second = objects("".join(lines))
    assert first == {"event": "library.warned", "level": "error", "logger": "uvicorn", "message": "no luck"}
    assert (second["level"], "ZeroDivisionError" in second["exception"]) == ("warning", True)


def test_an_error_names_its_task_once(run: Run) -> None:
    """Whatever the message is made of."""
    away = {"GCORE_BASE_URL": "http://127.0.0.1:9"}
    for argv in (["--timeout", "0.1"], ["--max-outage", "0.1"]):
        ran = run("wait", ENDLESS, "-o", "ids", *argv, env=away)
        assert [line.count(ENDLESS) for line in ran.err.splitlines()] == [1, 1, 1]


def test_a_real_process_says_nothing_else(start: Callable[..., subprocess.Popen[str]]) -> None:
    """From its begin to a signal, every line is an object."""
    with start("wait", ENDLESS, "--log-format", "json", "-o", "ids") as child:
        assert child.stderr is not None
        first = child.stderr.readline()
        child.terminate()
        _, rest = child.communicate(timeout=10)
    assert [one["event"] for one in objects(first + rest)] == ["task.state_changed", "wait.interrupted", "wait.unfinished"]


@pytest.mark.parametrize("level", ["info", "warning", "error"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_level_of_the_log_silences_the_heartbeat(run: Run, monkeypatch: pytest.MonkeyPatch, level: str, form: str) -> None:
    """CI systems end silent jobs, so the heartbeat is in the log at every level, in the form of the log."""
    monkeypatch.setattr(progress, "HEARTBEAT", 0.03)
    ran = run("wait", ENDLESS, "--timeout", "0.1", "--log-level", level, "--log-format", form)
    beats = [line for line in ran.err.splitlines() if "wait.goes_on" in line]
    assert beats
    if form == "json":
        assert json.loads(beats[-1])["tasks"] == {ENDLESS: "RUNNING/NETWORK"}


def test_json_log(run: Run) -> None:
    """With ``--log-format json`` every line of standard error is an event."""
    ran = run("wait", GOOD, "-o", "ids", "--log-format", "json")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert [event["event"] for event in events] == ["task.state_changed", "task.finished"]
    assert {event["task_id"] for event in events} == {GOOD}
    assert ran.out == "vm-1\ndisk-1\ndisk-2\n"


def test_console_log(run: Run) -> None:
    """A level alone asks for a log too, of that level and above."""
    ran = run("wait", GOOD, "-o", "ids", "--log-level", "info")
    assert [line.split("] ")[1].split()[0] for line in ran.err.splitlines()] == ["task.state_changed", "task.finished"]
    assert run("wait", GOOD, "-o", "ids", "--log-level", "warning").err == ""


def test_a_log_is_harmless() -> None:
    """What the API says cannot act on the terminal that shows the log."""
    lines: list[str] = []
    logs.configure("console", "info", logs.LineWriter(lines.append))
    structlog.get_logger().info("task.failed", error="\x1b[2J\nforged", elapsed=1.0)
    structlog.reset_defaults()
    assert len(lines) == 1
    assert r"\x1b[2J\nforged" in lines[0]


def test_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is woken by errors is not woken by how things are."""
    said: list[str] = []
    monkeypatch.setattr(stderr, "write_stderr", said.append)
    monkeypatch.setattr(stderr._Format, "json", True)
    stderr.info("control on http://127.0.0.1:8080")
    stderr.warn("the result cannot be written")
    told = [(line["event"], line["level"], line["message"]) for line in map(json.loads, said)]
    assert told == [
        ("waiter.told", "info", "control on http://127.0.0.1:8080"),
        ("waiter.warned", "warning", "the result cannot be written"),
    ]
