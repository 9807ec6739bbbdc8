"""The lines of the live progress."""

from __future__ import annotations

import os
from typing import Any

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, event_of, make_task
from command_progress import Clock, several_tasks

from waiter.cli.progress.block import ASCII, FANCY, block, glyphs_for
from waiter.cli.progress.model import Problem, ProgressModel, ResourceRow
from waiter.console.formatting import display_width
from waiter.errors import ApiUnavailableError, TaskError
from waiter.events import Event
from waiter.outcome import Outcome

WIDE = f"""\
✓ FINISHED            19s  create_vm  {GOOD}
⠋ RUNNING/NETWORK     15s  create_vm  {ENDLESS}  █████████░░░  about 5s left (90%: 15s)
⠋ not polled yet                      {UNKNOWN}
✗ ERROR                    create_vm  {BROKEN}"""

MIDDLE = """\
✓ FINISHED            19s  create_vm  11111111
⠋ RUNNING/NETWORK     15s  create_vm  33333333  █████████░░░  about 5s left
⠋ not polled yet                      99999999
✗ ERROR                    create_vm  22222222"""

NARROW = """\
✓ FINISHED        19s 11111111
⠋ RUNNING/NETWORK 15s 33333333 5s left
⠋ not polled yet      99999999
✗ ERROR               22222222"""


def size(columns: int, lines: int = 24) -> os.terminal_size:
    return os.terminal_size((columns, lines))


@pytest.mark.parametrize(("columns", "screen"), [(200, WIDE), (80, MIDDLE), (40, NARROW)])
def test_columns_line_up_and_failures_are_last(clock: Clock, columns: int, screen: str) -> None:
    """All lines have the same layout, which leaves out what matters least on a narrow terminal."""
    lines = block(several_tasks(clock), clock(), 0, size(columns), FANCY)
    assert "\n".join(lines) == screen
    assert all(display_width(line) < columns for line in lines)


def test_ascii_glyphs_for_limited_encodings(clock: Clock) -> None:
    """Glyphs that the encoding lacks are replaced."""
    lines = block(several_tasks(clock), clock(), 1, size(80), ASCII)
    assert lines[1] == "/ RUNNING/NETWORK     15s  create_vm  33333333  #########...  about 5s left"
    assert [glyphs_for(name) for name in ("utf-8", "cp1252", None, "no-such-thing")] == [FANCY, ASCII, ASCII, ASCII]


def many_tasks(clock: Clock, *, failed: int, finished: int, running: int) -> ProgressModel:
    """Return tasks that changed one after another, a second apart."""
    states = ["ERROR"] * failed + ["FINISHED"] * finished + ["RUNNING"] * running
    model = ProgressModel([f"t{n:03}" for n in range(len(states))], clock())
    for task_id, state in zip(model.rows, states, strict=True):
        clock.now += 1
        task = make_task(task_id, state)
        model.rows[task_id].record_event(event_of(task, age=None), clock())
        if task.ended:
            error = TaskError(task) if task.failed else None
            model.rows[task_id].record_outcome(Outcome(task_id, task=None if error else task, error=error), clock())
    return model


def shown_ids(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines]


def test_a_terminal_is_filled_and_the_rest_is_counted(clock: Clock) -> None:
    """There are as many lines as the terminal has, for the tasks that changed last."""
    model = many_tasks(clock, failed=0, finished=150, running=50)
    lines = block(model, clock(), 0, size(60), FANCY)
    assert shown_ids(lines[:-1]) == [f"t{n}" for n in range(178, 200)]
    assert lines[-1] == "… and 178 more; 200 tasks: 150 FINISHED, 50 RUNNING"
    assert len(block(model, clock(), 0, size(60, 4), FANCY)) == 3
    assert block(model, clock(), 0, size(20, 4), FANCY)[-1] == "… and 198 more; 20…"
    assert len(block(many_tasks(clock, failed=0, finished=0, running=50), clock(), 0, size(60, 60), FANCY)) == 50


@pytest.mark.parametrize(
    ("failed", "finished", "running", "expected"),
    [
        (30, 20, 30, ["t075", "t076", "t077", "t078", "t079", "t025", "t026", "t027", "t028", "t029"]),
        (30, 20, 2, ["t050", "t051", *(f"t{n:03}" for n in range(22, 30))]),
        (1, 30, 3, ["t025", "t026", "t027", "t028", "t029", "t030", "t031", "t032", "t033", "t000"]),
    ],
)
def test_failures_stay_in_sight(clock: Clock, failed: int, finished: int, running: int, expected: list[str]) -> None:
    """They are at the bottom, and leave half of the lines to tasks that are still running."""
    model = many_tasks(clock, failed=failed, finished=finished, running=running)
    assert shown_ids(block(model, clock(), 0, size(60, 12), FANCY)[:-1]) == expected


