"""Progress that is redrawn in place on a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Terminal, event_of, make_task
from command_progress import Clock, Screen, several_tasks

from waiter.cli.progress import live
from waiter.cli.progress.live import ASCII, FANCY, LiveProgress, block, glyphs_for
from waiter.cli.progress.model import ProgressModel
from waiter.errors import ApiUnavailableError
from waiter.outcome import Outcome

WIDE = f"""\
✓ FINISHED            19s  create_vm  {GOOD}
✗ ERROR                    create_vm  {BROKEN}
⠋ RUNNING/NETWORK     15s  create_vm  {ENDLESS}  █████████░░░  about 5s left (90%: 15s)
⠋ not polled yet                      {UNKNOWN}"""


MIDDLE = """\
✓ FINISHED            19s  create_vm  11111111-1111-4111-8111-111111111111
✗ ERROR                    create_vm  22222222-2222-4222-8222-222222222222
⠋ RUNNING/NETWORK     15s  create_vm  33333333  █████████░░░  about 5s left
⠋ not polled yet                      99999999-9999-4999-8999-999999999999"""


NARROW = """\
✓ FINISHED            19s  11111111
✗ ERROR                    22222222
⠋ RUNNING/NETWORK 15s 33333333 5s left
⠋ not polled yet           99999999"""


@pytest.mark.parametrize(("columns", "screen"), [(200, WIDE), (80, MIDDLE), (40, NARROW)])
def test_each_task_has_a_line_that_fits(clock: Clock, columns: int, screen: str) -> None:
    """On a narrow terminal a line leaves out what matters least."""
    lines = block(several_tasks(clock), clock(), 0, os.terminal_size((columns, 24)), FANCY)
    assert "\n".join(line.rstrip() for line in lines) == screen
    assert all(len(line) < columns for line in lines)


def test_ascii_glyphs_for_limited_encodings(clock: Clock) -> None:
    """Glyphs that the encoding lacks are replaced."""
    lines = block(several_tasks(clock), clock(), 1, os.terminal_size((80, 24)), ASCII)
    assert lines[2] == "/ RUNNING/NETWORK     15s  create_vm  33333333  #########...  about 5s left"
    assert [glyphs_for(name) for name in ("utf-8", "cp1252", None, "no-such-thing")] == [FANCY, ASCII, ASCII, ASCII]


def test_tasks_without_a_line_are_counted(clock: Clock) -> None:
    """The tasks that changed last have a line."""
    model = ProgressModel([f"t{n:03}" for n in range(200)], clock())
    for n in range(200):
        clock.now += 1
        state = "FINISHED" if n < 150 else "RUNNING"
        task = make_task(f"t{n:03}", state)
        model.rows[task.id].record_event(event_of(task, age=None), clock())
        if task.ended:
            model.rows[task.id].record_outcome(Outcome(task.id, task=task), clock())
    lines = block(model, clock(), 0, os.terminal_size((60, 24)), FANCY)
    assert [line.split()[-1] for line in lines[:-1]] == [f"t{n}" for n in range(188, 200)]
    assert lines[-1] == "… and 188 more; 200 tasks: 150 FINISHED, 50 RUNNING"
    assert len(block(model, clock(), 0, os.terminal_size((60, 4)), FANCY)) == 3
    assert block(model, clock(), 0, os.terminal_size((20, 4)), FANCY)[-1] == "… and 198 more; 20…"


def test_problem_is_shown_on_the_line_of_its_task(clock: Clock) -> None:
    """A task whose wait has ended has no spinner."""
    model = ProgressModel([GOOD], clock())
    model.rows[GOOD].record_event(event_of(make_task()), clock())
    model.rows[GOOD].record_event(event_of(make_task(), name="poll.failed", attempt=1, error="no\x1b answer"), clock())
    size = os.terminal_size((100, 24))
    assert block(model, clock(), 0, size, FANCY) == [f"⠋ RUNNING     12s  create_vm  {GOOD}  no\\x1b answer, retrying"]
    model.rows[GOOD].record_outcome(Outcome(GOOD, error=ApiUnavailableError("away")), clock())
    assert block(model, clock(), 0, size, FANCY)[0].startswith("· RUNNING")


def test_block_is_redrawn_in_place(clock: Clock, screen: Screen) -> None:
    """Other messages stand above it."""
    model = ProgressModel(["a"], clock())
    shown = LiveProgress(model, {}, clock)
    assert shown.refresh() == live.FRAME
    assert screen.shown == ["⠙ not polled yet          a"]
    model.rows["a"].record_event(event_of(make_task("a")), clock())
    shown.show_event(event_of(make_task("a")))
    assert round(shown.refresh(), 3) == live.FRAME
    clock.now += live.FRAME
    shown.refresh()
    assert screen.shown == ["⠹ RUNNING     12s  create_vm  a"]
    shown.write("something else\n")
    assert screen.shown == ["something else"]
    shown.refresh()
    assert screen.shown == ["something else", "⠸ RUNNING     12s  create_vm  a"]
    model.rows["a"].record_event(event_of(make_task("a", "FINISHED", took=13)), clock())
    shown.close(keep=True)
    assert screen.shown == ["something else", "✓ FINISHED     13s  create_vm  a"]


def test_block_is_erased_before_the_result(clock: Clock, screen: Screen) -> None:
    """Closing twice does nothing."""
    shown = LiveProgress(ProgressModel(["a"], clock()), {"NO_COLOR": "1"}, clock)
    shown.refresh()
    shown.close(keep=False)
    shown.close(keep=False)
    assert screen.shown == []


def test_no_color_disables_colours(clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is the convention of https://no-color.org."""
    written: list[str] = []
    monkeypatch.setattr(live, "write_stderr", written.append)
    model = ProgressModel(["a"], clock())
    model.rows["a"].record_event(event_of(make_task("a", "ERROR")), clock())
    for environ in ({}, {"NO_COLOR": "1"}):
        LiveProgress(model, environ, clock).refresh()
    assert ["\x1b[31m✗\x1b[0m ERROR" in text for text in written] == [True, False]
    assert screen.shown == []


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(40, "⠋ RUNNING/NETWORK"), (200, f"create_vm  {ENDLESS}")],
)
def test_block_on_a_real_terminal(terminal: Callable[..., Terminal], columns: int, shown: str) -> None:
    """The block is replaced by the result."""
    at = terminal("wait", ENDLESS, "--timeout", "0.3", columns=columns)
    assert any(shown[2:] in line for line in at.until(shown[2:]))
    code, screen = at.finish()
    assert code == 124
    assert screen[0].startswith("RUNNING")
    assert any("waiter: to resume" in line for line in screen[1:])


