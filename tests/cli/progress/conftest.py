"""Fixtures for the tests of the progress."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest
from command_progress import Clock, Screen, TwentySeconds

from waiter.cli.progress import choose, live, model
from waiter.console import streams


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _known_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "Schedule", TwentySeconds)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen(80)
    for module in (streams, live, choose):
        monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=screen, stdout=None, platform="linux"))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((80, 10)))
    return screen
