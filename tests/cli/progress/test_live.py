"""Progress that is redrawn in place on a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from command_parts import ENDLESS, Terminal, event_of, make_task
from command_progress import Clock, Screen

from waiter.cli.progress import live
from waiter.cli.progress.live import LiveProgress
from waiter.cli.progress.model import ProgressModel
from waiter.errors import ResourceError
from waiter.outcome import Outcome


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


def test_erasing_does_not_clear_the_screen_from_its_top(clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are erased one by one, because tmux would move the block into the scrollback, where it stays."""
    written: list[str] = []
    shown = LiveProgress(ProgressModel(["a", "b"], clock()), {}, clock)
    shown.refresh()
    monkeypatch.setattr(live, "write_stderr", written.append)
    shown.close(keep=False)
    assert written == ["\r\x1b[2A\x1b[K\n\x1b[K\n\x1b[2A"]
    assert screen.shown != []


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


def test_colour_is_that_of_the_task_not_of_a_word_in_its_name(
    clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task whose resource has failed is red although it is FINISHED; the line that counts the others has no colour."""
    written: list[str] = []
    monkeypatch.setattr(live, "write_stderr", written.append)
    model = ProgressModel(["a", "b", "c", "d"], clock())
    for task_id, state, name in (("a", "NEW", "FINISHED"), ("b", "RUNNING", "ERROR"), ("c", "FINISHED", "RUNNING")):
        model.rows[task_id].record_event(event_of(make_task(task_id, state, data={"name": name})), clock())
    failed = ResourceError("failed", task=make_task("d", "FINISHED"), kind="images", resource_id="i", resource={})
    model.rows["d"].record_outcome(Outcome("d", error=failed), clock())
    shown = LiveProgress(model, {}, clock)
    for lines in (24, 4):
        monkeypatch.setattr(live, "_size", lambda lines=lines: os.terminal_size((80, lines)))
        shown.close(keep=True)
    marks = [line.split(" ")[0] for line in written[0].removeprefix("\r").splitlines()]
    assert marks == ["·", "\x1b[36m·\x1b[0m", "\x1b[32m✓\x1b[0m", "\x1b[31m✗\x1b[0m", "\x1b[J"]
    assert written[1].splitlines()[-2].startswith("… and 2 more")
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
    at = terminal("wait", ENDLESS, "-o", "ids", columns=40, stdout=subprocess.DEVNULL)
    assert " RUNNING/NETWORK " in at.until("RUNNING")[0]
    assert len(at.screen) == 1


def test_narrower_terminal_leaves_no_second_line(terminal: Callable[..., Terminal]) -> None:
    """After a resize there is still one line for the task."""
    at = terminal("wait", ENDLESS, columns=120)
    at.until(ENDLESS)
    at.resize(50, 24)
    screen = at.until_screen(lambda lines: any(line.endswith("  33333333") for line in lines))
    assert sum("RUNNING" in line for line in screen) == 1
