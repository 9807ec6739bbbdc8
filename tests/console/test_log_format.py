"""The log on standard error."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections.abc import Callable

import pytest
import structlog
from command_parts import BROKEN, ENDLESS, GOOD, Run, Terminal, objects

from waiter.cli.progress import lines
from waiter.console import log_format


def test_failure_is_reported_once(run: Run) -> None:
    """An event of the log replaces the message; the command that resumes is added."""
    argv = ["wait", BROKEN, ENDLESS, "--timeout", "0.2", "-o", "ids", "--progress", "lines"]
    ran = run(*argv, "--log-format", "json")
    message = objects(ran.err)
    assert sorted(one["event"] for one in message) == [
        "task.failed",
        "task.state_changed",
        "task.state_changed",
        "task.timed_out",
        "wait.unfinished",
    ]
    assert message[-1] == {
        "event": "wait.unfinished",
        "level": "info",
        "tasks": {ENDLESS: "RUNNING/NETWORK"},
        "command": f"waiter wait --timeout 0.2 -o ids --progress lines --log-format json {ENDLESS}",
    }
    lines = run(*argv, "--log-format", "console").err
    told = ("No valid host", "task.timed_out", "not ended after", "to resume")
    assert [lines.count(fact) for fact in told] == [1, 1, 0, 1]


def test_errors_below_the_log_level_are_reported(run: Run) -> None:
    """A time-out is a warning, which a log of errors does not contain."""
    ran = run("wait", ENDLESS, "--timeout", "0.1", "-o", "ids", "--log-format", "json", "--log-level", "error")
    failed, unfinished = objects(ran.err)
    assert (ran.code, failed["event"], failed["exit_code"], unfinished["event"]) == (124, "wait.failed", 124, "wait.unfinished")
    assert re.match(r"not ended after \d+ s: last seen RUNNING/NETWORK", failed["error"])


def test_no_drawing_between_objects(terminal: Callable[..., Terminal]) -> None:
    """``--progress live`` is ignored with a JSON log."""
    argv = ["wait", ENDLESS, "--timeout", "0.1", "-o", "ids", "--log-format", "json", "--progress", "live"]
    code, screen = terminal(*argv, columns=1000).finish()
    assert (code, [json.loads(line)["event"] for line in screen]) == (
        124,
        ["task.state_changed", "task.timed_out", "wait.unfinished"],
    )


def test_warnings_of_other_libraries_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have the format of the log."""
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    lines: list[str] = []
    log_format.configure("json", "info", log_format.LineWriter(lines.append))
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


def test_every_line_of_a_process_is_an_object(start: Callable[..., subprocess.Popen[str]]) -> None:
    """From the start to a signal."""
    with start("wait", ENDLESS, "--log-format", "json", "-o", "ids") as child:
        assert child.stderr is not None
        first = child.stderr.readline()
        child.terminate()
        _, rest = child.communicate(timeout=60)
    assert [one["event"] for one in objects(first + rest)] == ["task.state_changed", "wait.interrupted", "wait.unfinished"]


@pytest.mark.parametrize("level", ["info", "warning", "error"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_heartbeat_is_written_at_every_log_level(run: Run, monkeypatch: pytest.MonkeyPatch, level: str, form: str) -> None:
    """CI systems end jobs without output."""
    monkeypatch.setattr(lines, "HEARTBEAT", 0.03)
    ran = run("wait", ENDLESS, "--timeout", "0.1", "--log-level", level, "--log-format", form)
    beats = [line for line in ran.err.splitlines() if "wait.heartbeat" in line]
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


def test_level_alone_implies_a_console_log(run: Run) -> None:
    """It contains events of that level and above."""
    ran = run("wait", GOOD, "-o", "ids", "--log-level", "info")
    assert [line.split("] ")[1].split()[0] for line in ran.err.splitlines()] == ["task.state_changed", "task.finished"]
    assert run("wait", GOOD, "-o", "ids", "--log-level", "warning").err == ""


def test_log_escapes_control_characters() -> None:
    """Text of the API cannot act on the terminal."""
    lines: list[str] = []
    log_format.configure("console", "info", log_format.LineWriter(lines.append))
    structlog.get_logger().info("task.failed", error="\x1b[2J\nforged", elapsed=1.0)
    structlog.reset_defaults()
    assert len(lines) == 1
    assert r"\x1b[2J\nforged" in lines[0]
