"""What is told while tasks are awaited, as lines and on a terminal."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
from collections.abc import Callable
from types import SimpleNamespace

import pyte
import pytest
import structlog
from command_parts import BROKEN, ENDLESS, GOOD, PAST, UNKNOWN, Terminal, a_task, seen

from waiter.cli import board as boards
from waiter.cli import display, live
from waiter.cli.board import Board
from waiter.cli.live import ASCII, FANCY, Live, block, glyphs_for
from waiter.cli.progress import Lines, Logged, Progress
from waiter.console import streams
from waiter.errors import ApiUnavailableError, TaskError
from waiter.events import Event
from waiter.outcome import Outcome
from waiter.schedule.history import History
from waiter.schedule.schedule import TimeLeft


class Clock:
    """Time that stands still until it is told to go on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Twenty:
    """A schedule that expects every task to take 20 seconds, 30 at most."""

    def __init__(self, history: History) -> None:
        assert history == PAST

    def time_left(self, age: float) -> TimeLeft:
        return TimeLeft(median=max(20 - age, 1), p90=max(30 - age, 2))


@pytest.fixture(autouse=True)
def _known_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "Schedule", Twenty)


def told(board: Board, progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str], *events: Event) -> str:
    for event in events:
        board.rows[event.task_id].note(event, clock())
        progress.changed(event)
    return capsys.readouterr().err


def test_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """One line at each change of state, at the begin and at the end of an outage, with the time left when it is known."""
    board = Board([GOOD], clock())
    lines = Lines(board, clock)
    new = a_task(state="NEW", task_type=None)
    assert told(board, lines, clock, capsys, seen(new, age=None)) == f"waiter: {GOOD} is NEW\n"
    running = a_task(detailed_state="NETWORK")
    assert told(board, lines, clock, capsys, seen(running)) == f"waiter: create_vm {GOOD} is RUNNING/NETWORK (12s old)\n"
    failed = [seen(running, name="poll.failed", attempt=n, error="the API answers 503") for n in (1, 2)]
    assert told(board, lines, clock, capsys, *failed) == f"waiter: create_vm {GOOD}: the API answers 503; looking again\n"
    recovered = seen(running, name="poll.recovered", outage=4.2)
    assert told(board, lines, clock, capsys, recovered) == f"waiter: create_vm {GOOD}: the API answers again after 4s\n"
    learned = seen(running, name="history.learned", history=PAST)
    assert told(board, lines, clock, capsys, learned) == (f"waiter: create_vm {GOOD} is 12s old, about 8s left (90%: 18s)\n")
    unlearned = seen(a_task(task_type="other"), name="history.learned")
    assert told(board, lines, clock, capsys, unlearned) == ""
    done = seen(a_task(state="FINISHED", took=19))
    assert told(board, lines, clock, capsys, done) == f"waiter: create_vm {GOOD} is FINISHED (took 19s)\n"


