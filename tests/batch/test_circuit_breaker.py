"""Listings that were bad are left alone for a while, and are given another chance."""

from __future__ import annotations

import pytest

from waiter.batch.circuit_breaker import LAG, MAX_RESET_TIMEOUT, REMEMBERED, RESET_TIMEOUT, CircuitBreaker, StuckError


def left_alone(trust: CircuitBreaker) -> float:
    """For how long there is no listing after one that was bad."""
    trust.begin(0.0)
    trust.lose(0.0)
    return next(seconds for seconds in range(int(MAX_RESET_TIMEOUT) + 2) if trust.is_there(seconds))


def test_ever_longer_but_not_for_ever() -> None:
    """A listing that is always bad is tried again every ten minutes, for weeks."""
    trust = CircuitBreaker()

    assert [left_alone(trust) for _ in range(1000)] == [5, 20, 80, 320] + [600] * 996


def test_the_server_may_ask_for_longer() -> None:
    """Retry-After holds, and a short one shortens nothing."""
    trust = CircuitBreaker()
    trust.lose(0.0, retry_after=700.0)
    assert (trust.is_there(699.0), trust.is_there(700.0)) == (False, True)
    trust.lose(700.0, retry_after=1.0)
    assert (trust.is_there(719.0), trust.is_there(720.0)) == (False, True)


def test_good_listings_make_good() -> None:
    """One for one; more than enough of them buy nothing."""
    trust = CircuitBreaker()
    left_alone(trust)
    trust.begin(0.0)  # what follows the bad one makes good for nothing yet
    for _ in range(3):
        trust.begin(0.0)

    assert left_alone(trust) == RESET_TIMEOUT


def test_a_listing_may_lag() -> None:
    """It is stuck when it shows a task that ended well before it began, as far back as is remembered."""
    trust = CircuitBreaker()
    trust.note_end("a", 100.0)

    trust.check_going_on("a", 100.0 + LAG)
    trust.check_going_on("never ended", 1e9)
    trust.begin(99.0 + REMEMBERED)
    with pytest.raises(StuckError):
        trust.check_going_on("a", 100.1 + LAG)
    trust.begin(100.0 + REMEMBERED)
    trust.check_going_on("a", 101.0 + REMEMBERED)


def test_misled_once_for_each_listing() -> None:
    """Looks in vain are counted up to what the listing costs; one that is lost already cannot be lost again."""
    trust = CircuitBreaker()
    is_too_much = [trust.note_look_in_vain(2.0) for _ in range(3)]
    trust.lose(0.0)
    is_too_much.append(trust.note_look_in_vain(2.0))
    trust.begin(10.0)
    is_too_much.append(trust.note_look_in_vain(2.0))

    assert is_too_much == [False, False, True, False, False]
