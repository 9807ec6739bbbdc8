"""The circuit breaker pauses listings after a bad one."""

from __future__ import annotations

import pytest

from waiter.batch.circuit_breaker import (
    END_MEMORY,
    MAX_RESET_TIMEOUT,
    RESET_TIMEOUT,
    CircuitBreaker,
    StuckListingError,
)


def pause_after_bad_listing(breaker: CircuitBreaker) -> float:
    breaker.record_listing(0.0)
    breaker.trip(0.0)
    return next(seconds for seconds in range(int(MAX_RESET_TIMEOUT) + 2) if breaker.allows(seconds))


def test_reset_timeout_grows_up_to_its_maximum() -> None:
    """A listing that is always bad is tried again every ten minutes, without overflow."""
    breaker = CircuitBreaker()

    assert [pause_after_bad_listing(breaker) for _ in range(1000)] == [5, 20, 80, 320] + [600] * 996


def test_first_listing_is_allowed_at_any_time() -> None:
    """The zero of a monotonic clock is arbitrary."""
    assert CircuitBreaker().allows(-1e9)


def test_retry_after_extends_but_never_shortens_the_pause() -> None:
    """The longer of the two holds."""
    breaker = CircuitBreaker()
    breaker.trip(0.0, retry_after=700.0)
    assert (breaker.allows(699.0), breaker.allows(700.0)) == (False, True)
    breaker.trip(700.0, retry_after=1.0)
    assert (breaker.allows(719.0), breaker.allows(720.0), breaker.allows(721.0)) == (False, True, True)


def test_good_listings_shorten_the_reset_timeout_again() -> None:
    """Each good listing takes back one bad one, and no more than that."""
    breaker = CircuitBreaker()
    pause_after_bad_listing(breaker)
    breaker.record_listing(0.0)  # the listing before was bad
    for _ in range(3):
        breaker.record_listing(0.0)

    assert pause_after_bad_listing(breaker) == RESET_TIMEOUT


def test_listing_is_stuck_if_it_shows_a_task_that_must_be_gone() -> None:
    """An end counts from the given time on until it is forgotten."""
    breaker = CircuitBreaker()
    breaker.record_end("a", 100.0)

    breaker.check_active("a", 100.0)
    breaker.check_active("never ended", 1e9)
    breaker.record_listing(99.0 + END_MEMORY)
    with pytest.raises(StuckListingError):
        breaker.check_active("a", 100.1)
    breaker.record_listing(100.0 + END_MEMORY)
    breaker.check_active("a", 101.0 + END_MEMORY)


@pytest.mark.parametrize("now", [101.0, 650.0, 1e6])
def test_old_ends_are_forgotten_whenever_the_next_listing_begins(now: float) -> None:
    """However long no listing was made."""
    breaker = CircuitBreaker()
    breaker.record_end("a", 100.0)
    breaker.record_listing(now + END_MEMORY)
    breaker.check_active("a", now + END_MEMORY)


def test_needless_polls_count_up_to_the_cost_of_the_listing() -> None:
    """A listing that has tripped the breaker is not counted again."""
    breaker = CircuitBreaker()

    def record_and_check() -> bool:
        breaker.record_needless_poll()
        return breaker.is_misleading(2.0)

    misled = [record_and_check() for _ in range(3)]
    breaker.trip(0.0)
    misled.append(record_and_check())
    breaker.record_listing(10.0)
    misled += [record_and_check() for _ in range(3)]

    assert misled == [False, False, True, False, False, False, True]