def test_heartbeat(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Silence never lasts a minute, and each heartbeat says what is awaited."""
    board = Board([GOOD], clock())
    lines = Lines(board, clock)
    told(board, lines, clock, capsys, seen(a_task(), history=PAST))
    assert lines.pause() == 50
    clock.now += 30
    assert (lines.pause(), capsys.readouterr().err) == (20, "")
    clock.now += 20
    assert lines.pause() == 50
    assert capsys.readouterr().err == (
        f"waiter: still waiting after 50s: create_vm {GOOD} is RUNNING (1m02s old, about 1s left (90%: 2s))\n"
    )


def test_no_heartbeat_when_nothing_is_awaited(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Between the last end and the result there is nothing to say."""
    board = Board([GOOD], clock())
    lines = Lines(board, clock)
    board.rows[GOOD].end(Outcome(GOOD, task=a_task(state="FINISHED")), clock())
    clock.now += 50
    assert (lines.pause(), capsys.readouterr().err) == (50, "")


def test_the_heartbeat_of_many(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the first few of those that are still awaited, with what is in their way."""
    board = Board(["t0", "t1", "t2", "t3", "t4", "t5", "t6"], clock())
    lines = Lines(board, clock)
    told(board, lines, clock, capsys, seen(a_task("t1"), name="poll.failed", attempt=1, error="no answer"))
    board.rows["t0"].end(Outcome("t0", task=a_task("t0", "FINISHED")), clock())
    clock.now += 50
    lines.pause()
    waiting = "; ".join(f"t{n} is not seen yet" for n in (2, 3, 4, 5))
    assert capsys.readouterr().err == (
        "waiter: still waiting after 50s for 6 of 7 tasks: create_vm t1 is RUNNING (1m02s old), but no answer; "
        f"{waiting}; and 1 more\n"
    )


def test_beside_a_log_only_heartbeats(clock: Clock) -> None:
    """Where a log is written, the log has it all, heartbeats included."""
    board = Board([GOOD], clock())
    with structlog.testing.capture_logs() as log:
        beats = Logged(board, clock)
        beats.changed(seen(a_task()))
        clock.now += 50
        beats.pause()
    structlog.reset_defaults()
    assert log == [{"event": "wait.goes_on", "tasks": {GOOD: "not seen yet"}, "waited": 50.0, "log_level": "info"}]


def test_the_heartbeat_of_a_log_has_the_time_left(clock: Clock) -> None:
    """For each task of which earlier ones tell."""
    board = several(clock)
    with structlog.testing.capture_logs() as log:
        beats = Logged(board, clock)
        clock.now += 50
        beats.pause()
    structlog.reset_defaults()
    left = board.rows[ENDLESS].time_left(clock())
    assert left is not None
    assert log[0]["time_left"] == {ENDLESS: round(left.median, 1)}
    assert log[0]["time_left_p90"] == {ENDLESS: round(left.p90, 1)}


def test_what_the_log_leaves_out_puts_off_no_heartbeat(clock: Clock) -> None:
    """A change that the log's level swallows breaks no silence."""
    board = Board([GOOD], clock())
    beats = Logged(board, clock)
    clock.now += 40
    beats.changed(seen(a_task()))
    assert beats.pause() == 10


def several(clock: Clock) -> Board:
    board = Board([GOOD, BROKEN, ENDLESS, UNKNOWN], clock())
    done = a_task(GOOD, "FINISHED", took=19)
    board.rows[GOOD].note(seen(done), clock())
    board.rows[GOOD].end(Outcome(GOOD, task=done), clock())
    failed = a_task(BROKEN, "ERROR", error="No valid host")
    board.rows[BROKEN].note(seen(failed), clock())
    board.rows[BROKEN].end(Outcome(BROKEN, error=TaskError(failed)), clock())
    running = a_task(ENDLESS, detailed_state="NETWORK")
    board.rows[ENDLESS].note(seen(running, history=PAST), clock())
    clock.now += 3
    return board


WIDE = f"""\
✓ FINISHED            19s  create_vm  {GOOD}
✗ ERROR                    create_vm  {BROKEN}
⠋ RUNNING/NETWORK     15s  create_vm  {ENDLESS}  █████████░░░  about 5s left (90%: 15s)
⠋ not seen yet                        {UNKNOWN}"""

MIDDLE = """\
✓ FINISHED            19s  create_vm  11111111-1111-4111-8111-111111111111
✗ ERROR                    create_vm  22222222-2222-4222-8222-222222222222
⠋ RUNNING/NETWORK     15s  create_vm  33333333  █████████░░░  about 5s left
⠋ not seen yet                        99999999-9999-4999-8999-999999999999"""

NARROW = """\
✓ FINISHED            19s  11111111
✗ ERROR                    22222222
⠋ RUNNING/NETWORK 15s 33333333 5s left
⠋ not seen yet             99999999"""


@pytest.mark.parametrize(("columns", "screen"), [(200, WIDE), (80, MIDDLE), (40, NARROW)])
def test_a_line_for_each_task(clock: Clock, columns: int, screen: str) -> None:
    """The state, the age, what it is and how long is left; what matters least gives way on a narrow terminal."""
    lines = block(several(clock), clock(), 0, os.terminal_size((columns, 24)), FANCY)
    assert "\n".join(line.rstrip() for line in lines) == screen
    assert all(len(line) < columns for line in lines)


def test_a_console_without_fancy_glyphs(clock: Clock) -> None:
    """Where the encoding cannot carry them, plain characters do."""
    lines = block(several(clock), clock(), 1, os.terminal_size((80, 24)), ASCII)
    assert lines[2] == "/ RUNNING/NETWORK     15s  create_vm  33333333  #########...  about 5s left"
    assert [glyphs_for(name) for name in ("utf-8", "cp1252", None, "no-such-thing")] == [FANCY, ASCII, ASCII, ASCII]


def test_two_hundred_tasks(clock: Clock) -> None:
    """The ones that moved last have a line, the others are counted."""
    board = Board([f"t{n:03}" for n in range(200)], clock())
    for n in range(200):
        clock.now += 1
        state = "FINISHED" if n < 150 else "RUNNING"
        task = a_task(f"t{n:03}", state)
        board.rows[task.id].note(seen(task, age=None), clock())
        if task.ended:
            board.rows[task.id].end(Outcome(task.id, task=task), clock())
    lines = block(board, clock(), 0, os.terminal_size((60, 24)), FANCY)
    assert [line.split()[-1] for line in lines[:-1]] == [f"t{n}" for n in range(188, 200)]
    assert lines[-1] == "… and 188 more; 200 tasks: 150 FINISHED, 50 RUNNING"
    assert len(block(board, clock(), 0, os.terminal_size((60, 4)), FANCY)) == 3
    assert block(board, clock(), 0, os.terminal_size((20, 4)), FANCY)[-1] == "… and 198 more; 20…"


def test_trouble_is_shown_on_its_line(clock: Clock) -> None:
    """A task of which nothing is heard says why, and one that was given up has no spinner."""
    board = Board([GOOD], clock())
    board.rows[GOOD].note(seen(a_task(), name="poll.failed", attempt=1, error="no\x1b answer"), clock())
    size = os.terminal_size((100, 24))
    assert block(board, clock(), 0, size, FANCY) == [f"⠋ RUNNING     12s  create_vm  {GOOD}  no\\x1b answer"]
    board.rows[GOOD].end(Outcome(GOOD, error=ApiUnavailableError("away")), clock())
    assert block(board, clock(), 0, size, FANCY)[0].startswith("· RUNNING")


class Screen(io.StringIO):
    """Standard error on a terminal."""

    encoding = "utf-8"

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, 10)
        self.stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self.stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen(80)
    for module in (streams, live, display):
        monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=screen, stdout=None, platform="linux"))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((80, 10)))
    return screen


