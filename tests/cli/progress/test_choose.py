"""Which progress is chosen."""

from __future__ import annotations

import argparse

import pytest
from command_progress import Clock, Screen

from waiter.cli.progress import choose
from waiter.cli.progress.base import Progress
from waiter.cli.progress.lines import LineProgress, LogProgress
from waiter.cli.progress.live import LiveProgress
from waiter.cli.progress.model import ProgressModel


def options(**given: object) -> argparse.Namespace:
    usual = {"quiet": False, "progress": "auto", "log_format": None, "log_level": None, "environ": {}}
    return argparse.Namespace(**{**usual, **given})


def test_progress_fits_the_terminal_and_the_arguments(clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveProgress on a terminal, lines in CI and on a dumb one, heartbeats with a log; and what the arguments name."""
    model = ProgressModel(["a"], clock())
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
    chosen = {name: type(choose.choose_progress(args, model)) for name, args in kinds.items()}
    assert chosen == {
        "terminal": LiveProgress,
        "dumb": LineProgress,
        "ci": LineProgress,
        "quiet": Progress,
        "log": LogProgress,
        "level": LogProgress,
        "lines": LineProgress,
        "none": Progress,
        "live beside lines of a log": LiveProgress,
        "live beside objects": LogProgress,
        "lines in a log": LogProgress,
    }
    monkeypatch.setattr(screen, "isatty", lambda: False)
    assert type(choose.choose_progress(options(), model)) is LineProgress
    assert type(choose.choose_progress(options(progress="live"), model)) is LiveProgress
    monkeypatch.setattr(choose, "supports_escapes", lambda: False)
    assert type(choose.choose_progress(options(progress="live"), model)) is LineProgress
