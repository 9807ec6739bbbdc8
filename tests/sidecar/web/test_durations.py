"""The durations of requests: what the patterns allow is what is accepted."""

from __future__ import annotations

import re
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.sidecar.web.durations import LIMIT, LONG_POLL, MAX_LIMIT, read_limit, read_long_poll


@given(st.from_regex(LIMIT.replace("$", r"\Z")))
def test_allowed_limits_are_positive(text: str) -> None:
    """And finite: every text that the pattern allows is a limit."""
    assert 0 < read_limit(text) < inf


@given(st.from_regex(LONG_POLL.replace("$", r"\Z")))
def test_allowed_long_polls_are_durations(text: str) -> None:
    """Zero and ``none`` are too."""
    assert 0 <= read_long_poll(text) <= inf


@given(st.from_regex(r"\A[0-9.dhms]{0,12}\Z"))
def test_texts_that_the_patterns_do_not_allow_are_refused(text: str) -> None:
    """By both."""
    for pattern, read in ((LIMIT, read_limit), (LONG_POLL, read_long_poll)):
        if not re.search(pattern, text):
            with pytest.raises(ValueError, match="not a"):
                read(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90", 90.0), ("1.5h", 5400.0), ("2d12h", 216_000.0), ("1h30m10s", 5410.0), (7, 7.0), (0.5, 0.5), (MAX_LIMIT, 1e14)],
)
def test_limit_is_read(value: object, seconds: float) -> None:
    """From a number of seconds or a text."""
    assert read_limit(value) == seconds


@pytest.mark.parametrize(
    "value", ["0", "0m0s", "8s8s", "", "none", "1s\n", "\u0663s", 0, -1, True, 1e15, 10**400, [], float("nan")]
)
def test_other_limits_are_refused(value: object) -> None:
    """The error has the value."""
    with pytest.raises(ValueError, match=r"^not a positive duration: "):
        read_limit(value)


@pytest.mark.parametrize("text", ["", "s", "soon", "-1", "1s\n", "1m1h", "1e9", "1234567890"])
def test_other_long_polls_are_refused(text: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ValueError, match=r"^not a duration: .* \(write 90, 90s, 30m, 1h30m or none\)$"):
        read_long_poll(text)