def test_redrawn_in_place(clock: Clock, screen: Screen) -> None:
    """The block is drawn over and over in the same place, and what is said meanwhile stands above it."""
    board = Board(["a"], clock())
    shown = Live(board, {}, clock)
    assert shown.pause() == live.FRAME
    assert screen.shown == ["⠙ not seen yet          a"]
    board.rows["a"].note(seen(a_task("a")), clock())
    shown.changed(seen(a_task("a")))
    assert round(shown.pause(), 3) == live.FRAME
    clock.now += live.FRAME
    shown.pause()
    assert screen.shown == ["⠹ RUNNING     12s  create_vm  a"]
    shown.say("something else\n")
    assert screen.shown == ["something else"]
    shown.pause()
    assert screen.shown == ["something else", "⠸ RUNNING     12s  create_vm  a"]
    board.rows["a"].note(seen(a_task("a", "FINISHED", took=13)), clock())
    shown.close(keep=True)
    assert screen.shown == ["something else", "✓ FINISHED     13s  create_vm  a"]


def test_nothing_stays_when_the_result_is_shown_anyway(clock: Clock, screen: Screen) -> None:
    """Before a result on the same screen the block vanishes; closing twice does nothing."""
    shown = Live(Board(["a"], clock()), {"NO_COLOR": "1"}, clock)
    shown.pause()
    shown.close(keep=False)
    shown.close(keep=False)
    assert screen.shown == []


