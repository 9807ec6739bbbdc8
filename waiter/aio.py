"""The awaited driver, for any number of waits together, and its public functions: ``await waiter.aio.wait_for_task(...)``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from tenacity import AsyncRetrying, DoSleep, Retrying

from waiter.api.listings import TaskListing
from waiter.api.requests import ACTIVE_STATES, TaskFilter
from waiter.batch.completion import outcomes_as_completed
from waiter.batch.listing_poller import ListingPoller
from waiter.batch.subscription import Subscription
from waiter.config.options import Limits, Options
from waiter.config.settings import hide_key
from waiter.config.task_filter import DEFAULT_LIMIT, check_limit, resolve_filter
from waiter.config.task_ids import TaskRef, all_task_ids, task_ids
from waiter.errors import ApiError, ConfigurationError
from waiter.http.async_client import AsyncClient
from waiter.http.async_pool import runs_under_asyncio
from waiter.outcome import Outcome, OutcomeCollector, ReturnWhen
from waiter.polling.history_cache import LISTED
from waiter.polling.limits import MAX_REQUEST_TIMEOUT
from waiter.polling.tenacity_hooks import HOOKS
from waiter.ratelimit.limited_client import RateLimitedClient, TaskClient
from waiter.session import Session
from waiter.task import CreatedResources
from waiter.timing import EPSILON

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.polling.resource_state import ResourceSnapshot, ResourceWaitState
    from waiter.polling.wait_state import WaitState
    from waiter.task import Task, TaskSnapshot

__all__ = ["AsyncWaiter", "acknowledge", "list_tasks", "wait_for_task", "wait_for_tasks"]


class _Pause(DoSleep):
    """The seconds until the next poll, and the subscription whose listing may end the pause early."""

    subscription: Subscription | None


class _AsyncRetrying(AsyncRetrying):
    """tenacity's awaited loop with the hooks of the blocking one, for all waits of one waiter.

    The hooks await nothing, and wrapping each as if it did would take three quarters of the time of an iteration. An object
    for each of ten thousand waits would take 40 MB. The subscription is the second argument of the retried function.
    """

    def __init__(self, sleep: Callable[[_Pause], Awaitable[None]]) -> None:
        super().__init__(sleep=cast("Callable[[float], Awaitable[None]]", sleep))
        self._blocking = Retrying(**HOOKS)

    def begin(self) -> None:
        self._blocking.begin()

    async def iter(self, retry_state: RetryCallState) -> Any:  # noqa: ANN401 - tenacity's signature
        action = self._blocking.iter(retry_state)
        if not isinstance(action, DoSleep):
            return action
        pause = _Pause(action)
        pause.subscription = retry_state.args[1]
        return pause


class AsyncWaiter:
    """Like Waiter, awaited.

    All of its waits share connections, one request budget and, where it costs less, one listing instead of many polls.
    ``wait`` and ``status`` run under trio too, each for one task; ``wait_all`` and ``as_completed`` need asyncio.
    Several callers may share one: ``async with`` closes it when the last of them leaves.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._open(Session.open(options), None)

    @classmethod
    def from_session(cls, session: Session, client: TaskClient | None = None) -> Self:
        """Return a waiter of an existing session, over a client that is not waiter's own. For packages inside waiter."""
        waiter = cls.__new__(cls)
        waiter._open(session, client)  # noqa: SLF001 - of this class
        return waiter

    def _open(self, session: Session, client: TaskClient | None) -> None:
        settings = session.settings
        self._session = session
        self._unlimited_client = client or AsyncClient(settings)
        self._client = RateLimitedClient(self._unlimited_client, session.budget, settings)
        self._listing_poller = ListingPoller(self._client, self._poll_task, settings.sleep, settings.clock, settings.max_rps)
        self._retrying = _AsyncRetrying(self._sleep)
        self._entered = 0

    async def wait(self, task_id: TaskRef, **limits: Unpack[Limits]) -> Task:
        """Like Waiter.wait, awaited."""
        with self._session.new_wait(task_id, limits) as state:
            subscription = self._listing_poller.subscribe(state) if self._can_list else None
            try:
                task = state.result(await self._retrying(self._poll, state, subscription))
            finally:
                if subscription is not None:
                    self._listing_poller.unsubscribe(subscription)
            if state.awaits_resources and (resources := state.resource_state()) is not None:
                with resources.explained_errors():
                    await self._retrying(self._poll_resource, resources, None)
                resources.check_result()
            return task

    @cached_property
    def _can_list(self) -> bool:
        """Whether listings can serve the waits: under asyncio, but not under trio."""
        return runs_under_asyncio()

    def _sleep(self, pause: _Pause) -> Awaitable[None]:
        return self._client.sleep(pause) if pause.subscription is None else pause.subscription.sleep(pause)

    async def _poll(self, state: WaitState, subscription: Subscription | None) -> TaskSnapshot:
        """Poll the task once, or record what the listing of past tasks shows in place of a poll.

        The polls of an old task may be far apart, and so are those of any task where there are so many waits that listings of
        active tasks extend their sleep: there the listing of past tasks follows a poll.
        """
        is_shared = subscription is not None and self._listing_poller.may_list
        if not (is_shared or state.is_old) and (shown := await self._fetch_history(state)) is not None:
            return state.record_snapshot(shown)
        if subscription is None:
            response = await self._poll_task(state)
        else:
            response = await self._listing_poller.poll(subscription)
        snapshot = state.record_snapshot(response)
        if is_shared or state.is_old:
            await self._fetch_history(state)
        return snapshot

    async def _fetch_history(self, state: WaitState) -> TaskSnapshot | None:
        """Fetch the history of the task's type if this wait should, and return the task if the listing shows it as active."""
        if state.task is None or self._session.budget.blocked_for > EPSILON or (task_type := state.claim_history()) is None:
            return None
        try:
            past = await self._client.list_history(task_type, limit=LISTED, timeout=state.history_timeout)
        except ApiError as error:
            state.record_history_failure(error)
            return None
        return state.record_history(past)

    async def _poll_task(self, state: WaitState) -> TaskSnapshot:
        """Poll the task's own endpoint when the budget allows it. Raises ApiError."""
        async with self._client.slot(state.queue_limits) as delay:
            state.record_delay(delay)
            return await self._unlimited_client.get_task(state.task_id, timeout=state.request_timeout)

    async def _poll_resource(self, state: ResourceWaitState, _: None) -> ResourceSnapshot:
        """Poll a created resource when the budget allows it. Raises ApiError."""
        async with self._client.slot(state.queue_limits) as delay:
            state.record_delay(delay)
            resource = await self._unlimited_client.get_resource(state.target, timeout=state.request_timeout)
        return state.record_snapshot(resource)

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
        self._session.check_open()
        if not self._can_list:
            message = "several tasks together need asyncio: elsewhere, await wait() for each of them"
            raise ConfigurationError(message)
        return outcomes_as_completed(self.wait, ids)

    async def status(self, task_id: TaskRef) -> Task:
        """Like Waiter.status, awaited."""
        return (await self.snapshot(task_id)).task

    async def snapshot(self, task_id: TaskRef) -> TaskSnapshot:
        """Like Waiter.snapshot, awaited."""
        state = self._session.new_wait(task_id)
        return await self._client.get_task_immediately(state.task_id, timeout=state.request_timeout)

    async def acknowledge(self, task_id: TaskRef) -> Task:
        """Like Waiter.acknowledge, awaited."""
        state = self._session.new_wait(task_id)
        return await self._client.acknowledge(state.task_id, timeout=state.request_timeout)

    async def list_tasks(
        self,
        *,
        state: str | Iterable[str] = ACTIVE_STATES,
        project_id: int | Iterable[int] | None = None,
        region_id: int | Iterable[int] | None = None,
        task_type: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> list[Task]:
        """Like Waiter.list_tasks, awaited."""
        chosen = resolve_filter(state, project_id, region_id, task_type)
        check_limit(limit)
        return [snapshot.task for snapshot in await self.list_snapshots(chosen, limit)]

    async def list_snapshots(self, chosen: TaskFilter, limit: int = DEFAULT_LIMIT) -> list[TaskSnapshot]:
        """Like Waiter.list_snapshots, awaited."""
        self._session.check_open()
        listing = TaskListing(limit)
        while not listing.is_complete:
            page = await self._client.list_tasks(
                chosen, limit=listing.page_size, offset=listing.offset, timeout=MAX_REQUEST_TIMEOUT
            )
            listing.add(page)
        return [snapshot for snapshot in listing.snapshots if chosen.selects(snapshot.task)]

    async def close(self) -> None:
        """Like Waiter.close, awaited."""
        self._session.close()
        await self._listing_poller.close()
        await self._client.close()

    async def __aenter__(self) -> Self:
        self._session.check_open()
        self._entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered:
            await self.close()


async def wait_for_task(task_id: TaskRef, **options: Unpack[Options]) -> CreatedResources:
    """Like waiter.wait_for_task, awaited."""
    hide_key(options)
    ids = task_ids(task_id)
    if not ids:
        return CreatedResources()
    async with AsyncWaiter(**options) as waiter:
        tasks = [await waiter.wait(one) for one in ids] if len(ids) == 1 else (await waiter.wait_all(ids)).values()
    return CreatedResources.merge(task.created_resources for task in tasks)


async def wait_for_tasks(task_ids: Iterable[TaskRef] | TaskRef, **options: Unpack[Options]) -> dict[str, CreatedResources]:
    """Like waiter.wait_for_tasks, awaited."""
    hide_key(options)
    ids = all_task_ids(task_ids)
    if not ids:
        return {}
    async with AsyncWaiter(**options) as waiter:
        return {task_id: task.created_resources for task_id, task in (await waiter.wait_all(ids)).items()}


async def acknowledge(task_id: TaskRef, **options: Unpack[Options]) -> Task:
    """Like waiter.acknowledge, awaited."""
    async with AsyncWaiter(**options) as waiter:
        return await waiter.acknowledge(task_id)


async def list_tasks(
    *,
    state: str | Iterable[str] = ACTIVE_STATES,
    project_id: int | Iterable[int] | None = None,
    region_id: int | Iterable[int] | None = None,
    task_type: str | None = None,
    limit: int = DEFAULT_LIMIT,
    **options: Unpack[Options],
) -> list[Task]:
    """Like waiter.list_tasks, awaited."""
    hide_key(options)
    async with AsyncWaiter(**options) as waiter:
        return await waiter.list_tasks(
            state=state, project_id=project_id, region_id=region_id, task_type=task_type, limit=limit
        )
