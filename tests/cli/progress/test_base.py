"""No progress."""

from __future__ import annotations

import pytest
from command_parts import event_of, make_task
from command_progress import Clock

from waiter.cli.progress.base import Progress
from waiter.cli.progress.model import ProgressModel


def test_quiet_writes_other_messages(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """``--quiet`` only concerns the progress."""
    quiet = Progress(ProgressModel(["a"], clock()), clock)
    quiet.show_event(event_of(make_task("a")))
    quiet.write("an error\n")
    quiet.close(keep=True)
    assert (quiet.refresh(), capsys.readouterr().err) == (float("inf"), "an error\n")
