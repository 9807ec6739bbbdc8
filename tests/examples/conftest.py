"""The fixtures that tests of the examples share with those of the command."""

from __future__ import annotations

from command_fixtures import cloud, environ, url  # noqa: F401 - fixtures
