"""Sleeps that are ended early or extended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from waiter.batch.timer import InterruptibleTimer, Sleep
from waiter.testing import VirtualClock


def timer(sleep: Sleep = None, clock: Callable[[], float] = time.monotonic) -> InterruptibleTimer:
    return InterruptibleTimer(sleep, clock)


def test_sleep_ends_on_time_when_woken_and_when_reset() -> None:
    """Waking without a sleep does nothing, and a wake-up is not kept for the next sleep."""

    async def main() -> list[bool]:
        one, loop = timer(), asyncio.get_running_loop()
        one.wake()
        await one.sleep(0.01)
        one.wake()
        loop.call_soon(one.wake)
        await one.sleep(60)
        sleep = one.sleep(60)
        states = [one.is_sleeping]
        one.reset(0)
        await sleep
        one.cancel()
        return [*states, one.is_sleeping]

    assert asyncio.run(main()) == [True, False]


def test_extended_sleep_lasts_until_the_new_time() -> None:
    """The first timer expires unnoticed; a reset takes the extension back."""
    clock = VirtualClock()

    async def main() -> list[float]:
        one, woken_at = timer(clock.async_sleep, clock), []
        for is_reset in (False, True):
            sleep = one.sleep(10)
            one.extend(clock() + 50)
            if is_reset:
                one.reset(20)
            await sleep
            woken_at.append(clock())
        return woken_at

    assert asyncio.run(main()) == [50.0, 70.0]


def test_timer_that_expires_after_a_wake_up_starts_no_other() -> None:
    """An extension holds only while a sleep is under way."""

    async def main() -> bool:
        one = timer()
        sleep = one.sleep(0)
        one.extend(time.monotonic() + 60)
        one.wake()
        await sleep
        await asyncio.sleep(0.005)
        return one.is_sleeping

    assert asyncio.run(main()) is False


def test_error_of_an_injected_sleep_reaches_the_sleeper() -> None:
    """It is raised where the sleep is awaited."""

    async def sleep(_: float) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        await timer(sleep).sleep(1)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
