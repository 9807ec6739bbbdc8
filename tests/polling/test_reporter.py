"""The fields of an event, and when it is logged."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from waiter import Event
from waiter.polling import reporter
from waiter.polling.reporter import EventContext, Reporter
from waiter.schedule.schedule import TimeLeft

UNKNOWN = EventContext(None, None, None, None)


@pytest.mark.parametrize(
    ("time_left", "fields"),
    [
        (None, {}),
        (TimeLeft(12.345, None), {"time_left": 12.3}),
        (TimeLeft(12.345, 67.891), {"time_left": 12.3, "time_left_p90": 67.9}),
    ],
)
def test_time_left_has_one_decimal(time_left: TimeLeft | None, fields: dict[str, Any]) -> None:
    """It is an estimate; what is not known of it is no field."""
    events: list[Event] = []
    Reporter("t-1", events.append, log=False).report(
        "task.state_changed", {"new": "NEW"}, UNKNOWN._replace(time_left=time_left)
    )
    assert [(event.name, event.fields) for event in events] == [
        ("task.state_changed", {"task_id": "t-1", "new": "NEW", **fields})
    ]


@pytest.mark.parametrize("has_handler", [False, True])
@pytest.mark.parametrize(("level", "is_enabled"), [(logging.WARNING, True), (logging.ERROR, False)])
def test_event_is_logged_if_there_is_a_handler_for_its_level(
    monkeypatch: pytest.MonkeyPatch, level: int, *, has_handler: bool, is_enabled: bool
) -> None:
    """Without a handler, the standard library would write a warning to standard error."""
    logged: list[str] = []
    logger = logging.Logger("apart", level)  # noqa: LOG001 - one that no other test uses
    if has_handler:
        logger.addHandler(logging.NullHandler())
    monkeypatch.setattr(reporter, "_LOGGER", logger)
    monkeypatch.setattr(reporter, "_structlog_is_configured", lambda: False)
    monkeypatch.setattr(reporter, "_get_logger", lambda: SimpleNamespace(warning=lambda name, **_: logged.append(name)))
    Reporter("t-1", None, log=True).report("poll.failed", {}, UNKNOWN)
    assert logged == (["poll.failed"] if has_handler and is_enabled else [])
