"""A request's way through the limiter."""

from __future__ import annotations

import pickle
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from waiter.ratelimit.limiter import RateLimiter
from waiter.ratelimit.reservation import Delay, QueueLimits, RateLimitTimeoutError, RequestBudget, Reservation
from waiter.timing import FINAL_REQUEST_TIMEOUT


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reserve(limiter: RateLimiter, clock: Clock, **limits: Any) -> Reservation:
    defaults: dict[str, Any] = {"task_id": "t-0", "deadline": inf, "failing_since": inf, "max_outage": inf}
    return RequestBudget(limiter, clock, 10).reserve(QueueLimits(**defaults | limits))


def test_throttling_blocks_all_but_final_polls(clock: Clock) -> None:
    """Reserved times become void, and others are reserved when the block is over."""
    limiter = RateLimiter()
    for _ in range(2):
        limiter.reserve(100.0, 10)
    first, final = reserve(limiter, clock), reserve(limiter, clock, deadline=100.0)
    assert [first.next_pause(), final.next_pause()] == pytest.approx([0.1, 0.2])
    limiter.on_throttled(100.0, 10, 7.0)
    assert (first.next_pause(), final.next_pause()) == (7.0, 0.0)
    clock.now = 108.0
    assert first.next_pause() == 0


def test_polls_that_were_sent_decide_the_rate_after_throttling(clock: Clock) -> None:
    """Two a second, of which three quarters are left, whatever ``max_rps`` would allow."""
    limiter = RateLimiter()
    for _ in range(100):
        clock.now += 0.5
        assert reserve(limiter, clock).next_pause() == 0
    limiter.on_throttled(clock.now, 10, 0.0)
    limiter.reserve(clock.now, 10)
    pause = reserve(limiter, clock).next_pause()
    assert pause == pytest.approx(1 / 1.5, rel=0.1)


def test_longer_block_spreads_reserved_times_again(clock: Clock) -> None:
    """Times that fall into a block would otherwise become due together at its end."""
    limiter = RateLimiter()
    for _ in range(100):
        limiter.reserve(100.0, 10)
    limiter.on_throttled(100.0, 10, 0.0)
    queue = [reserve(limiter, clock) for _ in range(10)]
    assert max(reservation.next_pause() for reservation in queue) < 2
    clock.now = 100.5
    limiter.on_throttled(100.5, 10, 30.0)
    clock.now = 130.5
    pauses = sorted(reservation.next_pause() for reservation in queue)
    assert min(later - earlier for earlier, later in pairwise(pauses)) > 0.09


def test_unused_reservation_is_cancelled(clock: Clock) -> None:
    """The next request gets its time, unless that has passed or throttling has made it void."""
    limiter = RateLimiter()
    with reserve(limiter, clock) as used:
        used.next_pause()
    queue = [reserve(limiter, clock) for _ in range(6)]
    assert [round(reservation.next_pause(), 3) for reservation in queue] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for reservation in queue[1:5]:
        with reservation:
            pass
    assert [round(limiter.reserve(now, 10), 3) for now in (100.0, 100.25, 100.45, 100.45)] == [100.1, 100.25, 100.45, 100.6]
    limiter.on_throttled(100.46, 10, 7.0)
    with queue[-1]:
        pass
    assert round(limiter.reserve(100.46, 10), 3) == 107.46


def test_delay_tells_queueing_from_blocking(clock: Clock) -> None:
    """Queueing behind other requests does not count towards max_outage; blocking by the server does."""
    limiter = RateLimiter()
    for _ in range(5):
        limiter.reserve(100.0, 10)
    reservation = reserve(limiter, clock)
    assert reservation.next_pause() > 0
    clock.now = 103.0
    limiter.on_throttled(103.0, 10, 5.0)
    clock.now = 110.0
    assert reservation.next_pause() == 0
    assert reservation.delay == Delay(queued=5.0, blocked=5.0)


def test_reservation_that_is_too_late_for_the_final_poll_fails(clock: Clock) -> None:
    """The error says how long the poll was queued, and survives pickling."""
    limiter = RateLimiter()
    for _ in range(200):
        limiter.reserve(100.0, 10)
    reservation = reserve(limiter, clock, deadline=101.0)
    assert reservation.next_pause() == 1.0
    clock.now = 101.0
    with pytest.raises(RateLimitTimeoutError, match=r"not polled: max_rps=10 leaves no time for it \(t-0\)") as caught:
        reservation.next_pause()
    assert pickle.loads(pickle.dumps(caught.value)).delay == Delay(queued=1.0)


def test_final_poll_may_wait_a_little(clock: Clock) -> None:
    """As long as the request itself may take."""
    limiter = RateLimiter()
    for _ in range(30):
        limiter.reserve(100.0, 10)
    reservation = reserve(limiter, clock, deadline=100.0)
    assert 2.5 < reservation.next_pause() < FINAL_REQUEST_TIMEOUT


@pytest.mark.parametrize(("failing_since", "final_at"), [(90.0, 120.0), (inf, 130.0)])
def test_final_poll_is_sent_when_a_block_has_lasted_for_max_outage(clock: Clock, failing_since: float, final_at: float) -> None:
    """Retry-After is obeyed within max_outage: from the first failure, or from the begin of the block."""
    limiter = RateLimiter()
    limiter.on_throttled(100.0, 10, 3600.0)
    reservation = reserve(limiter, clock, failing_since=failing_since, max_outage=30.0)
    assert reservation.next_pause() == final_at - 100.0
    clock.now = final_at
    assert reservation.next_pause() == 0


def test_max_queue_time_ends_with_the_wait_or_the_outage() -> None:
    """With some time for a final poll after the deadline."""
    limits = QueueLimits("t-0", deadline=200.0, failing_since=inf, max_outage=50.0)
    assert limits.max_queue_time(100.0) == 100 + FINAL_REQUEST_TIMEOUT
    assert limits._replace(failing_since=142.0).max_queue_time(190.0) == 2
    assert limits.max_queue_time(1000.0) == 0


def test_request_that_was_not_delayed_has_no_delay() -> None:
    """Nothing is added to the outage of a wait for it."""
    assert Delay() == Delay(queued=0.0, blocked=0.0)
