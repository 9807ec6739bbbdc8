"""The event stream: consecutive numbers from any position and at any speed."""

from __future__ import annotations

import asyncio

import pytest
from sidecar_parts import Sidecar, events_in, run

from waiter.sidecar import event_stream
from waiter.sidecar.storage.event_log import NewEvent
from waiter.sidecar.storage.store import Change


async def publish(sidecar: Sidecar, *names: str) -> None:
    change = Change(events=[NewEvent(name, b'{"task_id":"a"}') for name in names])
    await sidecar.write_queue.write(change, lambda: None)


async def read(sidecar: Sidecar, last: int | None, count: int) -> list[tuple[int, str]]:
    """Read the stream until it has yielded ``count`` events."""
    text = ""
    async for frames in sidecar.stream.subscribe(sidecar.write_queue, last):
        text += frames.decode()
        if len(events_in(text)) >= count:
            break
    return [(number, name) for number, name, _ in events_in(text)]


def test_new_subscriber_gets_new_events(sidecar: Sidecar) -> None:
    """Earlier events are sent on request only."""

    async def test() -> None:
        async with sidecar.open():
            await publish(sidecar, "past")
            reading = asyncio.create_task(read(sidecar, None, 2))
            await asyncio.sleep(0.01)
            await publish(sidecar, "x")
            await publish(sidecar, "y")
            assert await reading == [(2, "x"), (3, "y")]

    run(test())


@pytest.mark.parametrize("last", [0, 1, 3])
def test_returning_subscriber_gets_all_missed_events(sidecar: Sidecar, last: int) -> None:
    """The events after the last one that it read are sent from memory."""

    async def test() -> None:
        async with sidecar.open():
            await publish(sidecar, "a", "b", "c", "d")
            expected = [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
            assert await read(sidecar, last, 4 - last) == expected[last:]

    run(test())


def test_returning_subscriber_gets_missed_events_after_a_restart(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that are not in memory are read from disk in several parts."""
    monkeypatch.setattr(event_stream, "EVENTS_PER_READ", 2)

    async def test() -> None:
        async with sidecar.open():
            await publish(sidecar, *"abcde")
        async with sidecar.open():
            reading = asyncio.create_task(read(sidecar, 1, 5))
            await asyncio.sleep(0.01)
            await publish(sidecar, "f")
            assert await reading == [(2, "b"), (3, "c"), (4, "d"), (5, "e"), (6, "f")]

    run(test())


@pytest.mark.parametrize("last", [0, 99])
def test_deleted_events_are_replaced_by_a_reset(sidecar: Sidecar, last: int) -> None:
    """Deleted or unknown events are one stream.reset; the numbers after it are consecutive."""

    async def test() -> None:
        async with sidecar.open():
            sidecar.store._max_events = 2
            await publish(sidecar, "a", "b", "c")
            await publish(sidecar, "d")
            await publish(sidecar, "e")
        async with sidecar.open():
            events = await read(sidecar, last, 3)
            assert events == [(3, "stream.reset"), (4, "d"), (5, "e")]

    run(test())


def test_idle_stream_sends_heartbeats(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment is sent at intervals; the stream ends with the sidecar."""
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.01)

    async def test() -> None:
        async with sidecar.open():
            frames = sidecar.stream.subscribe(sidecar.write_queue, None)
            assert [await anext(frames), await anext(frames)] == [b"retry: 1000\n\n", b":\n\n"]
            sidecar.stream.close()
            assert [frame async for frame in frames] == []

    run(test())


def test_wait_until_returns_in_time(sidecar: Sidecar) -> None:
    """It returns when the condition holds, the time is over or the sidecar stops."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.stream.wait_until(lambda: True, 99)
            await sidecar.stream.wait_until(lambda: False, 0.01)
            pending = asyncio.create_task(sidecar.stream.wait_until(lambda: bool(sidecar.events), 99))
            await asyncio.sleep(0)
            await publish(sidecar, "x")
            await pending
            stopping = asyncio.create_task(sidecar.stream.wait_until(lambda: False, 99))
            await asyncio.sleep(0)
            sidecar.stream.close()
            await stopping

    run(test())


def test_condition_that_does_not_hold_is_not_resumed(sidecar: Sidecar) -> None:
    """It is evaluated where the events are published: hundreds of long polls would delay everything else."""
    evaluated = []

    def never() -> bool:
        evaluated.append(True)
        return False

    async def test() -> None:
        async with sidecar.open():
            waiting = asyncio.create_task(sidecar.stream.wait_until(never, 99))
            await asyncio.sleep(0)
            sidecar.stream.publish([])
            assert len(evaluated) == 2
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(evaluated) == 2
            waiting.cancel()

    run(test())


@pytest.mark.parametrize("interval", [0.0, 0.01])
def test_subscribers_get_the_same_events(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch, interval: float) -> None:
    """Each of them all, in order, however they are put together."""
    monkeypatch.setattr(event_stream, "MIN_INTERVAL", interval)

    async def test() -> None:
        async with sidecar.open():
            reading = [asyncio.create_task(read(sidecar, None, 9)) for _ in range(3)]
            await asyncio.sleep(0)
            for name in "abcdefghi":
                await publish(sidecar, name)
            assert await asyncio.gather(*reading) == [list(enumerate("abcdefghi", start=1))] * 3

    run(test())


def test_events_in_quick_succession_are_sent_together(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first immediately, and those that follow within an interval, or before the end, in one message."""
    monkeypatch.setattr(event_stream, "MIN_INTERVAL", 3600.0)

    async def test() -> None:
        async with sidecar.open():
            frames = sidecar.stream.subscribe(sidecar.write_queue, None)
            assert await anext(frames) == b"retry: 1000\n\n"
            first = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(0)
            await publish(sidecar, "a")
            assert [name for _, name, _ in events_in((await first).decode())] == ["a"]
            rest = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(0)
            for name in "bcd":
                await publish(sidecar, name)
            await sidecar.settle()
            assert not rest.done()
            sidecar.stream.close()
            assert [name for _, name, _ in events_in((await rest).decode())] == ["b", "c", "d"]

    run(test())
