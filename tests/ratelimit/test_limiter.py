"""One budget of requests for all."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from waiter import ApiUnavailableError, AsyncWaiter, TaskTimeoutError, Waiter
from waiter.ratelimit.limiter import RateLimiter, Turn, shared_rate_limiter
from waiter.testing import SimulatedCloud, appears, ended, finishes, never_ends, status


def turns(limiter: RateLimiter, count: int, now: float, max_rps: float = 10.0) -> list[float]:
    return [round(limiter.take(now, max_rps) - now, 3) for _ in range(count)]


def test_a_few_go_at_once_and_the_others_one_by_one() -> None:
    """A tenth of a second's worth is saved up."""
    assert turns(RateLimiter(), 5, now=100.0) == [0, 0, 0.1, 0.2, 0.3]


def test_no_limit_is_no_pause() -> None:
    """Infinitely many requests per second."""
    assert turns(RateLimiter(), 3, now=100.0, max_rps=inf) == [0, 0, 0]


def test_a_refusal_silences_everybody() -> None:
    """And those who had a turn take another when it is over."""
    limiter = RateLimiter()
    first, last = Turn(limiter, 10), Turn(limiter, 10)
    assert (first.pause(100.0), last.pause(100.0)) == (0, 0)
    limiter.refused(100.0, 10, 7.0)
    assert (first.pause(100.0), last.pause(100.0, is_last=True)) == (7.0, 0.0)
    assert last.pause(108.0) == 0


def test_a_refusal_slows_and_time_heals() -> None:
    """A quarter less, and twice as much after five seconds."""
    limiter = RateLimiter()
    turns(limiter, 100, now=100.0)
    limiter.refused(100.0, 10, 0.0)
    assert turns(limiter, 3, now=100.0) == [0, 0.133, 0.264]
    assert turns(limiter, 2, now=120.0)[1] == 0


def test_one_refusal_does_not_count_twice() -> None:
    """What was on its way is refused too."""
    limiter = RateLimiter()
    turns(limiter, 100, now=100.0)
    limiter.refused(100.0, 10, 0.0)
    limiter.refused(100.5, 10, 3.0)
    assert (limiter.quiet(100.5), turns(limiter, 3, now=103.5)) == (3.0, [0, 0.133, 0.264])


def test_a_refusal_without_a_silence_leaves_the_turns_as_they_are() -> None:
    """It is part of the one that came just before."""
    limiter = RateLimiter()
    limiter.refused(100.0, 10, 0.0)
    limiter.refused(100.5, 10, 0.0)
    assert limiter.season == 1


def test_a_longer_silence_hands_out_new_turns() -> None:
    """Those that fell due in the silence are spread out behind it."""
    limiter = RateLimiter()
    turns(limiter, 100, now=100.0)
    limiter.refused(100.0, 10, 0.0)
    queue = [Turn(limiter, 10) for _ in range(10)]
    assert max(turn.pause(100.0) for turn in queue) < 2
    limiter.refused(100.5, 10, 30.0)
    pauses = sorted(turn.pause(130.5) for turn in queue)
    assert min(later - earlier for earlier, later in pairwise(pauses)) > 0.09


def test_a_long_time_after_a_refusal() -> None:
    """The pace does not outgrow a float."""
    limiter = RateLimiter()
    turns(limiter, 2, now=100.0)
    limiter.refused(100.0, 10, 0.0)
    assert turns(limiter, 3, now=1e6) == [0, 0, 0.1]


def test_a_turn_that_is_given_back() -> None:
    """It is for whoever comes next, unless it has passed or a refusal has taken it away."""
    limiter = RateLimiter()
    with Turn(limiter, 10) as used:
        used.pause(100.0)
        used.went(100.0)
    queue = [Turn(limiter, 10) for _ in range(6)]
    assert [round(turn.pause(100.0), 3) for turn in queue] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for turn in queue[1:5]:
        with turn:
            pass
    assert [round(limiter.take(now, 10), 3) for now in (100.0, 100.25, 100.45, 100.45)] == [100.1, 100.25, 100.45, 100.6]
    limiter.refused(100.46, 10, 7.0)
    with queue[-1]:
        pass
    assert round(limiter.take(100.46, 10), 3) == 107.46


def test_who_asks_little_is_slowed_from_there() -> None:
    """The limit was not what held back the requests."""
    limiter = RateLimiter()
    for second in range(50):
        limiter.take(float(second), 100)
        limiter.went(float(second))
    limiter.refused(50.0, 100, 0.0)
    assert turns(limiter, 2, now=50.0, max_rps=100)[1] == pytest.approx(1, abs=0.2)


def test_the_pacer_of_an_account_is_shared() -> None:
    """By base URL and key."""
    assert shared_rate_limiter("https://a", "k") is shared_rate_limiter("https://a", "k")
    assert shared_rate_limiter("https://a", "k") is not shared_rate_limiter("https://a", "other")


