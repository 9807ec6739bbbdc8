"""The parts of a crowd, where the tests of the whole do not reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
from tenacity import wait_fixed

from waiter import AsyncWaiter, AuthenticationError, ConfigurationError, Waiter, aio
from waiter.api.responses import Active, ActivePage
from waiter.batch.listing_poller import ListingPoller
from waiter.batch.subscription import Subscription
from waiter.batch.timer import InterruptibleTimer
from waiter.polling.wait_state import WaitState
from waiter.task import Task, TaskSnapshot, TaskState, decode_task
from waiter.testing import SimulatedCloud, ended, finishes, status


def test_a_rest_ends_by_itself_or_is_ended() -> None:
    """On the event loop's own time."""

    async def main() -> list[bool]:
        alarm, loop = InterruptibleTimer(None), asyncio.get_running_loop()
        alarm.wake()
        began = loop.time()
        await alarm.rest(0.01)
        alarm.wake()
        loop.call_soon(alarm.wake)
        await alarm.rest(60)
        rest = alarm.rest(60)
        states = [alarm.is_resting]
        alarm.reset(0)
        await rest
        alarm.stop()
        return [*states, alarm.is_resting, loop.time() - began < 5]

    assert asyncio.run(main()) == [True, False, True]


def test_a_rest_that_gets_longer() -> None:
    """When it is over, it may not be."""
    more = [0.01, 0.0]

    class Longer(InterruptibleTimer):
        def more(self) -> float:
            return more.pop(0)

    async def main() -> None:
        await Longer(None).rest(0)

    asyncio.run(main())
    assert more == []


def test_a_timer_that_is_late() -> None:
    """Nobody rests any more, and nobody is asked whether to."""
    asked: list[InterruptibleTimer] = []

    class Asked(InterruptibleTimer):
        def more(self) -> float:
            asked.append(self)
            return 0.0

    async def main() -> None:
        alarm = Asked(None)
        rest = alarm.rest(0)
        alarm.wake()
        await rest
        await asyncio.sleep(0.005)

    asyncio.run(main())
    assert asked == []


def test_a_sleep_that_fails() -> None:
    """Its error is the sleeper's."""

    async def sleep(_: float) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        await InterruptibleTimer(sleep).rest(1)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_a_slow_page_is_no_news() -> None:
    """Its listing began before the wait's own last look, and says nothing of the time since."""

    async def main() -> list[bool]:
        clock = asyncio.get_running_loop().time
        subscription = Subscription(plan_of("RUNNING"), None, clock)
        began = clock()
        await asyncio.sleep(0.01)
        subscription.sleep(60)
        heard = [subscription.is_shown(Active("t-0", "NEW"), at) for at in (began, clock())]
        missed = [subscription.is_missed(at, is_whole=True) for at in (began, clock())]
        subscription.tell(b"{}", began)
        heard.append(subscription.is_resting)
        subscription.wake()
        subscription.tell(b"{}", clock())
        heard.append(subscription.news is None)
        subscription.stop()
        return heard + missed

    assert asyncio.run(main()) == [False, True, True, True, False, True]


