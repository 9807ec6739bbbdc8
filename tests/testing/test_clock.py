"""Virtual time: it moves only when everybody sleeps, and then to the earliest sleeper."""

from __future__ import annotations

import asyncio
import math

import pytest

from waiter.testing import VirtualClock


def run(*coroutines: object) -> None:
    async def together() -> None:
        await asyncio.gather(*coroutines)  # type: ignore[call-overload]

    asyncio.run(together())


def test_moves_by_what_is_slept() -> None:
    """Sleeping moves the clock at once; less than nothing is nothing."""
    clock = VirtualClock(10)
    for seconds in (2.5, 0, -3):
        clock.sleep(seconds)
    assert clock() == 12.5


def test_wakes_sleepers_in_order() -> None:
    """Several sleepers wake when each is due, those of one time in the order in which they lay down."""
    clock, woken = VirtualClock(), []

    async def sleeper(name: str, seconds: float) -> None:
        for _ in range(3):
            await clock.async_sleep(seconds)
            woken.append((clock(), name))

    run(sleeper("a", 1), sleeper("b", 2.5), sleeper("c", 1))
    assert woken == [(1, "a"), (1, "c"), (2, "a"), (2, "c"), (2.5, "b"), (3, "a"), (3, "c"), (5, "b"), (7.5, "b")]


def test_waits_for_those_who_work() -> None:
    """Time stands still while any coroutine has something to do."""
    clock, seen = VirtualClock(), []

    async def worker() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
            seen.append(clock())

    run(clock.async_sleep(5), worker())
    assert (seen, clock()) == ([0.0] * 50, 5)


def test_moves_on_when_the_loop_never_rests() -> None:
    """A coroutine that spins cannot stop time for ever."""
    clock = VirtualClock()

    async def spinner() -> None:
        while clock() < 5:  # noqa: ASYNC110 - spinning is the point
            await asyncio.sleep(0)

    run(clock.async_sleep(5), spinner())
    assert clock() == 5


def test_two_clocks_in_one_loop() -> None:
    """Each clock moves by its own sleepers."""
    one, other = VirtualClock(), VirtualClock()
    run(one.async_sleep(1), other.async_sleep(2))
    assert (one(), other()) == (1, 2)


def test_forgets_those_who_are_cancelled() -> None:
    """A sleep that is cancelled moves nothing, whether it is the next or among those of one time."""
    clock = VirtualClock()

    async def main() -> None:
        sleepers = [asyncio.create_task(clock.async_sleep(seconds)) for seconds in (1, 3, 3, 9)]
        await asyncio.sleep(0)
        for index in (0, 2, 3):
            sleepers[index].cancel()
        await asyncio.gather(*sleepers, return_exceptions=True)
        await asyncio.sleep(0)

    run(main())
    assert clock() == 3


def test_forgets_the_last_who_is_cancelled() -> None:
    """When every sleeper is cancelled, time stays where it is."""
    clock = VirtualClock()

    async def main() -> None:
        sleeper = asyncio.create_task(clock.async_sleep(9))
        await asyncio.sleep(0)
        sleeper.cancel()
        for _ in range(5):
            await asyncio.sleep(0)

    run(main())
    assert clock() == 0


def test_sleeps_for_ever() -> None:
    """Who sleeps for ever holds up nobody, and is woken by cancellation only."""
    clock = VirtualClock()

    async def main() -> None:
        sleeper = asyncio.create_task(clock.async_sleep(math.inf))
        await clock.async_sleep(2)
        assert not sleeper.done()
        sleeper.cancel()

    run(main())
    assert clock() == 2


def test_goes_on_in_another_loop() -> None:
    """A clock outlives the loop in which somebody slept."""
    clock = VirtualClock()

    run(clock.async_sleep(1))
    run(clock.async_sleep(1))
    assert clock() == 2


def test_sleeping_at_once_counts_for_those_who_wait() -> None:
    """A sync sleep past a sleeper's time wakes it, without moving the clock back."""
    clock = VirtualClock()

    async def main() -> None:
        sleeper = asyncio.create_task(clock.async_sleep(1))
        await asyncio.sleep(0)
        clock.sleep(5)
        await sleeper

    run(main())
    assert clock() == 5


def test_keeps_no_sleepers_that_were_cancelled() -> None:
    """Sleeps that are given up again and again do not pile up until they would have been over."""
    clock = VirtualClock()

    async def main() -> int:
        for _ in range(100):
            sleeper = asyncio.create_task(clock.async_sleep(math.inf))
            await asyncio.sleep(0)
            sleeper.cancel()
            await asyncio.gather(sleeper, return_exceptions=True)
        return len(clock._sleepers)

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize(("others", "moment"), [((3, 3, 5, 7), 3), ((math.inf,) * 4, 0)])
def test_passes_over_who_was_cancelled_among_many(others: tuple[float, ...], moment: float) -> None:
    """Time moves to the next who still sleeps, if there is one who does not sleep for ever."""
    clock = VirtualClock()

    async def main() -> float:
        sleepers = [asyncio.create_task(clock.async_sleep(seconds)) for seconds in (1, *others)]
        await asyncio.sleep(0)
        sleepers[0].cancel()
        sleepers[2].cancel()
        await asyncio.wait(sleepers[1:2], timeout=0.01)
        return clock()

    assert asyncio.run(main()) == moment
