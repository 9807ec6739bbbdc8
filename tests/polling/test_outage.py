"""What counts as an outage."""

from __future__ import annotations

from math import inf

from waiter import ApiUnavailableError, AuthenticationError, TaskNotFoundError
from waiter.polling.outage import Outage


def test_outage_begins_with_the_first_poll_of_its_kind_that_failed() -> None:
    """Of 404 and of refusals it is when they were sent for, of the outage when the poll was due."""
    outage = Outage()
    errors = [ApiUnavailableError("x"), TaskNotFoundError("x"), TaskNotFoundError("x"), AuthenticationError("x")]
    for second, error in enumerate([*errors, AuthenticationError("x")]):
        outage.record(error, due_at=10.0 + second, sent_at=20.0 + second)
    assert outage == Outage(failures=5, since=10.0, missing_since=21.0, refused_since=23.0)


def test_time_in_a_queue_counts_towards_no_limit() -> None:
    """All three moments move; one that is not known remains so."""
    outage = Outage(failures=2, since=10.0, missing_since=11.0)
    outage.exclude(5.0)
    assert outage == Outage(failures=2, since=15.0, missing_since=16.0, refused_since=inf)
    outage = Outage(failures=1, since=10.0, refused_since=12.0)
    outage.exclude(5.0)
    assert outage == Outage(failures=1, since=15.0, missing_since=inf, refused_since=17.0)