def test_problem_takes_the_place_of_the_time_left(clock: Clock) -> None:
    """It says when the wait gives up; a task whose wait has ended shows no problem and no spinner."""
    model = ProgressModel([GOOD], clock())
    model.rows[GOOD].record_event(event_of(make_task()), clock())
    failure = event_of(make_task(), name="poll.failed", attempt=1, error="no\x1b answer", gives_up_in=250.0)
    model.rows[GOOD].record_event(failure, clock())
    assert block(model, clock(), 0, size(120), FANCY) == [
        f"⠋ RUNNING     12s  create_vm  {GOOD}  no\\x1b answer, retrying, gives up in 4m10s"
    ]
    model.rows[GOOD].record_outcome(Outcome(GOOD, error=ApiUnavailableError("away")), clock())
    assert block(model, clock(), 0, size(120), FANCY) == [f"· RUNNING     12s  create_vm  {GOOD}"]


@pytest.mark.parametrize(
    ("columns", "status", "lines"),
    [
        (
            120,
            503,
            [
                f"⠋ RUNNING     12s  create_vm  web-1  {GOOD}  503, retrying, gives up in 4m10s",
                f"⠋ RUNNING     12s  create_vm  web-1  {BROKEN}",
            ],
        ),
        (
            80,
            503,
            [
                "⠋ RUNNING     12s  create_vm  web-1  11111111  503, retrying, gives up in 4m10s",
                "⠋ RUNNING     12s  create_vm  web-1  22222222",
            ],
        ),
        (
            60,
            503,
            [
                "⠋ RUNNING     12s  create_vm  web-1  11111111  503",
                "⠋ RUNNING     12s  create_vm  web-1  22222222",
                "503, retrying, gives up in 4m10s",
            ],
        ),
        (
            40,
            None,
            [
                "⠋ RUNNING 12s 11111111 no response",
                "⠋ RUNNING 12s 22222222",
                "no response: connection refused, retry…",
            ],
        ),
    ],
)
def test_outage_stands_below_the_lines_of_a_narrow_terminal(
    clock: Clock, columns: int, status: int | None, lines: list[str]
) -> None:
    """Each line that it concerns has the cause, so that no line loses what its task is."""
    model = ProgressModel([GOOD, BROKEN], clock())
    for task_id in model.rows:
        model.rows[task_id].record_event(event_of(make_task(task_id, data={"name": "web-1"})), clock())
    error = "503" if status else "no response: connection refused"
    fields: dict[str, Any] = {"attempt": 1, "error": error, "status": status, "gives_up_in": 250.0}
    model.rows[GOOD].record_event(event_of(make_task(data={"name": "web-1"}), name="poll.failed", **fields), clock())
    assert block(model, clock(), 0, size(columns), FANCY) == lines


def test_outage_of_many_tasks_is_one_line(clock: Clock) -> None:
    """It is that of the task that gives up first, and leaves the last line of the terminal free."""
    model = many_tasks(clock, failed=1, finished=0, running=30)
    for place, (task_id, row) in enumerate(model.rows.items()):
        left = 300.0 - place if place % 2 else None
        fields: dict[str, Any] = {"attempt": 1, "error": "503", "status": 503, "gives_up_in": left}
        if row.outcome is None:
            row.record_event(event_of(make_task(task_id), age=None, name="poll.failed", **fields), clock())
    lines = block(model, clock(), 0, size(40, 10), FANCY)
    assert lines[-2:] == ["… and 24 more; 31 tasks: 30 RUNNING, 1…", "503, retrying, gives up in 4m31s"]
    assert lines[0].endswith(" 503")
    assert len(lines) == 9


NAMES = (
    "web-1",
    "\u6570\u636e\u5e93",
    "rocket-\U0001f680",
    "\u2764\ufe0f",
    "a-very-long-name-of-a-server-that-somebody-gave-it",
)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("count", [1, 5, 50, 500])
@pytest.mark.parametrize("lines", [5, 24])
@pytest.mark.parametrize("has_outage", [False, True])
def test_screen_is_filled_and_aligned_at_every_size(
    clock: Clock, columns: int, count: int, lines: int, *, has_outage: bool
) -> None:
    """No line wraps, the last line of the terminal stays free, and the IDs of all tasks stand in one column."""
    model = ProgressModel([f"{n:08}-0000-4000-8000-000000000000" for n in range(count)], clock())
    for n, (task_id, row) in enumerate(model.rows.items()):
        state = ("RUNNING", "NEW", "FINISHED", "ERROR")[n % 4]
        task = make_task(task_id, state, took=9 if n % 4 > 1 else None, data={"name": NAMES[n % 5]})
        row.record_event(event_of(task, age=n * 40.0), clock())
        if has_outage and not task.ended:
            failure: dict[str, Any] = {"attempt": 1, "error": "503", "status": 503, "gives_up_in": 250.0}
            row.record_event(event_of(task, name="poll.failed", **failure), clock())
    screen = block(model, clock(), 0, size(columns, lines), FANCY)
    assert all(display_width(line) < columns for line in screen)
    assert len(screen) < lines
    rows = [line for line in screen if "0000" in line]
    assert rows
    assert len({display_width(line[: line.index("0000")]) for line in rows}) == 1
    assert any("gives up in 4m10s" in line for line in screen) == has_outage


