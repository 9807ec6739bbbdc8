"""Only so many requests are under way at once; who comes later waits where it costs little, and is no outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from waiter import AsyncWaiter, Waiter
from waiter.polling.history_cache import HistoryCache
from waiter.polling.wait_state import LAST_REQUEST_TIMEOUT, WaitState
from waiter.ratelimit import limited_client as paced
from waiter.ratelimit.limited_client import RateLimitedClient
from waiter.ratelimit.limiter import RateLimiter, RateLimitTimeoutError
from waiter.ratelimit.reservation import Budget
from waiter.task import Task, TaskSnapshot, TaskState
from waiter.testing import SimulatedCloud, ended


class Slow:
    """A client that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, asyncio.Future[str]] = {}

    async def get_task(self, task_id: str, **_: float) -> str:
        self.asked.append(task_id)
        self.answers[task_id] = asyncio.get_running_loop().create_future()
        return await self.answers[task_id]

    async def get_past(self, task_type: str, **_: float) -> str:
        return f"past of {task_type}"

    async def get_active(self, **_: float) -> float:
        return asyncio.get_running_loop().time()

    snapshot = close = None


class Held:
    """A plan that has a name, patience and notes of when it was held back."""

    failing_since = inf
    time_left = 60.0
    request_timeout = 10.0

    def __init__(self, task_id: str, patience: float = 60.0) -> None:
        self.task_id = task_id
        self.patience = patience
        self.notes: list[tuple[float, float]] = []

    def held_back(self, queued: float, silent: float) -> None:
        self.notes.append((round(queued, 1), round(silent, 1)))


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "MOST_AT_ONCE", 1)


