"""Polls keep to the budget and to a number of slots; waiting for a slot is no outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from virtual_loop import loop_time, run_virtually

from waiter import ApiUnavailableError, AsyncWaiter
from waiter.ratelimit import limited_client
from waiter.ratelimit.limited_client import RateLimitedClient
from waiter.ratelimit.limiter import RateLimiter
from waiter.ratelimit.reservation import Delay, QueueLimits, RateLimitTimeoutError, RequestBudget
from waiter.testing import SimulatedCloud, ended
from waiter.timing import FINAL_REQUEST_TIMEOUT


class SlowClient:
    """A client that responds when the test says so."""

    def __init__(self) -> None:
        self.polled: list[str] = []
        self.responses: dict[str, asyncio.Future[str]] = {}

    async def get_task(self, task_id: str, **_: float) -> str:
        self.polled.append(task_id)
        self.responses[task_id] = asyncio.get_running_loop().create_future()
        return await self.responses[task_id]

    async def acknowledge(self, task_id: str, **_: float) -> str:
        return f"acknowledged {task_id}"

    async def list_history(self, task_type: str, **_: float) -> str:
        return f"history of {task_type}"

    async def list_active(self, **_: float) -> float:
        return loop_time()

    decode_snapshot = close = None


class Poll:
    """One poll through the client, which keeps the delays that it was told of."""

    def __init__(self, client: RateLimitedClient, task_id: str, *, time_left: float = 60.0) -> None:
        self.limits = QueueLimits(task_id, loop_time() + time_left, inf, 300.0)
        self.delays: list[Delay] = []
        self._client = client
        self._slow: Any = client._client

    async def send(self) -> Any:
        async with self._client.slot(self.limits) as delay:
            self.delays.append(delay)
            return await self._slow.get_task(self.limits.task_id)


def poll(client: RateLimitedClient, task_id: str, **limits: float) -> asyncio.Task[Any]:
    return asyncio.ensure_future(Poll(client, task_id, **limits).send())


@pytest.fixture
def one_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_client, "MAX_CONCURRENT_POLLS", 1)


def run(main: Callable[[Any, SlowClient, RateLimiter], Coroutine[Any, Any, Any]], max_rps: float = inf) -> Any:
    return run_virtually(main(*make(max_rps=max_rps)))


def make(sleep: Any = None, max_rps: float = inf) -> tuple[Any, Any, RateLimiter]:
    settings: Any = SimpleNamespace(clock=loop_time, sleep=sleep, max_rps=max_rps, max_outage=300.0)
    slow: Any = SlowClient()
    limiter = RateLimiter()
    return RateLimitedClient(slow, RequestBudget(limiter, loop_time, max_rps), settings), slow, limiter


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("one_slot")
def test_next_poll_is_sent_when_a_slot_is_free() -> None:
    """With one slot, the second poll follows the response to the first."""

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> Any:
        polls = [poll(client, "a"), poll(client, "b", time_left=inf)]
        await settle()
        before = slow.polled.copy()
        for name in ("a", "b"):
            slow.responses[name].set_result(f"seen {name}")
            await settle()
        return before, await asyncio.gather(*polls)

    assert run(main) == (["a"], ["seen a", "seen b"])


@pytest.mark.usefixtures("one_slot")
def test_client_works_in_one_event_loop_after_another() -> None:
    """A client serves several calls of asyncio.run, even when its slots are busy in each."""
    client, slow, _ = make()

    async def main() -> list[Any]:
        polls = [poll(client, name) for name in "ab"]
        for name in "ab":
            await settle()
            slow.responses[name].set_result(f"seen {name}")
        return await asyncio.gather(*polls)

    assert [asyncio.run(main()) for _ in range(2)] == [["seen a", "seen b"]] * 2


@pytest.mark.usefixtures("one_slot")
def test_client_works_in_two_event_loops_by_turns() -> None:
    """A poll that waits for a slot is woken in its own loop, whatever happens in another loop meanwhile."""
    client, slow, _ = make()

    async def start(*names: str) -> list[Any]:
        polls = [poll(client, name) for name in names]
        await settle()
        return polls

    async def respond(name: str) -> Any:
        slow.responses[name].set_result(f"seen {name}")
        await settle()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        polls = one.run(start("a", "b"))
        polls += other.run(start("c"))
        other.run(respond("c"))
        one.run(respond("a"))
        one.run(respond("b"))

    assert [one.result() for one in polls] == ["seen a", "seen b", "seen c"]


@pytest.mark.usefixtures("one_slot")
def test_cancelled_poll_releases_its_slot() -> None:
    """A poll that is cancelled under way or in the queue does not keep the next one waiting."""

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> list[str]:
        sent, queued, last = (poll(client, name) for name in "abc")
        await settle()
        queued.cancel()
        sent.cancel()
        await settle()
        last.cancel()
        await asyncio.gather(sent, queued, last, return_exceptions=True)
        return slow.polled

    assert run(main) == ["a", "c"]


@pytest.mark.usefixtures("one_slot")
def test_poll_cancelled_in_its_pause_after_the_slot_releases_the_slot() -> None:
    """A poll that waited for its slot pauses before it is sent, and may be cancelled there."""

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> list[str]:
        first, second, third = (poll(client, name) for name in "abc")
        await settle()
        client._next_at = loop_time() + 30
        slow.responses["a"].set_result("seen a")
        await settle()
        second.cancel()
        await settle()
        client._next_at = 0.0
        third.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        fourth = poll(client, "d")
        await settle()
        fourth.cancel()
        return slow.polled

    assert run(main) == ["a", "d"]


@pytest.mark.usefixtures("one_slot")
def test_poll_that_gets_no_slot_in_time_fails() -> None:
    """It says why it was not sent; its limits end the wait for a slot."""

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> Any:
        sent = poll(client, "a")
        await settle()
        with pytest.raises(RateLimitTimeoutError):
            await client.get_task_immediately("c", timeout=0.01)
        late = Poll(client, "b", time_left=0.01 - FINAL_REQUEST_TIMEOUT)
        with pytest.raises(RateLimitTimeoutError, match=r"not polled: all 1 slots stayed busy \(b\)"):
            await late.send()
        sent.cancel()
        return slow.polled, late.delays

    assert run(main) == (["a"], [])


@pytest.mark.usefixtures("one_slot")
def test_virtual_time_sets_no_limit_to_the_wait_for_a_slot() -> None:
    """Real seconds mean nothing to a user who provides ``sleep``."""
    client, slow, _ = make(sleep=asyncio.sleep)

    async def main() -> list[Any]:
        polls = [poll(client, name, time_left=-FINAL_REQUEST_TIMEOUT) for name in "ab"]
        for name in "ab":
            await asyncio.sleep(0.01)
            slow.responses[name].set_result(f"seen {name}")
        return await asyncio.gather(*polls)

    assert run_virtually(main()) == ["seen a", "seen b"]


@pytest.mark.usefixtures("one_slot")
def test_block_by_the_server_holds_for_polls_that_wait_for_a_slot() -> None:
    """They queue again when it ends, and leave the slot to final polls meanwhile."""

    async def main(client: Any, slow: SlowClient, limiter: RateLimiter) -> Any:
        first, second = (poll(client, name) for name in "ab")
        await settle()
        limiter.on_throttled(loop_time(), inf, 0.05)
        slow.responses["a"].set_result("seen a")
        await settle()
        final = poll(client, "c", time_left=0.0)
        await settle()
        while_blocked = slow.polled.copy()
        slow.responses["c"].set_result("seen c")
        await asyncio.sleep(0.1)
        slow.responses["b"].set_result("seen b")
        return while_blocked, await asyncio.gather(first, second, final)

    assert run(main) == (["a", "c"], ["seen a", "seen b", "seen c"])


@pytest.mark.usefixtures("one_slot")
def test_final_polls_are_sent_one_by_one_while_the_server_blocks() -> None:
    """None of them reserves a time that it does not use."""

    async def main(client: Any, slow: SlowClient, limiter: RateLimiter) -> Any:
        limiter.on_throttled(loop_time(), 1000.0, 60.0)
        polls = [poll(client, name, time_left=0.0) for name in "abcd"]
        for name in "abcd":
            await asyncio.sleep(0.02)
            slow.responses[name].set_result("seen")
        return await asyncio.gather(*polls), slow.polled, limiter._recent < 9

    assert run(main, max_rps=1000.0) == (["seen"] * 4, ["a", "b", "c", "d"], True)


def test_server_that_recovers_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls that waited for a slot keep to the rate of the budget."""
    monkeypatch.setattr(limited_client, "MAX_CONCURRENT_POLLS", 10)
    # A tenth of a second's worth may be sent together after a pause.
    monkeypatch.setattr("waiter.ratelimit.limiter.BURST", 0.0)

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> float:
        polls = [poll(client, f"t-{place}") for place in range(60)]
        await asyncio.sleep(0.4)
        began = loop_time()
        while len(slow.polled) < 60:
            for response in slow.responses.values():
                if not response.done():
                    response.set_result("seen")
            await asyncio.sleep(0.001)
        took = loop_time() - began
        for response in slow.responses.values():
            if not response.done():
                response.set_result("seen")
        await asyncio.gather(*polls)
        return took

    assert run(main, max_rps=1000.0) >= 0.045


