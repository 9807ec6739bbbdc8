"""Each scenario shows the states of its name."""

from __future__ import annotations

from typing import Any

import pytest

from waiter.testing import Script, SimulatedCloud, appears, ended, fails, finishes, missing, never_ends, unknown_state, vanishes


@pytest.mark.parametrize(
    ("script", "states"),
    [
        (finishes(2), ["RUNNING", "RUNNING", "FINISHED", "FINISHED"]),
        (fails(2), ["RUNNING", "RUNNING", "ERROR", "ERROR"]),
        (ended(), ["FINISHED"] * 4),
        (never_ends(), ["RUNNING"] * 4),
        (unknown_state("PAUSED", 1, finishes(1)), ["PAUSED", "RUNNING", "FINISHED", "FINISHED"]),
        (vanishes(2), ["RUNNING", "RUNNING", 404, 404]),
        (missing(), [404] * 4),
        (appears(1, finishes(3)), [404, "RUNNING", "RUNNING", "FINISHED"]),
        (finishes(2, age=1), ["RUNNING", "FINISHED", "FINISHED", "FINISHED"]),
    ],
)
def test_scenario_shows_its_states(cloud: SimulatedCloud, poll_at: Any, script: Script, states: list[Any]) -> None:
    """Each scenario shows its states in order, and verify accepts a client that has polled it until its end."""
    task_id = cloud.add(script)
    assert states == poll_at(cloud, task_id, 0, 1, 2, 3)
    cloud.verify()


def test_ended_task_shows_when(cloud: SimulatedCloud, send: Any) -> None:
    """A task that ended in the past shows when."""
    fields = send(cloud, cloud.add(ended(took=4, ago=10))).json
    assert (fields["created_on"], fields["finished_on"]) == ("2026-07-01T13:37:00", "2026-07-01T13:37:04")
