"""Scripts that cannot be played."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from waiter.testing import Phase, Script


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Script(phases=()), "a script needs a phase"),
        (lambda: Script(phases=(Phase("NEW"), Phase("RUNNING"))), "only the last phase may last for ever"),
        (lambda: Phase("NEW", -1), "a phase cannot last -1 s"),
        (lambda: Phase("NEW", math.nan), "a phase cannot last nan s"),
    ],
)
def test_impossible_script_raises(make: Callable[[], object], message: str) -> None:
    """A script that cannot be played is refused when it is constructed."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