def test_what_listings_show_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait rests for as long as listings show its task, up to its deadline, and goes on when they end."""
    now = [100.0]

    async def main() -> list[float]:
        subscription = Subscription(plan_of("RUNNING", until=150.0), None, lambda: now[0])
        subscription.sleep(20)
        rests = [subscription.more()]
        subscription.is_shown(Active("t-0", "RUNNING"), 115.0)
        now[0] = 120.0
        rests.append(subscription.more())
        with monkeypatch.context() as patch:
            patch.setattr(Subscription, "reset", lambda _, seconds: rests.append(seconds))
            for now[0] in (125.0, 126.0):
                subscription.recall()
        subscription.stop()
        return rests

    assert asyncio.run(main()) == [0.0, 30.0, 10.0]


Looks = tuple[ListingPoller, list[asyncio.Task[Any]], list[str]]


def looks_of(count: int, listing: Callable[..., Any], state: TaskState = TaskState.NEW) -> Looks:
    """First looks at so many tasks at once: the crowd, the looks, and who has been asked for singly."""
    asked: list[str] = []

    async def ask(plan: WaitState) -> TaskSnapshot:
        asked.append(plan.task_id)
        return TaskSnapshot(Task(id=plan.task_id, state=state))

    client: Any = SimpleNamespace(ask=ask, list_active=listing, read=lambda body: TaskSnapshot(decode_task(body)))
    crowd = ListingPoller(client, None, asyncio.get_running_loop().time, max_rps=100.0)
    plans: Any = [
        SimpleNamespace(task_id=f"t-{place}", task=None, time_left=60.0, request_timeout=60.0) for place in range(count)
    ]
    return crowd, [asyncio.ensure_future(crowd.look(crowd.enter(plan))) for plan in plans], asked


def test_the_end_of_listings_lets_everybody_go() -> None:
    """Who waits for one looks for himself."""

    async def main() -> tuple[int, int]:
        crowd, looks, asked = looks_of(60, lambda **_: asyncio.sleep(60))
        await asyncio.sleep(0.01)
        before = len(asked)
        await crowd.close()
        await asyncio.gather(*looks)
        return before, len(asked)

    assert asyncio.run(main()) == (0, 60)


def test_thousands_wake_without_a_standstill() -> None:
    """The loop turns in between."""
    said = {"count": 1000, "results": [{"id": f"t-{place}", "state": "NEW"} for place in range(1000)]}

    async def listing(**_: float) -> ActivePage:
        return ActivePage(msgspec.json.encode(said))

    async def main() -> tuple[int, list[str]]:
        crowd, looks, asked = looks_of(1000, listing)
        turns = [0]
        while turns[-1] < 1000:
            await asyncio.sleep(0)
            turns.append(sum(look.done() for look in looks))
        await crowd.close()
        return max(later - earlier for earlier, later in pairwise(turns)), asked

    most, asked = asyncio.run(main())
    assert (0 < most <= 100, asked) == (True, [])


def test_a_last_look_is_at_the_task_itself() -> None:
    """Whatever a listing has just shown."""

    async def main() -> list[str]:
        crowd, looks, asked = looks_of(0, lambda **_: asyncio.sleep(60), TaskState.FINISHED)
        plan: Any = SimpleNamespace(task_id="t-0", task=Task(id="t-0", state=TaskState.NEW), time_left=0.0)
        subscription = crowd.enter(plan)
        subscription.news = b'{"id": "t-0", "state": "RUNNING"}'

        snapshot = await crowd.look(subscription)
        return [*asked, snapshot.task.state, *map(str, looks)]

    assert asyncio.run(main()) == ["t-0", "FINISHED"]


def plan_of(state: str, until: float = inf) -> Any:
    task = Active("t-0", state)
    return SimpleNamespace(task_id="t-0", task=task, may_do_without_until=until, gap_by_now=lambda gap: gap)


def test_what_cannot_be_read_is_not_taken() -> None:
    """The wait looks for itself."""

    def read(_: bytes) -> Any:
        raise ValueError

    subscription = Subscription(plan_of("RUNNING"), None, lambda: 0.0)
    subscription.news = b"{"
    assert [subscription.take(read), subscription.take(read)] == [(True, None), (False, None)]


@pytest.mark.parametrize(("second", "is_news"), [(0, False), (1, True)])
def test_what_changed_in_the_same_second_is_no_news(second: int, is_news: bool) -> None:
    """The listing may be older than what the wait has seen itself."""
    at = datetime(2026, 7, 1, tzinfo=UTC)
    known = Task(id="t-0", state=TaskState.RUNNING, detailed_state="B", updated_on=at)
    subscription = Subscription(SimpleNamespace(task_id="t-0", task=known), None, lambda: 0.0)  # type: ignore[arg-type]
    subscription.news = b"{}"
    shown = TaskSnapshot(msgspec.structs.replace(known, detailed_state="A", updated_on=at + timedelta(seconds=second)))
    assert subscription.take(lambda _: shown) == (True, shown if is_news else None)


def test_a_blocking_crowd(cloud: SimulatedCloud) -> None:
    """A blocking client of one's own is asked for listings and for past durations too."""
    cloud.add_past("create_vm", [60.0] * 20)
    ids = [cloud.add(finishes(60)) for _ in range(60)]
    with Waiter(**cloud.options) as waiter:
        assert list(waiter.wait_all(ids)) == ids
    paths = " ".join(request.path for request in cloud.requests)
    assert ("task_type=create_vm" in paths, "state=NEW" in paths) == (True, True)