@pytest.mark.usefixtures("one_slot")
def test_immediate_poll_takes_a_slot() -> None:
    """It does not queue for the budget, but it needs a connection."""

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> Any:
        polls = [asyncio.ensure_future(client.get_task_immediately(name, timeout=10.0)) for name in "ab"]
        await settle()
        before = slow.polled.copy()
        slow.responses["a"].set_result("seen a")
        await settle()
        slow.responses["b"].set_result("seen b")
        return before, await asyncio.gather(*polls)

    assert run(main) == (["a"], ["seen a", "seen b"])


def test_acknowledged_task_is_returned() -> None:
    """The request does not queue."""

    async def main(client: Any, _slow: SlowClient, _limiter: RateLimiter) -> Any:
        return await client.acknowledge("a", timeout=1.0)

    assert run(main) == "acknowledged a"


def test_listing_does_not_queue_but_counts() -> None:
    """Later polls are delayed for it, and it counts when throttling needs to know how many requests were sent."""

    async def main(client: Any, _slow: SlowClient, limiter: RateLimiter) -> Any:
        past = await client.list_history("create_vm", limit=100, timeout=1.0)
        for _ in range(9):
            await client.list_active(limit=1, offset=0, timeout=1.0)
        now = loop_time()
        return past, limiter.reserve(now, 10.0) - now, limiter._recent

    past, pause, sent = run(main, max_rps=10.0)
    assert (past, pause, sent) == ("history of create_vm", pytest.approx(0.9), 10)


