"""The warnings of /readyz."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from waiter.outcome import WaitStatus
from waiter.sidecar.health import Health
from waiter.sidecar.model import Wait

WORKING: dict[str, Any] = {
    "refused_with": None,
    "is_failing": False,
    "is_lost": False,
    "damage": None,
    "lost": 0,
    "outage": lambda: 29.9,
    "lost_events": 0,
    "lost_deliveries": 0,
}


LOST = (
    "the state directory was deleted or replaced; no waits are accepted, and changes are kept in memory: "
    "free its path, or restart the sidecar with another --state-dir"
)


@pytest.mark.parametrize(
    ("problem", "warnings"),
    [
        ({}, []),
        ({"refused_with": 403}, ["the API refuses the key (HTTP 403)"]),
        ({"outage": lambda: 125.0}, ["the API has given no usable answer for 2m05s"]),
        ({"is_failing": True}, ["the state directory is not writable; changes are kept in memory"]),
        (
            {"is_failing": True, "is_lost": True},
            [LOST],
        ),
        (
            {"damage": "/state/waits is damaged", "lost": 2},
            ["the database was damaged: 2 waits, 0 events and 0 webhooks could not be read"],
        ),
    ],
    ids=["none", "key", "outage", "storage", "lost storage", "damage"],
)
def test_problem_is_a_warning(problem: dict[str, Any], warnings: list[str]) -> None:
    """The text names no resource and no path."""
    parts: Any = SimpleNamespace(**WORKING | problem)
    assert Health(parts, parts, parts, lambda: [Wait(id="a", accepted_at=0.0)]).warnings() == warnings


@pytest.mark.parametrize("status", list(WaitStatus))
def test_refused_key_is_a_warning_while_a_wait_needs_it(status: WaitStatus) -> None:
    """A wait that polls, or that would be restarted with another key; without one no poll would ever end the warning."""
    parts: Any = SimpleNamespace(**WORKING | {"refused_with": 401})
    health = Health(parts, parts, parts, lambda: [Wait(id="a", accepted_at=0.0, status=status)])
    assert health.is_key_refused() is (status in {"waiting", "refused"})
    assert bool(health.warnings()) is health.is_key_refused()