def test_width_is_that_of_standard_error(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be a pipe; a terminal that reports no width has the default."""
    monkeypatch.setattr(screen, "fileno", lambda: 2)
    sizes = {2: os.terminal_size((40, 20))}
    monkeypatch.setattr(os, "get_terminal_size", sizes.__getitem__)
    assert live._size() == (40, 20)
    sizes[2] = os.terminal_size((0, 0))
    assert live._size() == (80, 10)
    monkeypatch.delattr(os, "get_terminal_size")
    assert live._size() == (80, 10)


def test_piped_result_does_not_change_the_width(terminal: Callable[..., Terminal]) -> None:
    """The line fits the terminal of standard error."""
    at = terminal("wait", ENDLESS, "--timeout", "0.3", "-o", "ids", columns=40, stdout=subprocess.DEVNULL)
    assert " RUNNING/NETWORK " in at.until("RUNNING")[0]
    assert len(at.screen) == 1
    at.finish()


def test_narrower_terminal_leaves_no_second_line(terminal: Callable[..., Terminal]) -> None:
    """After a resize there is still one line for the task."""
    at = terminal("wait", ENDLESS, columns=120)
    at.until(ENDLESS)
    at.resize(50, 24)
    screen = at.until_screen(lambda lines: any(line.endswith("  33333333") for line in lines))
    assert sum("RUNNING" in line for line in screen) == 1
