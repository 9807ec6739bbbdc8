"""The stream: numbers that count by one, wherever somebody begins and however slow they are."""

from __future__ import annotations

import asyncio

import pytest
from sidecar_parts import House, events_in, run

from waiter.sidecar import stream as room
from waiter.sidecar.store import Change, Happening


async def tell(house: House, *names: str) -> None:
    change = Change(events=[Happening(name, b'{"task_id":"a"}') for name in names])
    await house.journal.write(change, lambda: None)


async def hear(house: House, last: int | None, count: int) -> list[tuple[int, str]]:
    """Listen until so many events have come."""
    text = ""
    async for frames in house.stream.listen(house.journal, last):
        text += frames.decode()
        if len(events_in(text)) >= count:
            break
    return [(number, name) for number, name, _ in events_in(text)]


def test_who_comes_anew_hears_what_happens_from_now_on(house: House) -> None:
    """The past is not told, unless it is asked for."""

    async def test() -> None:
        async with house.open():
            await tell(house, "past")
            listening = asyncio.create_task(hear(house, None, 2))
            await asyncio.sleep(0.01)
            await tell(house, "x")
            await tell(house, "y")
            assert await listening == [(2, "x"), (3, "y")]

    run(test())


@pytest.mark.parametrize("last", [0, 1, 3])
def test_who_comes_back_misses_nothing(house: House, last: int) -> None:
    """Everything after the last event heard is told, from memory."""

    async def test() -> None:
        async with house.open():
            await tell(house, "a", "b", "c", "d")
            heard = [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
            assert await hear(house, last, 4 - last) == heard[last:]

    run(test())


def test_who_comes_back_after_a_restart_misses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in memory is read from disk, a part at a time."""
    monkeypatch.setattr(room, "READ_AT_ONCE", 2)

    async def test() -> None:
        async with house.open():
            await tell(house, *"abcde")
        async with house.open():
            listening = asyncio.create_task(hear(house, 1, 5))
            await asyncio.sleep(0.01)
            await tell(house, "f")
            assert await listening == [(2, "b"), (3, "c"), (4, "d"), (5, "e"), (6, "f")]

    run(test())


@pytest.mark.parametrize("last", [0, 99])
def test_who_cannot_be_given_all_is_told_so(house: House, last: int) -> None:
    """What is gone, or never was, is one stream.reset; then the numbers go on by one."""

    async def test() -> None:
        async with house.open():
            house.store._kept_events = 2
            await tell(house, "a", "b", "c")
            await tell(house, "d")
            await tell(house, "e")
        async with house.open():
            heard = await hear(house, last, 3)
            assert heard == [(3, "stream.reset"), (4, "d"), (5, "e")]

    run(test())


def test_a_silent_stream_shows_that_it_lives(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment comes now and then; and it ends with the sidecar."""
    monkeypatch.setattr(room, "HEARTBEAT", 0.01)

    async def test() -> None:
        async with house.open():
            frames = house.stream.listen(house.journal, None)
            assert [await anext(frames), await anext(frames)] == [b"retry: 1000\n\n", b":\n\n"]
            house.stream.close()
            assert [frame async for frame in frames] == []

    run(test())


def test_who_waits_for_something_waits_no_longer_than_that(house: House) -> None:
    """It is true, or the time is up, or the sidecar stops."""

    async def test() -> None:
        async with house.open():
            await house.stream.until(lambda: True, 99)
            await house.stream.until(lambda: False, 0.01)
            waiting = asyncio.create_task(house.stream.until(lambda: bool(house.told), 99))
            await asyncio.sleep(0)
            await tell(house, "x")
            await waiting
            stopping = asyncio.create_task(house.stream.until(lambda: False, 99))
            await asyncio.sleep(0)
            house.stream.close()
            await stopping

    run(test())
