"""One wait's subscription: its sleep and the updates that listings bring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from waiter.api.listings import ActiveTask
from waiter.batch.subscription import MISSING, Subscription
from waiter.task import Task, TaskSnapshot, TaskState
from waiter.testing import VirtualClock


def state_of(task: Any, valid_until: float = inf, interval_now: float | None = None) -> Any:
    """Return as much of a wait's state as a subscription reads."""
    return SimpleNamespace(
        task_id="t-0", task=task, listing_valid_until=valid_until, interval_now=lambda interval: interval_now or interval
    )


def awake(state: Any) -> Subscription:
    return Subscription(state, None, lambda: 0.0)


RUNNING = ActiveTask("t-0", "RUNNING")


def test_listing_that_began_before_the_last_poll_is_not_used() -> None:
    """It says nothing of the time since."""

    async def main() -> list[bool]:
        subscription = Subscription(state_of(RUNNING), None, time.monotonic)
        began = time.monotonic()
        await asyncio.sleep(0.01)
        sleep = subscription.sleep(60)
        usable = [subscription.can_use(at) for at in (began, time.monotonic())]
        subscription.notify(MISSING)
        await sleep
        subscription.cancel()
        return [*usable, subscription.can_use(time.monotonic()), subscription.update is not None]

    assert asyncio.run(main()) == [False, True, False, True]


def woken_at(act: Callable[[Subscription, VirtualClock], object], **state: Any) -> float:
    """Return when a sleep of 20 s ends if a listing shows the task after 15 s, and ``act`` follows 10 s later."""
    clock = VirtualClock()

    async def main() -> float:
        subscription = Subscription(state_of(RUNNING, **state), clock.async_sleep, clock)
        sleep = asyncio.ensure_future(subscription.sleep(20))
        await clock.async_sleep(15)
        subscription.record_shown(clock())
        await clock.async_sleep(10)
        act(subscription, clock)
        await sleep
        return clock()

    return asyncio.run(main())


def test_shown_task_is_not_polled_before_the_wait_has_to() -> None:
    """A listing extends the sleep up to the deadline or the end of the stall timeout."""
    assert woken_at(lambda *_: None, valid_until=150.0) == 150


def test_individual_polling_resumes_an_interval_after_the_last_listing() -> None:
    """A second request to resume changes nothing."""

    def resume(subscription: Subscription, _: VirtualClock) -> None:
        subscription.resume_individual_polling(trust_last_listing=True)
        subscription.resume_individual_polling(trust_last_listing=True)

    assert woken_at(resume, valid_until=150.0) == 35


def test_resumed_individual_polling_keeps_to_the_limit_of_the_wait() -> None:
    """The interval, which has grown with the age of the task, may end after the deadline."""

    def resume(subscription: Subscription, _: VirtualClock) -> None:
        subscription.resume_individual_polling(trust_last_listing=True)

    assert woken_at(resume, valid_until=32.0) == 32


@pytest.mark.parametrize("trust_last_listing", [True, False])
def test_wait_that_no_listing_serves_keeps_its_back_off(*, trust_last_listing: bool) -> None:
    """After a poll that failed, a listing extends no sleep, so nothing has to be resumed."""
    clock = VirtualClock()

    async def main() -> float:
        subscription = Subscription(state_of(RUNNING, valid_until=-inf), clock.async_sleep, clock)
        sleep = asyncio.ensure_future(subscription.sleep(20))
        await clock.async_sleep(15)
        subscription.record_shown(clock())
        subscription.resume_individual_polling(trust_last_listing=trust_last_listing)
        await sleep
        return clock()

    assert asyncio.run(main()) == 20


def test_overdue_poll_is_made_when_individual_polling_resumes() -> None:
    """The interval after the last listing has passed already."""

    def resume_late(subscription: Subscription, clock: VirtualClock) -> None:
        clock.sleep(30)
        subscription.resume_individual_polling(trust_last_listing=True)

    assert woken_at(resume_late, valid_until=150.0) == 55


def test_poll_is_made_immediately_when_the_last_listing_was_wrong() -> None:
    """What it showed does not count as a poll."""
    assert woken_at(lambda one, _: one.resume_individual_polling(trust_last_listing=False), valid_until=150.0) == 25