def run(main: Callable[[Any, Slow, RateLimiter], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main(*made()))


def made(sleep: Any = None) -> tuple[Any, Any, RateLimiter]:
    settings: Any = SimpleNamespace(clock=time.monotonic, sleep=sleep, max_rps=inf, max_outage=300.0)
    slow: Any = Slow()
    limiter = RateLimiter()
    return RateLimitedClient(slow, Budget(limiter, settings), settings), slow, limiter


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("one_at_a_time")
def test_one_after_the_other() -> None:
    """The next goes when the one before has its answer; only who has queued up is told of it twice."""

    async def main(client: Any, slow: Slow, _: RateLimiter) -> Any:
        plans = [Held("a"), Held("b", patience=inf)]
        looks = [asyncio.ensure_future(client.ask(plan)) for plan in plans]
        await settle()
        before = slow.asked.copy()
        for name in ("a", "b"):
            slow.answers[name].set_result(f"seen {name}")
            await settle()
        return before, await asyncio.gather(*looks), [len(plan.notes) for plan in plans]

    assert run(main) == (["a"], ["seen a", "seen b"], [1, 2])


@pytest.mark.usefixtures("one_at_a_time")
def test_one_loop_after_the_other() -> None:
    """A client serves as many calls of asyncio.run as it is used in, however crowded they are."""
    client, slow, _ = made()

    async def main() -> list[Any]:
        looks = [asyncio.ensure_future(client.ask(Held(name))) for name in "ab"]
        for name in "ab":
            await settle()
            slow.answers[name].set_result(f"seen {name}")
        return await asyncio.gather(*looks)

    assert [asyncio.run(main()) for _ in range(2)] == [["seen a", "seen b"]] * 2


@pytest.mark.usefixtures("one_at_a_time")
def test_two_loops_by_turns() -> None:
    """Whoever queues up hears of a place in its own loop, whatever another did meanwhile."""
    client, slow, _ = made()

    async def look(*names: str) -> list[Any]:
        looks = [asyncio.ensure_future(client.ask(Held(name))) for name in names]
        await settle()
        return looks

    async def answered(name: str) -> Any:
        slow.answers[name].set_result(f"seen {name}")
        await settle()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        looks = one.run(look("a", "b"))
        looks += other.run(look("c"))
        other.run(answered("c"))
        one.run(answered("a"))
        one.run(answered("b"))

    assert [one.result() for one in looks] == ["seen a", "seen b", "seen c"]


@pytest.mark.usefixtures("one_at_a_time")
def test_who_is_cancelled_makes_room() -> None:
    """Whether it asks or queues up."""

    async def main(client: Any, slow: Slow, _: RateLimiter) -> list[str]:
        asks, queues, last = (asyncio.ensure_future(client.ask(Held(name))) for name in "abc")
        await settle()
        queues.cancel()
        asks.cancel()
        await settle()
        last.cancel()
        await asyncio.gather(asks, queues, last, return_exceptions=True)
        return slow.asked

    assert run(main) == ["a", "c"]


@pytest.mark.usefixtures("one_at_a_time")
def test_patience_has_an_end() -> None:
    """A wait that is over does not queue up any longer, and says why it did not ask."""

    async def main(client: Any, slow: Slow, _: RateLimiter) -> Any:
        asks = asyncio.ensure_future(client.ask(Held("a")))
        await settle()
        single = Held("c")
        single.request_timeout = 0.01
        with pytest.raises(RateLimitTimeoutError):
            await client.ask_now(single)
        impatient = Held("b", patience=0.01)
        with pytest.raises(RateLimitTimeoutError, match=r"not polled: all 1 slots stayed busy \(b\)"):
            await client.ask(impatient)
        assert len(impatient.notes) == 2  # in its turn, and when it gave up: this was its last look
        asks.cancel()
        return slow.asked

    assert run(main) == ["a"]


@pytest.mark.usefixtures("one_at_a_time")
def test_patience_is_not_of_this_world_when_time_is_not() -> None:
    """Whoever brings a sleep of one's own has seconds of one's own: patience is not measured by the real ones."""
    client, slow, _ = made(sleep=asyncio.sleep)

    async def main() -> list[Any]:
        looks = [asyncio.ensure_future(client.ask(Held(name, patience=0.0))) for name in "ab"]
        for name in "ab":
            await asyncio.sleep(0.01)
            slow.answers[name].set_result(f"seen {name}")
        return await asyncio.gather(*looks)

    assert asyncio.run(main()) == ["seen a", "seen b"]


@pytest.mark.usefixtures("one_at_a_time")
def test_a_silence_holds_for_whoever_queues_up() -> None:
    """They take another turn, and leave the room to last looks."""

    async def main(client: Any, slow: Slow, limiter: RateLimiter) -> Any:
        first, second = (asyncio.ensure_future(client.ask(Held(name))) for name in "ab")
        await settle()
        limiter.refused(asyncio.get_running_loop().time(), inf, 0.05)
        slow.answers["a"].set_result("seen a")
        await settle()
        last = Held("c")
        last.time_left = 0.0
        third = asyncio.ensure_future(client.ask(last))
        await settle()
        quiet = slow.asked.copy()
        slow.answers["c"].set_result("seen c")
        await asyncio.sleep(0.1)
        slow.answers["b"].set_result("seen b")
        return quiet, await asyncio.gather(first, second, third)

    assert run(main) == (["a", "c"], ["seen a", "seen b", "seen c"])


@pytest.mark.usefixtures("one_at_a_time")
def test_last_looks_go_one_after_the_other_in_a_silence() -> None:
    """None of them spends a turn that it does not use more than once."""

    async def main(client: Any, slow: Slow, limiter: RateLimiter) -> Any:
        client._settings.max_rps = 1000.0
        limiter.refused(asyncio.get_running_loop().time(), 1000.0, 60.0)
        plans = [Held(name) for name in "abcd"]
        for plan in plans:
            plan.time_left = 0.0
        looks = [asyncio.ensure_future(client.ask(plan)) for plan in plans]
        for plan in plans:
            await asyncio.sleep(0.02)
            slow.answers[plan.task_id].set_result("seen")
        return await asyncio.gather(*looks), slow.asked, limiter._recent < 9

    assert run(main) == (["seen"] * 4, ["a", "b", "c", "d"], True)


def test_a_server_that_comes_to_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who had to wait for it keep to the budget too."""
    monkeypatch.setattr(paced, "MOST_AT_ONCE", 10)

    async def main(client: Any, slow: Slow, _: RateLimiter) -> float:
        client._settings.max_rps = 1000.0
        looks = [asyncio.ensure_future(client.ask(Held(f"t-{place}"))) for place in range(60)]
        await asyncio.sleep(0.4)
        began = asyncio.get_running_loop().time()
        while len(slow.asked) < 60:
            for answer in slow.answers.values():
                if not answer.done():
                    answer.set_result("seen")
            await asyncio.sleep(0)
        took = asyncio.get_running_loop().time() - began
        for answer in slow.answers.values():
            if not answer.done():
                answer.set_result("seen")
        await asyncio.gather(*looks)
        return took

    # A tenth of a second's worth may go at once, after a pause.
    monkeypatch.setattr("waiter.ratelimit.limiter.BURST", 0.0)
    assert run(main) >= 0.045


@pytest.mark.usefixtures("one_at_a_time")
def test_a_single_look_is_one_of_them() -> None:
    """Asked for without a turn, it finds a connection all the same."""

    async def main(client: Any, slow: Slow, _: RateLimiter) -> Any:
        looks = [asyncio.ensure_future(client.ask_now(Held(name))) for name in "ab"]
        await settle()
        before = slow.asked.copy()
        slow.answers["a"].set_result("seen a")
        await settle()
        slow.answers["b"].set_result("seen b")
        return before, await asyncio.gather(*looks)

    assert run(main) == (["a"], ["seen a", "seen b"])


def test_what_stands_for_many_jumps_the_queue_and_takes_a_turn() -> None:
    """Those behind it hold back, and it counts when a refusal tells how fast requests went."""

    async def main(client: Any, _slow: Slow, limiter: RateLimiter) -> Any:
        client._settings.max_rps = 10.0
        past = await client.list_past("create_vm", timeout=1.0)
        for _ in range(9):
            await client.list_active(limit=1, offset=0, timeout=1.0)
        now = asyncio.get_running_loop().time()
        return past, limiter.take(now, 10.0) - now, limiter._recent

    past, pause, sent = run(main)
    assert (past, pause, sent) == ("past of create_vm", pytest.approx(0.9, abs=0.05), pytest.approx(10, abs=0.5))


def test_a_listing_holds_back_in_a_silence() -> None:
    """It stands for many, but the server has asked for none."""

    async def main(client: Any, _: Slow, limiter: RateLimiter) -> float:
        now = asyncio.get_running_loop().time()
        limiter.refused(now, inf, 0.05)
        asked_at: float = await client.list_active(limit=1, offset=0, timeout=1.0)
        return asked_at - now

    assert run(main) >= 0.05


@pytest.mark.usefixtures("one_at_a_time")
def test_trio_has_no_such_bound() -> None:
    """There each wait is by itself."""
    cloud = SimulatedCloud()
    ids = [cloud.add(ended()) for _ in range(3)]
    seen: list[str] = []

    with cloud.serve() as url:

        async def main() -> None:
            async with AsyncWaiter(api_key=cloud.api_key, base_url=url) as waiter, trio.open_nursery() as nursery:

                async def wait(task_id: str) -> None:
                    seen.append((await waiter.wait(task_id)).id)
                    seen.append((await waiter.status(task_id)).id)

                for task_id in ids:
                    nursery.start_soon(wait, task_id)

        trio.run(main)
    assert sorted(seen) == sorted(2 * ids)


def test_how_long_a_look_may_be_kept_waiting(cloud: SimulatedCloud) -> None:
    """Until the wait is over, with some time more for a last look, or until the outage has lasted too long."""
    with Waiter(**cloud.options, timeout=100, max_outage=50) as waiter:
        plan = WaitState("t-0", waiter._settings, HistoryCache())
        patience = [plan.patience]
        waiter._sleep(90)
        patience.append(plan.patience)
        plan.failing_since = cloud.clock() - 48
        patience.append(plan.patience)
        waiter._sleep(20)
        patience.append(plan.patience)
    assert patience == [100 + LAST_REQUEST_TIMEOUT, 10 + LAST_REQUEST_TIMEOUT, 2, 0]


def test_what_is_equal_is_kept_once(cloud: SimulatedCloud) -> None:
    """Tenacity holds what a look gave until the next, which would be half a kilobyte more for each of thousands."""
    task = Task(id="t-0", state=TaskState.RUNNING)
    with Waiter(**cloud.options) as waiter:
        plan = WaitState("t-0", waiter._settings, HistoryCache())
        plan.saw(TaskSnapshot(task, 1.0))
        again = plan.saw(TaskSnapshot(Task(id="t-0", state=TaskState.RUNNING), 3.0))
    assert (again.task is task, again.age) == (True, 3.0)