def test_wide_characters_take_two_columns(clock: Clock) -> None:
    """Columns line up on the screen when a type has CJK characters, and no line wraps."""
    model = ProgressModel(["a", "b"], clock())
    for task_id, kind in (("a", "任务"), ("b", "vm")):
        model.rows[task_id].record_event(event_of(make_task(task_id, task_type=kind)), clock())
    lines = block(model, clock(), 0, size(30), FANCY)
    assert lines == ["⠋ RUNNING     12s  任务  a", "⠋ RUNNING     12s  vm    b"]
    assert {display_width(line) for line in lines} == {26}


@pytest.mark.parametrize(
    ("columns", "error", "shown"),
    [
        (80, None, ["⠋ not polled yet          /cloud/v1/volumes/7/76/v-1", "✓ available          /cloud/v1/volumes/7/76/v-1"]),
        (30, None, ["⠋ not polled yet          v-1", "✓ available          v-1"]),
        (
            70,
            ApiUnavailableError("503"),
            ["⠋ not polled yet          /cloud/v1/volumes/7/76/v-1", "· available          /cloud/v1/volumes/7/76/v-1"],
        ),
    ],
)
def test_row_of_a_resource_has_its_value_and_path(
    clock: Clock, columns: int, error: ApiUnavailableError | None, shown: list[str]
) -> None:
    """The last segment of the path stands for it on a narrow terminal."""
    row = ResourceRow("/cloud/v1/volumes/7/76/v-1", clock())
    model = ProgressModel([], clock())
    model.rows[row.task_id] = row
    lines = block(model, clock(), 0, size(columns), FANCY)
    row.record_event(Event("resource.state_changed", {"path": row.task_id, "old": None, "new": "available"}), clock())
    row.record_event(Event("resource.ready", {"path": row.task_id}), clock())
    row.record_outcome(Outcome(row.task_id, error=error), clock())
    assert [*lines, *block(model, clock(), 0, size(columns), FANCY)] == shown


def test_empty_listing_has_a_text_and_its_problem_a_line(clock: Clock) -> None:
    """A listing that fails is a problem of no task; the final frame has no spinner."""
    model = ProgressModel([], clock())
    model.empty_text = "no task"
    assert block(model, clock(), 2, size(80), FANCY) == ["⠹ no task"]
    model.problem = Problem("the API\x1b returned 503", 503, clock() + 60)
    assert block(model, clock(), None, size(80), FANCY) == [
        "· no task",
        r"the API\x1b returned 503, retrying, gives up in 1m00s",
    ]


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (
            70,
            [
                f"⠋ RUNNING     12s  create_vm      {'web-1':<16}  11111111",
                "⠋ RUNNING     12s  attach_volume  volume 726ecfcc…  22222222",
            ],
        ),
        (
            80,
            [
                f"⠋ RUNNING     12s  create_vm      {'web-1':<34}  11111111",
                "⠋ RUNNING     12s  attach_volume  volume 726ecfcc, instance a7e7e8d6  22222222",
            ],
        ),
        (
            50,
            [
                f"⠋ RUNNING     12s  {'web-1':<16}  11111111",
                "⠋ RUNNING     12s  volume 726ecfcc…  22222222",
            ],
        ),
        (40, ["⠋ RUNNING     12s  11111111", "⠋ RUNNING     12s  22222222"]),
    ],
)
def test_line_says_what_a_task_acts_on(clock: Clock, columns: int, lines: list[str]) -> None:
    """Its IDs are short; on a narrow terminal it is cut before the type of the task is left out."""
    model = ProgressModel([GOOD, BROKEN], clock())
    ids = {"volume_id": "726ecfcc-7fd0-4e30-a86e-7892524aa483", "instance_id": "a7e7e8d6-0bf7-4ac9-8170-831b47ee2ba9"}
    model.rows[GOOD].record_event(event_of(make_task(GOOD, data={"name": "web-1"})), clock())
    model.rows[BROKEN].record_event(event_of(make_task(BROKEN, task_type="attach_volume", data=ids)), clock())
    assert block(model, clock(), 0, size(columns), FANCY) == lines