def test_colors(clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """States are coloured, unless NO_COLOR is set."""
    written: list[str] = []
    monkeypatch.setattr(live, "write_stderr", written.append)
    board = Board(["a"], clock())
    board.rows["a"].note(seen(a_task("a", "ERROR")), clock())
    for environ in ({}, {"NO_COLOR": "1"}):
        Live(board, environ, clock).pause()
    assert ["\x1b[31m✗\x1b[0m ERROR" in text for text in written] == [True, False]
    assert screen.shown == []


def options(**given: object) -> argparse.Namespace:
    usual = {"quiet": False, "progress": "auto", "log_format": None, "log_level": None, "environ": {}}
    return argparse.Namespace(**{**usual, **given})


def test_what_fits_the_place(clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live on a terminal, lines in CI and on a dumb one, heartbeats beside a log; and what was asked for."""
    board = Board(["a"], clock())
    kinds = {
        "terminal": options(),
        "dumb": options(environ={"TERM": "dumb"}),
        "ci": options(environ={"CI": "true"}),
        "quiet": options(quiet=True, progress="live"),
        "log": options(log_format="json"),
        "level": options(log_level="debug"),
        "lines": options(progress="lines"),
        "none": options(progress="none"),
        "live beside lines of a log": options(progress="live", log_format="console"),
        "live beside objects": options(progress="live", log_format="json"),
        "lines in a log": options(progress="lines", log_format="console"),
    }
    chosen = {name: type(display.choose(args, board)) for name, args in kinds.items()}
    assert chosen == {
        "terminal": Live,
        "dumb": Lines,
        "ci": Lines,
        "quiet": Progress,
        "log": Logged,
        "level": Logged,
        "lines": Lines,
        "none": Progress,
        "live beside lines of a log": Live,
        "live beside objects": Logged,
        "lines in a log": Logged,
    }
    monkeypatch.setattr(screen, "isatty", lambda: False)
    assert type(display.choose(options(), board)) is Lines
    assert type(display.choose(options(progress="live"), board)) is Live
    monkeypatch.setattr(display, "_understands_escapes", lambda: False)
    assert type(display.choose(options(progress="live"), board)) is Lines


def test_without_progress_the_rest_is_still_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet is about progress only."""
    quiet = Progress(Board(["a"], clock()), clock)
    quiet.changed(seen(a_task("a")))
    quiet.say("an error\n")
    quiet.close(keep=True)
    assert (quiet.pause(), capsys.readouterr().err) == (float("inf"), "an error\n")


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(40, "⠋ RUNNING/NETWORK"), (200, f"create_vm  {ENDLESS}")],
)
def test_on_a_real_terminal(terminal: Callable[..., Terminal], columns: int, shown: str) -> None:
    """The line lives until the end, and then makes room for the result."""
    at = terminal("wait", ENDLESS, "--timeout", "0.3", columns=columns)
    assert any(shown[2:] in line for line in at.until(shown[2:]))
    code, screen = at.finish()
    assert code == 124
    assert screen[0].startswith("RUNNING")
    assert any("waiter: to go on waiting" in line for line in screen[1:])


def test_the_width_is_that_of_standard_error(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be a pipe; a terminal that knows no width of its own has the usual one."""
    monkeypatch.setattr(screen, "fileno", lambda: 2)
    sizes = {2: os.terminal_size((40, 20))}
    monkeypatch.setattr(os, "get_terminal_size", sizes.__getitem__)
    assert live._size() == (40, 20)
    sizes[2] = os.terminal_size((0, 0))
    assert live._size() == (80, 10)
    monkeypatch.delattr(os, "get_terminal_size")
    assert live._size() == (80, 10)


def test_a_result_that_is_piped_changes_no_width(terminal: Callable[..., Terminal]) -> None:
    """The line fits the narrow terminal although standard output is none."""
    at = terminal("wait", ENDLESS, "--timeout", "0.3", "-o", "ids", columns=40, stdout=subprocess.DEVNULL)
    assert " RUNNING/NETWORK " in at.until("RUNNING")[0]
    assert len(at.screen) == 1
    at.finish()


def test_a_window_that_shrinks(terminal: Callable[..., Terminal]) -> None:
    """After a resize there is one line for the task, as before."""
    at = terminal("wait", ENDLESS, columns=120)
    at.until(ENDLESS)
    at.resize(50, 24)
    at.until("33333333\n", seconds=0.3)
    assert sum("RUNNING" in line for line in at.screen) == 1