def test_max_rps_bounds_the_waits_of_a_waiter(cloud: SimulatedCloud) -> None:
    """Ten tasks at two requests a second take five seconds to be seen."""
    ids = [cloud.add(finishes(0.5)) for _ in range(10)]
    with Waiter(**cloud.options, max_rps=2) as waiter:
        waiter.wait_all(ids)
    gaps = [round(later.at - earlier.at, 3) for earlier, later in zip(cloud.requests, cloud.requests[1:], strict=False)]
    assert min(gaps) >= 0.4


def test_a_wait_that_gets_no_turn_in_time_says_so(cloud: SimulatedCloud) -> None:
    """The deadline holds, and the budget too; a queue that is longer than max_outage is no outage."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(9)]
    with Waiter(**cloud.options, max_rps=0.1, timeout=20, max_outage=5) as waiter:
        outcomes = list(waiter.as_completed(ids))
    assert {type(outcome.error) for outcome in outcomes} == {TaskTimeoutError}
    timed_out = [outcome.error for outcome in outcomes if isinstance(outcome.error, TaskTimeoutError)]
    starved = [error for error in timed_out if error.last_error]
    assert starved
    assert all(isinstance(error.last_error, ApiUnavailableError) for error in starved)
    assert "max_rps=0.1 leaves no turn" in str(starved[0])
    assert cloud.clock() < 30


def test_waits_that_are_cancelled_give_back_their_turns(cloud: SimulatedCloud) -> None:
    """The next one need not queue up behind them."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(3000)]
    cloud.outage(0, 1000, status(403), on="listing")

    async def main() -> float:
        async with AsyncWaiter(**cloud.async_options, learn=False, max_rps=10) as waiter:
            waits = [asyncio.ensure_future(waiter.wait(task_id)) for task_id in ids]
            await cloud.async_sleep(5)
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            began = cloud.clock()
            await waiter.wait(cloud.add(ended()))
            return cloud.clock() - began

    assert asyncio.run(main()) < 1


@pytest.mark.parametrize(("latency", "silence"), [(0, 60), (0.05, 5), (0.05, 30), (0.05, 60), (0.05, 100), (0.2, 60)])
def test_silences_are_part_of_an_outage(latency: float, silence: float) -> None:
    """Every wait ends when max_outage is used up, or when the silence that it was asked for itself is over."""
    cloud = SimulatedCloud.virtual(latency=latency)
    ids = [cloud.add(never_ends(), watched=False) for _ in range(5)]
    cloud.outage(0, 10_000, status(503, silence))
    ends: list[float] = []

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False, max_outage=300, timeout=2000) as waiter:
            async for outcome in waiter.as_completed(ids):
                assert isinstance(outcome.error, ApiUnavailableError)
                ends.append(cloud.clock())

    asyncio.run(main())
    assert (len(ends), min(ends) >= 299, max(ends) < 310 + silence) == (5, True, True)


def test_one_refusal_is_heard_by_all(cloud: SimulatedCloud) -> None:
    """Nobody asks while the server wants to be left alone."""
    ids = [cloud.add(finishes(20)) for _ in range(5)]
    cloud.fault(status(429, 30), task=ids[0])
    with Waiter(**cloud.options) as waiter:
        waiter.wait_all(ids)
    refused_at = next(request.at for request in cloud.requests if request.status == 429)
    assert not [request for request in cloud.requests if refused_at + 0.01 < request.at < refused_at + 29.9]


def test_a_wait_that_wants_few_requests_slows_no_other() -> None:
    """The budget of each wait is the distance from the last request to its own."""
    limiter = RateLimiter()
    assert limiter.take(0.0, 0.01) == 0.0
    assert limiter.take(1.0, 100.0) == 1.0
    assert limiter.take(1.0, 0.01) > 50.0


def test_queueing_up_is_no_outage(cloud: SimulatedCloud) -> None:
    """What a wait loses because the budget is small is not counted as an API that does not answer."""
    ids = [cloud.add(finishes(150)) for _ in range(6)]
    cloud.outage(0, 100, status(503), on="task")
    with Waiter(**cloud.options, max_rps=0.1, max_outage=40, learn=False) as waiter:
        assert list(waiter.wait_all(ids)) == ids


def test_queueing_up_is_no_absence(cloud: SimulatedCloud) -> None:
    """Nor is it counted as a task that is not found."""
    ids = [cloud.add(appears(65, finishes(5))), *(cloud.add(finishes(150)) for _ in range(5))]
    with Waiter(**cloud.options, max_rps=0.1, learn=False) as waiter:
        assert list(waiter.wait_all(ids)) == ids


def test_no_pause_is_endless(cloud: SimulatedCloud) -> None:
    """A budget of next to nothing asks for pauses that no clock can sleep; they are cut into days."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt
        cloud.options["sleep"](seconds)

    options: Any = {**cloud.options, "sleep": sleep, "max_rps": 1e-12, "timeout": None, "learn": False}
    with Waiter(**options) as waiter, pytest.raises(KeyboardInterrupt):
        waiter.wait(cloud.add(never_ends(), watched=False))
    assert max(slept) == 86_400
