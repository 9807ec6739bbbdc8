"""Virtual time: it advances only when all coroutines sleep, to the earliest end of a sleep."""

from __future__ import annotations

import asyncio
import math

import pytest

from waiter.testing import VirtualClock


def run(*coroutines: object) -> None:
    async def together() -> None:
        await asyncio.gather(*coroutines)  # type: ignore[call-overload]

    asyncio.run(together())


def test_sleep_advances_the_clock() -> None:
    """A sleep advances the clock immediately; a negative one counts as zero."""
    clock = VirtualClock(10)
    for seconds in (2.5, 0, -3):
        clock.sleep(seconds)
    assert clock() == 12.5


def test_sleepers_wake_in_order() -> None:
    """Each sleeper wakes when it is due; those of the same time wake in the order in which they began to sleep."""
    clock, woken = VirtualClock(), []

    async def sleeper(name: str, seconds: float) -> None:
        for _ in range(3):
            await clock.async_sleep(seconds)
            woken.append((clock(), name))

    run(sleeper("a", 1), sleeper("b", 2.5), sleeper("c", 1))
    assert woken == [(1, "a"), (1, "c"), (2, "a"), (2, "c"), (2.5, "b"), (3, "a"), (3, "c"), (5, "b"), (7.5, "b")]


def test_time_stands_still_while_a_coroutine_runs() -> None:
    """The clock does not advance while any coroutine has something to do."""
    clock, seen = VirtualClock(), []

    async def worker() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
            seen.append(clock())

    run(clock.async_sleep(5), worker())
    assert (seen, clock()) == ([0.0] * 50, 5)


def test_time_passes_in_a_loop_that_is_never_idle() -> None:
    """A coroutine that spins does not stop the clock."""
    clock = VirtualClock()

    async def spinner() -> None:
        while clock() < 5:  # noqa: ASYNC110 - spinning is the point
            await asyncio.sleep(0)

    run(clock.async_sleep(5), spinner())
    assert clock() == 5


def test_two_clocks_in_one_loop_are_independent() -> None:
    """Each clock advances by its own sleepers."""
    one, other = VirtualClock(), VirtualClock()
    run(one.async_sleep(1), other.async_sleep(2))
    assert (one(), other()) == (1, 2)


def test_cancelled_sleep_does_not_advance_the_clock() -> None:
    """A cancelled sleep has no effect, whether it is the next one or one of several that end together."""
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


def test_time_stands_still_after_all_sleeps_are_cancelled() -> None:
    """When all sleeps are cancelled, the clock does not advance."""
    clock = VirtualClock()

    async def main() -> None:
        sleeper = asyncio.create_task(clock.async_sleep(9))
        await asyncio.sleep(0)
        sleeper.cancel()
        for _ in range(5):
            await asyncio.sleep(0)

    run(main())
    assert clock() == 0


def test_infinite_sleep_does_not_stop_the_clock() -> None:
    """An infinite sleep does not hold up other sleeps, and ends by cancellation only."""
    clock = VirtualClock()

    async def main() -> None:
        sleeper = asyncio.create_task(clock.async_sleep(math.inf))
        await clock.async_sleep(2)
        assert not sleeper.done()
        sleeper.cancel()

    run(main())
    assert clock() == 2


def test_clock_works_in_another_loop() -> None:
    """A clock continues in another event loop."""
    clock = VirtualClock()

    run(clock.async_sleep(1))
    run(clock.async_sleep(1))
    assert clock() == 2


def test_blocking_sleep_wakes_an_awaited_one() -> None:
    """A blocking sleep beyond the end of an awaited one wakes it, and the clock does not go back."""
    clock = VirtualClock()

    async def main() -> None:
        sleeper = asyncio.create_task(clock.async_sleep(1))
        await asyncio.sleep(0)
        clock.sleep(5)
        await sleeper

    run(main())
    assert clock() == 5


def test_cancelled_sleeps_are_removed() -> None:
    """Sleeps that are cancelled again and again do not accumulate."""
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
def test_clock_advances_past_cancelled_sleeps(others: tuple[float, ...], moment: float) -> None:
    """The clock advances to the next sleep that is neither cancelled nor infinite."""
    clock = VirtualClock()

    async def main() -> float:
        sleepers = [asyncio.create_task(clock.async_sleep(seconds)) for seconds in (1, *others)]
        await asyncio.sleep(0)
        sleepers[0].cancel()
        sleepers[2].cancel()
        await asyncio.wait(sleepers[1:2], timeout=0.01)
        return clock()

    assert asyncio.run(main()) == moment
