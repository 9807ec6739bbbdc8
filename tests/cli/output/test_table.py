"""The table of ``waiter list`` at all widths."""

from __future__ import annotations

import pytest
from command_parts import BROKEN, GOOD, make_task

from waiter.cli.output.result import TaskResult
from waiter.cli.output.table import table

IDS = {"volume_id": "726ecfcc-7fd0-4e30-a86e-7892524aa483", "instance_id": "a7e7e8d6-0bf7-4ac9-8170-831b47ee2ba9"}
RESULTS = [
    TaskResult(GOOD, make_task(data={"name": "web-1"}), age=12.0, estimate="about 8s left (90%: 18s)"),
    TaskResult(BROKEN, make_task(BROKEN, "ERROR", task_type="attach_volume", took=9, data=IDS), age=4000.0),
]
ATTACHED = "volume 726ecfcc-7fd0-4e30-a86e-7892524aa483, instance a7e7e8d6-0bf7-4ac9-8170-831b47ee2ba9"


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (
            None,
            [
                f"ID                                    TYPE           {'TARGET':<{len(ATTACHED)}}  STATE    AGE    LEFT",
                f"{GOOD}  create_vm      {'web-1':<{len(ATTACHED)}}  RUNNING  12s    about 8s (90%: 18s)",
                f"{BROKEN}  attach_volume  {ATTACHED}  ERROR    1h06m  took 9s",
            ],
        ),
        (
            128,
            [
                "ID                                    TYPE           TARGET                              STATE    AGE    LEFT",
                f"{GOOD}  create_vm      web-1                               RUNNING  12s    about 8s (90%: 18s)",
                f"{BROKEN}  attach_volume  volume 726ecfcc, instance a7e7e8d6  ERROR    1h06m  took 9s",
            ],
        ),
        (
            98,
            [
                "ID                                    TYPE           TARGET            STATE    AGE    LEFT",
                f"{GOOD}  create_vm      web-1             RUNNING  12s    about 8s",
                f"{BROKEN}  attach_volume  volume 726ecfcc~  ERROR    1h06m  took 9s",
            ],
        ),
        (
            80,
            [
                GOOD,
                "  RUNNING  12s    create_vm      web-1             about 8s",
                BROKEN,
                "  ERROR    1h06m  attach_volume  volume 726ecfcc~  took 9s",
            ],
        ),
        (
            40,
            [
                GOOD,
                "  RUNNING  12s    create_vm      web-1 ~",
                BROKEN,
                "  ERROR    1h06m  attach_volume  volume~",
            ],
        ),
    ],
)
def test_table_is_as_wide_as_the_terminal(columns: int | None, lines: list[str]) -> None:
    """First the target and the time left become narrower, then each task has two lines; an ID is never cut."""
    assert table(RESULTS, columns).splitlines() == lines


def test_empty_table_has_no_header() -> None:
    """Standard error says that there is no task."""
    assert table([], 80) == ""


def test_columns_without_content_are_left_out() -> None:
    """A task that was never polled has an ID only."""
    assert table([TaskResult("a")]) == "ID\na\n"
