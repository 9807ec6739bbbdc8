"""Resolve invalid options and return the problems."""

from __future__ import annotations

from typing import Any, cast

import pytest

from waiter import ConfigurationError
from waiter.config.options import Options
from waiter.config.settings import resolve

KEY = "1234$abcdef"


def problems(environ: dict[str, str] | None = None, **options: Any) -> tuple[str, ...]:
    """Return the problems of these options and this environment."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(cast("Options", options), {} if environ is None else environ)
    return caught.value.problems
