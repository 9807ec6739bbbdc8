"""Fixtures for the tests of the command."""

from __future__ import annotations

from command_fixtures import (  # noqa: F401 - fixtures
    cloud,
    demonstration,
    environ,
    process,
    run,
    start,
    terminal,
    url,
)
