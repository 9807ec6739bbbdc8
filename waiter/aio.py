"""The awaited driver, for any number of waits at once, and the same doors: ``await waiter.aio.wait_for_task(...)``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec
from tenacity import AsyncRetrying, Retrying

from waiter.batch.completion import SharedSleep, outcomes_as_completed, run_in_thread, run_inline
from waiter.batch.listing_poller import ListingPoller
from waiter.batch.subscription import Subscription
from waiter.config.settings import Limits, Options, resolve
from waiter.config.task_ids import TaskRef, all_task_ids, task_ids
from waiter.errors import ApiError, ConfigurationError
from waiter.http.client import AsyncClient, Client, ThreadedClient
from waiter.http.connection_pool import runs_under_asyncio
from waiter.outcome import Outcome, OutcomeCollector, ReturnWhen
from waiter.polling.tenacity_hooks import HOOKS
from waiter.polling.wait_state import WaitState
from waiter.ratelimit.limited_client import RateLimitedClient
from waiter.session import Base
from waiter.task import CreatedResources

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.config.settings import Settings
    from waiter.task import Task, TaskSnapshot

__all__ = ["AsyncWaiter", "wait_for_task", "wait_for_tasks"]


class _Loop(AsyncRetrying):
    """tenacity's loop, awaited, for all waits at once.

    It asks its questions as the blocking loop does: a plan answers without awaiting anything, and wrapping each answer as if it
    did takes three quarters of a step's time. One object serves all waits, because ten thousand of them weigh 40 MB.
    """

    def __init__(self, sleep: Callable[[float, Subscription | None], Awaitable[None]]) -> None:
        # tenacity sleeps at once when iter tells it to, so that the seat is still that of the same wait.
        super().__init__(sleep=lambda seconds: sleep(seconds, self._subscription))
        self._subscription: Subscription | None = None
        self._blocking = Retrying(**HOOKS)

    def begin(self) -> None:
        self._blocking.begin()

    async def iter(self, retry_state: RetryCallState) -> Any:  # noqa: ANN401 - tenacity's signature
        self._subscription = retry_state.args[1]
        return self._blocking.iter(retry_state)


class AsyncWaiter(Base):
    """Like Waiter, awaited.

    All of its waits share one set of connections, one budget of requests and, where it costs less, one listing for many looks.
    ``wait`` and ``status`` run under trio too, each by itself; ``wait_all`` and ``as_completed`` need asyncio.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        settings = resolve(options)
        super().__init__(settings)
        self._take_up(self._connect(settings))

    def _connect(self, settings: Settings) -> AsyncClient:
        """Give the client; whoever wants to measure it gives one of his own kind."""
        return AsyncClient(settings)

    def _take_up(self, client: AsyncClient | ThreadedClient) -> None:
        self._client = RateLimitedClient(client, self._budget, self._settings)
        self._listing_poller = ListingPoller(self._client, self._settings.sleep, self._settings.clock, self._settings.max_rps)
        self._loop = _Loop(self._rest)

    @classmethod
    async def _in_the_place_of(cls, waiter: Base, client: Client, ids: Sequence[str]) -> AsyncGenerator[list[Outcome], None]:
        """Wait as a blocking waiter would, were it not for the event loop that it takes."""
        settings, run = waiter._settings, run_in_thread  # noqa: SLF001 - its twin
        if settings.sleep:
            run = run_inline
            settings = msgspec.structs.replace(settings, sleep=SharedSleep(settings.sleep, settings.clock))
        twin = cls.__new__(cls)
        Base.__init__(twin, settings, waiter._history_cache, waiter._budget.limiter)  # noqa: SLF001
        twin._take_up(ThreadedClient(client, run) if settings.client else AsyncClient(settings))  # noqa: SLF001
        async with twin, aclosing(twin._outcomes(ids)) as batches:  # noqa: SLF001
            async for batch in batches:
                yield batch

    async def wait(self, task_id: TaskRef, **limits: Unpack[Limits]) -> Task:
        """Like Waiter.wait, awaited."""
        with self._plan(task_id, limits) as plan:
            subscription = self._listing_poller.subscribe(plan) if runs_under_asyncio() else None
            try:
                return plan.conclude(await self._loop(self._look, plan, subscription))
            finally:
                if subscription is not None:
                    self._listing_poller.unsubscribe(subscription)

    def _rest(self, seconds: float, subscription: Subscription | None) -> Awaitable[None]:
        return self._client.sleep(seconds) if subscription is None else subscription.sleep(seconds)

    async def _look(self, plan: WaitState, subscription: Subscription | None) -> TaskSnapshot:
        snapshot = plan.saw(await (self._client.ask(plan) if subscription is None else self._listing_poller.poll(subscription)))
        if (task_type := plan.claim_past()) is not None:
            try:
                plan.learn(await self._client.list_past(task_type, timeout=plan.listing_timeout))
            except ApiError as error:
                plan.cannot_learn(error)
        return snapshot

    async def wait_all(
        self, task_ids: Iterable[TaskRef] | TaskRef, *, return_when: str = ReturnWhen.ALL_COMPLETED
    ) -> dict[str, Task]:
        """Like Waiter.wait_all, awaited."""
        collector = OutcomeCollector(all_task_ids(task_ids), return_when)
        async with aclosing(self._outcomes(collector.task_ids)) as batches:
            while not collector.is_over:
                collector.add(await anext(batches))
        return collector.result()

    async def as_completed(self, task_ids: Iterable[TaskRef] | TaskRef) -> AsyncGenerator[Outcome, None]:
        """Like Waiter.as_completed, awaited; ``on_event`` is called in the event loop's thread."""
        async with aclosing(self._outcomes(all_task_ids(task_ids))) as batches:
            async for batch in batches:
                for outcome in batch:
                    yield outcome

    def _outcomes(self, ids: Sequence[str]) -> AsyncGenerator[list[Outcome], None]:
        if not runs_under_asyncio():
            message = "several tasks at once need asyncio: elsewhere, await wait() for each of them"
            raise ConfigurationError(message)
        return outcomes_as_completed(self.wait, ids)

    async def status(self, task_id: TaskRef) -> Task:
        """Like Waiter.status, awaited."""
        plan = self._plan(task_id)
        return (await self._client.ask_now(plan)).task

    async def close(self) -> None:
        """Like Waiter.close, awaited."""
        await self._listing_poller.close()
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def wait_for_task(task_id: TaskRef, **options: Unpack[Options]) -> CreatedResources:
    """Like waiter.wait_for_task, awaited."""
    ids = task_ids(task_id)
    if not ids:
        return CreatedResources()
    async with AsyncWaiter(**options) as waiter:
        tasks = [await waiter.wait(one) for one in ids] if len(ids) == 1 else (await waiter.wait_all(ids)).values()
    return CreatedResources.merge(task.created_resources for task in tasks)


async def wait_for_tasks(task_ids: Iterable[TaskRef] | TaskRef, **options: Unpack[Options]) -> dict[str, CreatedResources]:
    """Like waiter.wait_for_tasks, awaited."""
    ids = all_task_ids(task_ids)
    if not ids:
        return {}
    async with AsyncWaiter(**options) as waiter:
        return {task_id: task.created_resources for task_id, task in (await waiter.wait_all(ids)).items()}
