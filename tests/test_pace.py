"""One budget of requests for all."""

from __future__ import annotations

from math import inf

import pytest

from waiter import ApiUnavailableError, TaskTimeoutError, Waiter
from waiter.pace import Pacer, Turn, shared_pacer
from waiter.testing import SimulatedCloud, finishes, never_ends, status


def turns(pacer: Pacer, count: int, now: float, max_rps: float = 10.0) -> list[float]:
    return [round(pacer.take(now, max_rps) - now, 3) for _ in range(count)]


def test_a_few_go_at_once_and_the_others_one_by_one() -> None:
    """A tenth of a second's worth is saved up."""
    assert turns(Pacer(), 5, now=100.0) == [0, 0, 0.1, 0.2, 0.3]


def test_no_limit_is_no_pause() -> None:
    """Infinitely many requests per second."""
    assert turns(Pacer(), 3, now=100.0, max_rps=inf) == [0, 0, 0]


def test_a_refusal_silences_everybody() -> None:
    """And those who had a turn take another when it is over."""
    pacer = Pacer()
    first, last = Turn(pacer, 10), Turn(pacer, 10)
    assert (first.pause(100.0), last.pause(100.0)) == (0, 0)
    pacer.refused(100.0, 10, 7.0)
    assert (first.pause(100.0), last.pause(100.0, is_last=True)) == (7.0, 0.0)
    assert last.pause(108.0) == 0


def test_a_refusal_slows_and_time_heals() -> None:
    """A quarter less, and twice as much after five seconds."""
    pacer = Pacer()
    turns(pacer, 100, now=100.0)
    pacer.refused(100.0, 10, 0.0)
    assert turns(pacer, 3, now=100.0) == [0, 0.133, 0.264]
    assert turns(pacer, 2, now=120.0)[1] == 0


def test_one_refusal_does_not_count_twice() -> None:
    """What was on its way is refused too."""
    pacer = Pacer()
    turns(pacer, 100, now=100.0)
    pacer.refused(100.0, 10, 0.0)
    pacer.refused(100.5, 10, 3.0)
    assert (pacer.season, pacer.quiet(100.5)) == (1, 3.0)


def test_who_asks_little_is_slowed_from_there() -> None:
    """The limit was not what held back the requests."""
    pacer = Pacer()
    for second in range(50):
        pacer.take(float(second), 100)
        pacer.went(float(second))
    pacer.refused(50.0, 100, 0.0)
    assert turns(pacer, 2, now=50.0, max_rps=100)[1] == pytest.approx(1, abs=0.2)


def test_the_pacer_of_an_account_is_shared() -> None:
    """By base URL and key."""
    assert shared_pacer("https://a", "k") is shared_pacer("https://a", "k")
    assert shared_pacer("https://a", "k") is not shared_pacer("https://a", "other")


def test_max_rps_bounds_the_waits_of_a_waiter(cloud: SimulatedCloud) -> None:
    """Ten tasks at two requests a second take five seconds to be seen."""
    ids = [cloud.add(finishes(0.5)) for _ in range(10)]
    with Waiter(**cloud.options, max_rps=2) as waiter:
        waiter.wait_all(ids)
    gaps = [round(later.at - earlier.at, 3) for earlier, later in zip(cloud.requests, cloud.requests[1:], strict=False)]
    assert min(gaps) >= 0.4


def test_a_wait_that_gets_no_turn_in_time_says_so(cloud: SimulatedCloud) -> None:
    """The deadline holds, and the budget too."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(9)]
    with Waiter(**cloud.options, max_rps=0.1, timeout=20) as waiter:
        outcomes = list(waiter.as_completed(ids))
    timed_out = [outcome.error for outcome in outcomes if isinstance(outcome.error, TaskTimeoutError)]
    starved = [error for error in timed_out if error.last_error]
    assert starved
    assert all(isinstance(error.last_error, ApiUnavailableError) for error in starved)
    assert "max_rps=0.1 leaves no turn" in str(starved[0])
    assert cloud.clock() < 30


def test_one_refusal_is_heard_by_all(cloud: SimulatedCloud) -> None:
    """Nobody asks while the server wants to be left alone."""
    ids = [cloud.add(finishes(20)) for _ in range(5)]
    cloud.fault(status(429, 30), task=ids[0])
    with Waiter(**cloud.options) as waiter:
        waiter.wait_all(ids)
    refused_at = next(request.at for request in cloud.requests if request.status == 429)
    assert not [request for request in cloud.requests if refused_at + 0.01 < request.at < refused_at + 29.9]
