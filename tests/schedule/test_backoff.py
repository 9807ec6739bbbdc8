"""The delay after failed polls, and by a user's own strategy."""

import math
import random
from datetime import timedelta
from decimal import Decimal

import pytest

from waiter.errors import ConfigurationError
from waiter.schedule.backoff import backoff, strategy_delay


@pytest.mark.parametrize(("failures", "delay"), [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (5, 8), (6, 15), (10**9, 15)])
def test_backoff_doubles_up_to_15_seconds(failures: int, delay: float) -> None:
    """Delays after failed polls in a row double up to 15 s, each jittered by up to a quarter."""
    delays = [backoff(failures) for _ in range(200)]

    assert 0.75 * delay <= min(delays) < max(delays) <= 1.25 * delay


def test_backoff_is_jittered_at_its_maximum() -> None:
    """Waits that all reached the maximum still drift apart."""
    random.seed(4)

    assert len({backoff(20) for _ in range(100)}) == 100


@pytest.mark.parametrize(("value", "seconds"), [(3, 3.0), (0.5, 0.5), (Decimal(2), 2.0), (math.inf, math.inf)])
def test_strategy_delay_is_any_number(value: object, seconds: float) -> None:
    """Whatever converts to a float counts as seconds."""
    assert seconds == strategy_delay(value)


@pytest.mark.parametrize(
    "value",
    [None, "3", math.nan, -1, pytest.param(10**400, id="large"), pytest.param(10**5000, id="huge"), timedelta(seconds=3)],
)
def test_strategy_delay_that_is_no_number_is_refused(value: object) -> None:
    """A strategy that gives something else is a fault in the configuration."""
    with pytest.raises(ConfigurationError, match=r"^wait: the strategy must give seconds, 0 or more, not "):
        strategy_delay(value)