@pytest.mark.parametrize(
    ("age", "lasted", "ended_at"),
    [(100.0, 60.0, 960.0), (100.0, 110.0, 1000.0), (100.0, 20.0, 930.0), (None, 60.0, 1000.0), (100.0, None, 1000.0)],
)
def test_end_is_dated_by_the_task_between_its_last_poll_and_now(
    age: float | None, lasted: float | None, ended_at: float
) -> None:
    """By its age and duration, which the server's clock gives; without them the end is now."""
    subscription = Subscription(state_of(None), None, lambda: 1000.0)
    subscription.sleeping_since = 930.0
    finished = None if lasted is None else at(lasted)
    ended = TaskSnapshot(Task(id="t-0", state=TaskState.FINISHED, created_on=at(0), finished_on=finished), age)
    assert subscription.ended_at(ended) == ended_at


def test_interval_follows_the_schedule_as_the_task_ages() -> None:
    """It is asked for again after each interval that passes without a poll."""
    subscription = awake(state_of(RUNNING, interval_now=30.0))
    subscription.interval, subscription._interval_since = 20.0, 100.0
    intervals = []
    for began in (110.0, 120.0, 149.0):
        subscription.record_shown(began)
        intervals.append(subscription.interval)
    assert intervals == [20.0, 30.0, 30.0]
    assert subscription._interval_since == 120.0


@pytest.mark.parametrize(
    ("seen", "row", "is_news"),
    [
        (None, RUNNING, True),
        (RUNNING, RUNNING, False),
        (ActiveTask("t-0", "NEW"), RUNNING, True),
        (RUNNING, ActiveTask("t-0", "RUNNING", "NETWORK"), True),
    ],
)
def test_update_is_needed_when_the_state_differs(seen: Any, row: ActiveTask, is_news: bool) -> None:
    """State and detailed state are compared with what the wait has seen."""
    assert awake(state_of(seen)).needs_update(row) is is_news


def test_wait_that_awaits_a_listing_needs_any_update() -> None:
    """It is not spot-checked, because the listing wakes it."""

    async def main() -> list[bool]:
        subscription = Subscription(state_of(RUNNING), None, time.monotonic)
        waiting = asyncio.ensure_future(subscription.sleep_until_listing(60))
        await asyncio.sleep(0)
        needs = subscription.needs_update(RUNNING)
        subscription.spot_check()
        still_sleeps = subscription.can_use(inf)
        subscription.stop_awaiting()
        await waiting
        subscription.cancel()
        return [needs, still_sleeps, subscription.needs_update(RUNNING), subscription.update is not None]

    assert asyncio.run(main()) == [True, True, False, False]


def test_spot_check_ends_the_sleep_without_an_update() -> None:
    """The wait polls its task as if its interval were over."""

    async def main() -> bool:
        subscription = Subscription(state_of(RUNNING), None, time.monotonic)
        sleep = subscription.sleep(60)
        subscription.stop_awaiting()
        slept_on = subscription.can_use(inf)
        subscription.spot_check()
        await sleep
        subscription.cancel()
        return slept_on and subscription.update is None

    assert asyncio.run(main())


@pytest.mark.parametrize("error", [ValueError, RecursionError])
@pytest.mark.parametrize("update", [b"{", MISSING])
def test_unreadable_update_is_popped_and_dropped(update: bytes, error: type[Exception]) -> None:
    """The wait polls its task instead."""

    def read(_: bytes) -> Any:
        raise error

    subscription = awake(state_of(RUNNING))
    assert (subscription.update, subscription.pop_update(read)) == (None, None)
    subscription.notify(update)
    assert (subscription.update, subscription.pop_update(read), subscription.update) == (update, None, None)


def at(second: float) -> datetime:
    return datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("known", "updated", "is_newer"),
    [(at(0), at(-1), False), (at(0), at(0), False), (at(0), at(1), True), (at(0), None, False), (None, at(0), True)],
)
def test_update_counts_only_if_it_is_newer_than_what_is_known(
    known: datetime | None, updated: datetime | None, is_newer: bool
) -> None:
    """Times of the API may be whole seconds, so what changed in the same second may be older."""
    seen = Task(id="t-0", state=TaskState.RUNNING, detailed_state="B", updated_on=known)
    subscription = awake(state_of(seen))
    subscription.notify(b"{}")
    shown = TaskSnapshot(msgspec.structs.replace(seen, detailed_state="A", updated_on=updated))
    assert subscription.pop_update(lambda _: shown) == (shown if is_newer else None)