THROTTLED = {
    "429 without a time": (ApiUnavailableError("slowly", status=429), True),
    "503 with a time, which holds for listings alone": (ApiUnavailableError("later", status=503, retry_after=9.0), False),
    "503": (ApiUnavailableError("later", status=503), False),
}


@pytest.mark.parametrize(("error", "slows_polls"), THROTTLED.values(), ids=THROTTLED)
@pytest.mark.parametrize("request_name", ["list_active", "list_history", "list_tasks"])
def test_throttled_listing_slows_the_polls(request_name: str, error: ApiUnavailableError, slows_polls: bool) -> None:
    """Whichever listing it is, its error is raised too."""

    async def fail(*_: object, **__: object) -> None:
        raise error

    async def main(client: Any, slow: Any, limiter: RateLimiter) -> bool:
        setattr(slow, request_name, fail)
        arguments: dict[str, dict[str, Any]] = {"list_active": {"offset": 0}, "list_history": {"task_type": "create_vm"}}
        chosen = arguments.get(request_name, {"chosen": None, "offset": 0})
        told: list[float] = []
        limiter.on_throttled = lambda *_: told.append(1.0)  # type: ignore[method-assign]
        with pytest.raises(ApiUnavailableError) as caught:
            await getattr(client, request_name)(limit=1, timeout=1.0, **chosen)
        assert caught.value is error
        return bool(told)

    assert run(main) == slows_polls


def test_listing_waits_while_the_server_blocks() -> None:
    """It stands for many polls, but the server has asked for no requests."""

    async def main(client: Any, _: SlowClient, limiter: RateLimiter) -> float:
        now = loop_time()
        limiter.on_throttled(now, inf, 0.05)
        sent_at: float = await client.list_active(limit=1, offset=0, timeout=1.0)
        return sent_at - now

    assert run(main) >= 0.05


@pytest.mark.usefixtures("one_slot")
def test_trio_has_no_slots() -> None:
    """Under trio each wait is independent of the others."""
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


def test_polls_that_waited_for_a_slot_are_as_far_apart_as_the_budget_says() -> None:
    """The first is sent immediately."""

    async def main(client: Any, _: SlowClient, __: RateLimiter) -> list[float]:
        return [client._pause_after_slot() for _ in range(4)]

    assert run(main, max_rps=10.0) == pytest.approx([0.0, 0.1, 0.2, 0.3])


@pytest.mark.usefixtures("one_slot")
def test_poll_that_queues_again_says_how_long_it_was_queued_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """First for its turn, then, because the server blocked requests while it waited for a slot, for another one."""

    async def main(client: Any, slow: SlowClient, limiter: RateLimiter) -> Delay:
        first = poll(client, "a")
        await settle()
        turns = iter([Delay(queued=2.0)])

        async def take_turn(_: QueueLimits) -> Delay:
            if turn := next(turns, None):
                return turn
            message = "not polled"
            raise RateLimitTimeoutError(message, Delay(queued=3.0))

        monkeypatch.setattr(client, "_wait_for_turn", take_turn)
        second = poll(client, "b")
        await settle()
        limiter.on_throttled(loop_time(), inf, 60.0)
        slow.responses["a"].set_result("seen a")
        await first
        with pytest.raises(RateLimitTimeoutError) as caught:
            await second
        return caught.value.delay

    assert run(main) == Delay(queued=5.0)


def test_listing_of_tasks_counts() -> None:
    """It does not queue; the requests after it do."""

    async def answer(*_: object, **__: object) -> None: ...

    async def main(client: Any, slow: Any, limiter: RateLimiter) -> float:
        slow.list_tasks = answer
        for _ in range(10):
            await client.list_tasks(None, limit=1, offset=0, timeout=1.0)
        return limiter._recent

    assert run(main, max_rps=10.0) == 10


def test_no_more_than_256_polls_are_under_way() -> None:
    """The message of one that gets no slot says this number."""

    async def main(client: Any, slow: SlowClient, _: RateLimiter) -> int:
        polls = [poll(client, f"t-{place}") for place in range(300)]
        for _turn in range(5):
            await settle()
        for one in polls:
            one.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
        return len(slow.polled)

    assert run(main) == 256
