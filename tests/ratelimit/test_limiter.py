"""One request budget for all waits of an account."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest

from waiter import ApiUnavailableError, AsyncWaiter, TaskTimeoutError, Waiter
from waiter.ratelimit.limiter import BURST, RateLimiter, shared_rate_limiter
from waiter.testing import SimulatedCloud, appears, ended, finishes, never_ends, status


def delays(limiter: RateLimiter, count: int, now: float, max_rps: float = 10.0) -> list[float]:
    """Return how many seconds from now the next requests may be sent."""
    return [round(limiter.reserve(now, max_rps) - now, 3) for _ in range(count)]


def test_a_tenth_of_a_second_is_saved_up() -> None:
    """After an idle time a few requests may be sent together, the others at the rate."""
    assert delays(RateLimiter(), 5, now=100.0) == [0, 0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(("returned", "offered"), [(128.0 - BURST, 128.0), (127.0, 130.0 - BURST)], ids=["recent", "old"])
def test_time_that_was_returned_is_offered_again_unless_it_is_long_past(returned: float, offered: float) -> None:
    """Requests that the rate allowed earlier are not saved up for longer than a tenth of a second."""
    limiter = RateLimiter()
    assert [limiter.reserve(128.0, 1.0) for _ in range(2)] == [128.0, 129.0 - BURST]
    limiter.cancel(returned, limiter.generation)
    assert limiter.reserve(128.0, 1.0) == offered


def test_infinite_rate_delays_nothing() -> None:
    """Infinitely many requests a second are allowed."""
    assert delays(RateLimiter(), 3, now=100.0, max_rps=inf) == [0, 0, 0]


def test_throttling_reduces_the_rate_which_recovers() -> None:
    """By a quarter; it doubles every five seconds."""
    limiter = RateLimiter()
    delays(limiter, 100, now=100.0)
    limiter.on_throttled(100.0, 10, 0.0)
    assert delays(limiter, 3, now=100.0) == [0, 0.133, 0.264]
    assert delays(limiter, 2, now=120.0)[1] == 0


def test_throttled_requests_within_a_second_count_as_one() -> None:
    """Requests that were under way are throttled too; the block is the longer of the two."""
    limiter = RateLimiter()
    delays(limiter, 100, now=100.0)
    limiter.on_throttled(100.0, 10, 0.0)
    limiter.on_throttled(100.5, 10, 3.0)
    assert (limiter.blocked_for(100.5), delays(limiter, 3, now=103.5)) == (3.0, [0, 0.133, 0.264])


def test_second_throttling_without_a_block_keeps_reserved_times() -> None:
    """It is part of the one just before."""
    limiter = RateLimiter()
    limiter.on_throttled(100.0, 10, 0.0)
    limiter.on_throttled(100.5, 10, 0.0)
    assert limiter.generation == 1


def test_recovery_does_not_overflow() -> None:
    """A long time after throttling the rate is the full one."""
    limiter = RateLimiter()
    delays(limiter, 2, now=100.0)
    limiter.on_throttled(100.0, 10, 0.0)
    assert delays(limiter, 3, now=1e6) == [0, 0, 0.1]


def test_throttling_starts_from_the_rate_that_was_sent() -> None:
    """The limit was not what kept the requests apart."""
    limiter = RateLimiter()
    for second in range(50):
        limiter.reserve(float(second), 100)
        limiter.record_sent(float(second))
    limiter.on_throttled(50.0, 100, 0.0)
    assert delays(limiter, 2, now=50.0, max_rps=100)[1] == pytest.approx(1, abs=0.2)


def test_limiter_is_shared_by_base_url_and_key() -> None:
    """All waits of a process share it for one account."""
    assert shared_rate_limiter("https://a", "k") is shared_rate_limiter("https://a", "k")
    assert shared_rate_limiter("https://a", "k") is not shared_rate_limiter("https://a", "other")


def test_wait_with_a_low_rate_slows_no_other() -> None:
    """The distance from the previous request depends on the rate of the caller."""
    limiter = RateLimiter()
    assert limiter.reserve(0.0, 0.01) == 0.0
    assert limiter.reserve(1.0, 100.0) == 1.0
    assert limiter.reserve(1.0, 0.01) > 50.0


def test_max_rps_bounds_the_requests_of_a_waiter(cloud: SimulatedCloud) -> None:
    """Ten tasks are polled at two requests a second."""
    ids = [cloud.add(finishes(0.5)) for _ in range(10)]
    with Waiter(**cloud.options, max_rps=2, learn=False) as waiter:
        waiter.wait_all(ids)
    distances = [round(later.at - earlier.at, 3) for earlier, later in zip(cloud.requests, cloud.requests[1:], strict=False)]
    assert min(distances) >= 0.4


def test_wait_that_cannot_be_polled_in_time_says_so(cloud: SimulatedCloud) -> None:
    """The deadline holds, and the budget too; queueing for longer than max_outage is no outage."""
    ids = [cloud.add(never_ends(), watched=False) for _ in range(9)]
    with Waiter(**cloud.options, max_rps=0.1, timeout=20, max_outage=5) as waiter:
        outcomes = list(waiter.as_completed(ids))
    assert {type(outcome.error) for outcome in outcomes} == {TaskTimeoutError}
    timed_out = [outcome.error for outcome in outcomes if isinstance(outcome.error, TaskTimeoutError)]
    starved = [error for error in timed_out if error.last_error]
    assert starved
    assert all(isinstance(error.last_error, ApiUnavailableError) for error in starved)
    assert "max_rps=0.1 leaves no time for it" in str(starved[0])
    assert cloud.clock() < 30


def test_cancelled_waits_cancel_their_reservations(cloud: SimulatedCloud) -> None:
    """The next wait does not queue behind them."""
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


@pytest.mark.parametrize(("latency", "retry_after"), [(0, 60), (0.05, 5), (0.05, 30), (0.05, 60), (0.05, 100), (0.2, 60)])
def test_blocks_by_the_server_count_as_outage(latency: float, retry_after: float) -> None:
    """Every wait ends when max_outage has passed, or when its own Retry-After has."""
    cloud = SimulatedCloud.virtual(latency=latency)
    ids = [cloud.add(never_ends(), watched=False) for _ in range(5)]
    cloud.outage(0, 10_000, status(503, retry_after))
    ends: list[float] = []

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, learn=False, max_outage=300, timeout=2000) as waiter:
            async for outcome in waiter.as_completed(ids):
                assert isinstance(outcome.error, ApiUnavailableError)
                ends.append(cloud.clock())

    asyncio.run(main())
    assert (len(ends), min(ends) >= 299, max(ends) < 310 + retry_after) == (5, True, True)


def test_throttling_of_one_wait_blocks_all(cloud: SimulatedCloud) -> None:
    """No request is sent while the server asks for none."""
    ids = [cloud.add(finishes(20)) for _ in range(5)]
    cloud.fault(status(429, 30), task=ids[0])
    with Waiter(**cloud.options) as waiter:
        waiter.wait_all(ids)
    throttled_at = next(request.at for request in cloud.requests if request.status == 429)
    assert not [request for request in cloud.requests if throttled_at + 0.01 < request.at < throttled_at + 29.9]


def test_queueing_does_not_count_as_outage(cloud: SimulatedCloud) -> None:
    """Time that a wait loses to a small budget is not time without a usable response."""
    ids = [cloud.add(finishes(150)) for _ in range(6)]
    cloud.outage(0, 100, status(503), on="task")
    with Waiter(**cloud.options, max_rps=0.1, max_outage=40, learn=False) as waiter:
        assert list(waiter.wait_all(ids)) == ids


def test_queueing_does_not_count_as_not_found(cloud: SimulatedCloud) -> None:
    """The grace for a task that is not found does not include it."""
    ids = [cloud.add(appears(65, finishes(5))), *(cloud.add(finishes(150)) for _ in range(5))]
    with Waiter(**cloud.options, max_rps=0.1, learn=False) as waiter:
        assert list(waiter.wait_all(ids)) == ids


def test_sleeps_are_at_most_a_day(cloud: SimulatedCloud) -> None:
    """A tiny budget asks for pauses that no clock can sleep."""
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


def test_cancelled_time_is_void_after_throttling() -> None:
    """It would fall into the block."""
    limiter = RateLimiter()
    limiter.cancel(limiter.reserve(100.0, 10), limiter.generation)
    limiter.on_throttled(100.0, 10, 7.0)
    assert limiter.reserve(100.0, 10) == 107.0


@pytest.mark.parametrize(("later", "generation"), [(0.99, 1), (1.0, 2), (1.5, 2)])
def test_throttling_after_a_second_is_another_one(later: float, generation: int) -> None:
    """Only requests that were under way then are part of the first."""
    limiter = RateLimiter()
    limiter.on_throttled(100.0, 10, 0.0)
    limiter.on_throttled(100.0 + later, 10, 0.0)
    assert limiter.generation == generation


def test_block_that_is_no_longer_keeps_reserved_times() -> None:
    """Two throttled requests often name the same end."""
    limiter = RateLimiter()
    limiter.on_throttled(100.0, 10, 5.0)
    limiter.on_throttled(100.5, 10, 4.5)
    assert (limiter.generation, limiter.blocked_for(100.5)) == (1, 4.5)


def test_rate_that_was_sent_is_known_for_seconds_after_the_last_request() -> None:
    """Twenty a second, of a hundred that were allowed, are reduced to about fifteen, and not to the minimum."""
    limiter = RateLimiter()
    for place in range(1000):
        limiter.reserve(place / 20, 100)
        limiter.record_sent(place / 20)
    limiter.on_throttled(50.5, 100, 0.0)
    assert delays(limiter, 2, now=50.5, max_rps=100)[1] == pytest.approx(1 / 15, rel=0.25)
