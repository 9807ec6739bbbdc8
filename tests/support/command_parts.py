"""Tasks, events, and a pseudo-terminal for the tests of the command."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyte
import pytest

from waiter.cli.wait_thread import Inbox, InboxReader
from waiter.console import signals
from waiter.events import Event
from waiter.schedule.history import History
from waiter.task import CreatedResources, Task, TaskState

GOOD = "11111111-1111-4111-8111-111111111111"
BROKEN = "22222222-2222-4222-8222-222222222222"
ENDLESS = "33333333-3333-4333-8333-333333333333"
EMPTY = "44444444-4444-4444-8444-444444444444"
UNKNOWN = "99999999-9999-4999-8999-999999999999"
BIRTH = datetime(2026, 7, 1, 12, tzinfo=UTC)
PAST = History(durations=(18.0, 19.0, 20.0, 21.0, 22.0, 20.0, 19.5, 20.5))


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def make_task(task_id: str = GOOD, state: str = "RUNNING", *, took: float | None = None, **fields: Any) -> Task:
    ended = BIRTH + timedelta(seconds=took) if took is not None else None
    resources = CreatedResources.from_mapping(fields.pop("created", None))
    known = {"task_type": "create_vm", "created_on": BIRTH, "finished_on": ended, "created_resources": resources}
    return Task(id=task_id, state=TaskState(state), **{**known, **fields})


def event_of(task: Task, *, age: float | None = 12.0, history: History | None = None, **fields: Any) -> Event:
    name = fields.pop("name", "task.state_changed")
    return Event(name, {"task_id": task.id, **fields}, task=task, age=age, history=history)


def objects(err: str) -> list[dict[str, Any]]:
    """Return the JSON objects on standard error without their timestamps."""
    found = [json.loads(line) for line in err.splitlines()]
    assert all(one.pop("timestamp").endswith("Z") for one in found)
    return found


def interrupt_after(monkeypatch: pytest.MonkeyPatch, *events: Event) -> None:
    """Send SIGTERM after some events of ``waiter wait``, whose thread does nothing."""

    def start(*given: Any) -> threading.Thread:
        inbox: Inbox = given[3]
        for event in events:
            inbox.put(event)
        return threading.Thread()

    def interrupt(_: InboxReader) -> None:
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr("waiter.cli.commands.wait.start_wait_thread", start)
    monkeypatch.setattr(InboxReader, "read_until_done", interrupt)


def _set_controlling_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """The command on a pseudo-terminal, and the screen that the user sees."""

    def __init__(self, argv: list[str], environ: Mapping[str, str], columns: int = 80, lines: int = 24, **how: Any) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self._resize(columns, lines)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "waiter", *argv],
            env=dict(environ),
            **{"stdin": slave, "stdout": slave, "stderr": slave, **how},
            start_new_session=True,
            preexec_fn=_set_controlling_terminal,  # noqa: PLW1509 - it acquires no lock
        )
        os.close(slave)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        self._screen.resize(lines, columns)
        self._resize(columns, lines)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def until(self, text: str, seconds: float = 60.0) -> list[str]:
        """Wait until the screen shows a text, and return the screen."""
        return self.until_screen(lambda screen: text in "\n".join(screen), seconds)

    def until_screen(self, condition: Callable[[list[str]], bool], seconds: float = 60.0) -> list[str]:
        """Wait until the screen satisfies a condition, and return the screen."""
        deadline = time.monotonic() + seconds
        while not condition(self.screen) and time.monotonic() < deadline:
            if not self._read():
                break
        return self.screen

    def finish(self) -> tuple[int, list[str]]:
        """Wait for the process to exit, and return its exit code and the screen."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(60), self.screen

    def kill(self) -> None:
        """Kill the process."""
        self.process.send_signal(signal.SIGKILL)
        self.finish()

    @property
    def screen(self) -> list[str]:
        """The lines of the screen, without empty ones at the end."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self._stream.feed(data)
        return bool(data)