def test_a_listing_is_quiet_too(cloud: SimulatedCloud) -> None:
    """A refusal for one task holds back the listing of all."""
    ids = [cloud.add(finishes(60 if place else 20)) for place in range(40)]
    cloud.fault(status(429, 7), task=ids[0])
    events: list[Any] = []

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, wait=wait_fixed(3), on_event=events.append) as waiter:
            await waiter.wait_all(ids)

    asyncio.run(main())
    refused_at = next(request.at for request in cloud.requests if request.status == 429)
    assert not [request for request in cloud.requests if refused_at + 0.01 < request.at < refused_at + 6.9]


def test_a_blocking_wait_keeps_to_the_budget(cloud: SimulatedCloud) -> None:
    """One wait alone, too."""
    with Waiter(**cloud.options, max_rps=0.2, learn=False) as waiter:
        waiter.wait(cloud.add(finishes(20)))
    gaps = [later.at - earlier.at for earlier, later in pairwise(cloud.requests)]
    assert (min(gaps) > 4.8, len(gaps) >= 4) == (True, True)


def test_a_key_that_is_refused() -> None:
    """It is not sent twice."""
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url, pytest.raises(AuthenticationError):
        asyncio.run(aio.wait_for_task("t-1", api_key="wrong", base_url=url))
    assert [request.status for request in cloud.requests] == [401]


def test_one_look() -> None:
    """Whatever the state."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(finishes(30), watched=False)

    async def main() -> str:
        async with AsyncWaiter(**cloud.async_options) as waiter:
            return str((await waiter.status(task_id)).state)

    assert asyncio.run(main()) == "RUNNING"


@pytest.mark.parametrize("max_rps", [0, -1, "many", True])
def test_max_rps_is_checked(max_rps: Any) -> None:
    """A number of requests per second."""
    with pytest.raises(ConfigurationError, match="max_rps must be requests per second, more than 0, not"):
        AsyncWaiter(api_key="k", max_rps=max_rps)


def test_a_key_that_was_rotated(tmp_path: Path) -> None:
    """A key file is read again after a 401, on kept connections too."""
    cloud = SimulatedCloud()
    task_id = cloud.add(ended({"instances": ["i-1"]}))
    file = tmp_path / "key"
    file.write_text(cloud.api_key)
    with cloud.serve() as url:

        async def main() -> Any:
            async with AsyncWaiter(api_key=file, base_url=url) as waiter:
                waiter._settings.api_key._token = "an-old-one"
                return (await waiter.wait(task_id)).created_resources.instances

        assert asyncio.run(main()) == ("i-1",)


def test_trio_over_real_http() -> None:
    """Without asyncio, httpx has the connections, and each wait looks by itself."""
    cloud = SimulatedCloud()
    task_id = cloud.add(finishes(0.1, {"instances": ["i-1"]}))

    with cloud.serve() as url:

        async def main() -> Any:
            options: Any = {"api_key": cloud.api_key, "base_url": url, "wait": wait_fixed(0.2)}
            return (await aio.wait_for_task(task_id, **options)).instances

        assert trio.run(main) == ("i-1",)
