"""The blocking driver and its public functions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from tenacity import Retrying

from waiter.api.listings import TaskListing
from waiter.api.requests import ACTIVE_STATES, TaskFilter
from waiter.config.options import Limits, Options
from waiter.config.settings import hide_key
from waiter.config.task_filter import DEFAULT_LIMIT, check_limit, resolve_filter
from waiter.config.task_ids import TaskRef, all_task_ids, task_ids
from waiter.errors import ApiError, WaiterError, note_interruption
from waiter.http.client import Client
from waiter.outcome import Outcome, OutcomeCollector, ReturnWhen
from waiter.polling.history_cache import LISTED
from waiter.polling.limits import MAX_REQUEST_TIMEOUT, REQUEST_TIMEOUT
from waiter.polling.tenacity_hooks import HOOKS
from waiter.polling.wait_state import WaitState
from waiter.session import Session
from waiter.task import CreatedResources
from waiter.timing import EPSILON

if TYPE_CHECKING:
    from waiter.api.resources import Check, Resource
    from waiter.polling.listing_state import ListingState
    from waiter.polling.resource_state import ResourceWaitState
    from waiter.task import Task, TaskSnapshot


class Waiter:
    """Wait for tasks over kept connections; a context manager, and safe to share between threads.

    Several tasks together are awaited on an event loop in the background, with its own connections for each call.

    >>> with Waiter(timeout=600) as waiter:  # doctest: +SKIP
    ...     task = waiter.wait("26986bc0-748a-4448-b836-0a2aa465eb06")

    The arguments are those of :class:`waiter.Options`. Raises ConfigurationError with every problem in them.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._session = Session.open(options)
        self._client = Client(self._session.settings)
        self._sleep = self._session.settings.sleep or Retrying().sleep

    def wait(self, task_id: TaskRef, **limits: Unpack[Limits]) -> Task:
        """Wait until the task is FINISHED and return it, with its ``created_resources``.

        The ``limits`` apply to this wait alone: ``timeout``, ``max_outage``, ``stall_timeout`` and ``ready``.

        Raises TaskError when it ended in ERROR, ResourceError when a resource that it created failed, TaskTimeoutError,
        TaskStalledError, or the ApiError that ended the wait.
        """
        with self._session.new_wait(task_id, limits) as state:
            retrying = Retrying(**HOOKS, sleep=self._sleep)
            task = state.result(retrying(self._poll_task, state))
            if state.awaits_resources and (resources := state.resource_state()) is not None:
                with resources.explained_errors():
                    retrying(self._poll, resources, self._client.get_resource)
                resources.check_result()
            return task

    def resource_path(self, path: str) -> str:
        """Return the path of the API that ``until`` requests for this text. For the command. Raises ConfigurationError."""
        from waiter.config.resource_path import resource_path  # noqa: PLC0415 - a wait for a task does not need it

        return resource_path(path, self._session.settings.base_url)

    def resource(self, path: str) -> Resource:
        """Return the resource at a path of ``resource_path``, with one request. For the command. Raises ApiError."""
        from waiter.api.resources import ResourceKind, Target  # noqa: PLC0415 - a wait for a task does not need it

        self._session.check_open()
        return self._client.get_resource(Target(path, ResourceKind(path), path), timeout=REQUEST_TIMEOUT)

    def until(self, path: str, check: Check) -> Resource:
        """Wait until the resource at a path of the API fulfils a condition, and return it; None when it is gone.

        For the command; the path is that of ``resource_path``. Raises ResourceError when the resource has failed,
        TaskTimeoutError, or the ApiError that ended the wait.
        """
        with self._session.new_resource_wait(path, check) as state:
            snapshot = Retrying(**HOOKS, sleep=self._sleep)(self._poll, state, self._client.get_resource)
            state.check_result()
        return cast("Resource", snapshot.resource)

    def _poll_task(self, state: WaitState) -> TaskSnapshot:
        """Poll the task once, or record what the listing of past tasks shows in place of a poll.

        The polls of an old task may be far apart: there the listing follows a poll.
        """
        if not state.is_old and (shown := self._fetch_history(state)) is not None:
            return state.record_snapshot(shown)
        snapshot = self._poll(state, self._client.get_task)
        if state.is_old:
            self._fetch_history(state)
        return cast("TaskSnapshot", snapshot)

    def _poll(self, state: WaitState | ResourceWaitState, fetch: Callable[..., Any]) -> Any:  # noqa: ANN401 - what the state records
        """Poll once when the budget allows it; ``fetch`` is the method of the client for what is polled."""
        budget = self._session.budget
        with budget.reserve(state.queue_limits) as reservation:
            while (pause := reservation.next_pause()) > 0:
                self._sleep(pause)
        state.record_delay(reservation.delay)
        try:
            response = fetch(state.target, timeout=state.request_timeout)
        except ApiError as error:
            budget.report_throttling(error)
            raise
        return state.record_snapshot(response)

    def _fetch_history(self, state: WaitState) -> TaskSnapshot | None:
        """Fetch the history of the task's type if this wait should, and return the task if the listing shows it as active."""
        budget = self._session.budget
        if state.task is None or budget.blocked_for > EPSILON or (task_type := state.claim_history()) is None:
            return None
        budget.reserve_immediately()
        try:
            past = self._client.list_history(task_type, limit=LISTED, timeout=state.history_timeout)
        except ApiError as error:
            budget.report_throttling(error, listing=True)
            state.record_history_failure(error)
            return None
        return state.record_history(past)

    def wait_all(
        self, task_ids: Iterable[TaskRef] | TaskRef, *, return_when: str = ReturnWhen.ALL_COMPLETED
    ) -> dict[str, Task]:
        """Wait for several tasks together and return the finished ones by ID; each ID is awaited once.

        ``return_when`` is that of :func:`concurrent.futures.wait`: FIRST_COMPLETED returns when the first task has ended,
        FIRST_EXCEPTION when the first wait has failed. IDs that are missing from the result had not ended.

        Raises TasksError when a wait failed; it carries the outcomes of the others.
        """
        collector = OutcomeCollector(all_task_ids(task_ids), return_when)
        with closing(self._outcomes(collector.task_ids)) as batches:
            while not collector.is_over:
                collector.add(next(batches))
        return collector.result()

    def as_completed(self, task_ids: Iterable[TaskRef] | TaskRef) -> Iterator[Outcome]:
        """Wait for several tasks together and yield the outcome of each as it ends; each ID is awaited once.

        Closing the iterator ends the remaining waits. With more than one task, ``on_event`` is called from another thread.
        """
        for batch in self._outcomes(all_task_ids(task_ids)):
            yield from batch

    def _outcomes(self, ids: Sequence[str]) -> Generator[list[Outcome], None, None]:
        """Yield the outcomes in the order in which the waits end, those that end together in one list."""
        self._session.check_open()
        if len(ids) > 1:
            # A wait for one task needs no event loop, and asyncio takes long to load.
            from waiter.batch.completion import iterate_in_background  # noqa: PLC0415

            try:
                yield from iterate_in_background(lambda: _outcomes_on_event_loop(self._session, self._client, ids))
            except BaseException as error:
                note_interruption(error, f"the wait for {len(ids)} tasks was interrupted; the tasks are still running")
                raise
            return
        for task_id in ids:
            try:
                yield [Outcome(task_id, task=self.wait(task_id))]
            except WaiterError as error:
                yield [Outcome(task_id, error=error)]

    def past(self, task_type: str) -> list[TaskSnapshot]:
        """Return the newest tasks of a type, ended or not, with their ages in seconds. Raises ApiError."""
        self._session.check_open()
        return self._client.list_history(task_type, limit=LISTED, timeout=REQUEST_TIMEOUT)

    def status(self, task_id: TaskRef) -> Task:
        """Poll a task once and return it, whatever its state. Raises ApiError."""
        return self.snapshot(task_id).task

    def snapshot(self, task_id: TaskRef) -> TaskSnapshot:
        """Poll a task once and return it with its age in seconds. Raises ApiError."""
        state = self._session.new_wait(task_id)
        return self._client.get_task(state.task_id, timeout=state.request_timeout)

    def acknowledge(self, task_id: TaskRef) -> Task:
        """Acknowledge a task, whatever its state, and return it. Sends one request. Raises ApiError."""
        state = self._session.new_wait(task_id)
        return self._client.acknowledge(state.task_id, timeout=state.request_timeout)

    def list_tasks(
        self,
        *,
        state: str | Iterable[str] = ACTIVE_STATES,
        project_id: int | Iterable[int] | None = None,
        region_id: int | Iterable[int] | None = None,
        task_type: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> list[Task]:
        """Return the tasks of the account, newest first; by default those that have not ended.

        ``state``, ``project_id`` and ``region_id`` are one value or several; ``()`` selects all. None selects the project of
        ``GCORE_CLOUD_PROJECT_ID`` and the region of ``GCORE_CLOUD_REGION_ID``, where these are set. ``limit`` is the largest
        number of tasks. Sends one request for 500 tasks. Raises ApiError and ConfigurationError.
        """
        chosen = resolve_filter(state, project_id, region_id, task_type)
        check_limit(limit)
        return [snapshot.task for snapshot in self.list_snapshots(chosen, limit)]

    def list_snapshots(
        self, chosen: TaskFilter, limit: int = DEFAULT_LIMIT, *, timeout: float = MAX_REQUEST_TIMEOUT
    ) -> list[TaskSnapshot]:
        """Return the newest tasks that a filter selects, with their ages; ``timeout`` bounds each request. Raises ApiError."""
        self._session.check_open()
        listing = TaskListing(limit)
        while not listing.is_complete:
            self._session.budget.reserve_immediately()
            try:
                page = self._client.list_tasks(chosen, limit=listing.page_size, offset=listing.offset, timeout=timeout)
            except ApiError as error:
                self._session.budget.report_throttling(error, listing=True)
                raise
            listing.add(page)
        return [snapshot for snapshot in listing.snapshots if chosen.selects(snapshot.task)]

    def await_listing(self, chosen: TaskFilter, limit: int) -> list[TaskSnapshot]:
        """Return what ``list_snapshots`` does, and survive an outage as a wait does. For the command.

        Raises TaskTimeoutError, or the ApiError that ended the listing.
        """
        state = self._session.new_listing()

        def request(state: ListingState) -> list[TaskSnapshot]:
            state.record_start()
            return state.record_listing(self.list_snapshots(chosen, limit, timeout=state.request_timeout))

        listed: list[TaskSnapshot] = Retrying(**HOOKS, sleep=self._sleep)(request, state)
        return listed

    def reduce_timeout(self, seconds: float) -> None:
        """Let later waits end so many seconds earlier, because they began with something else. For the command."""
        self._session.reduce_timeout(seconds)

    def close(self) -> None:
        """Close the connections, unless the client is your own. Later calls raise WaiterError."""
        self._session.close()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _outcomes_on_event_loop(session: Session, client: Client, ids: Sequence[str]) -> AsyncGenerator[list[Outcome], None]:
    """Yield the outcomes of a ``Waiter`` from the running event loop; a client of the user's own is used there too."""
    from waiter.aio import AsyncWaiter  # noqa: PLC0415 - see above
    from waiter.batch.completion import SharedSleep, outcomes_as_completed, run_in_thread, run_inline  # noqa: PLC0415
    from waiter.http.async_client import ThreadedClient  # noqa: PLC0415

    settings = session.settings
    run = run_inline if settings.sleep else run_in_thread
    session = session.with_sleep(SharedSleep(settings.sleep, settings.clock) if settings.sleep else None)
    own_client = ThreadedClient(client, run) if settings.client else None
    async with (
        AsyncWaiter.from_session(session, own_client) as waiter,
        aclosing(outcomes_as_completed(waiter.wait, ids)) as batches,
    ):
        async for batch in batches:
            yield batch


def wait_for_task(task_id: TaskRef, **options: Unpack[Options]) -> CreatedResources:
    """Wait until a task is FINISHED and return the IDs of what it created.

    ``task_id`` is an ID, a task, or the response to the request that started the work: ``{"tasks": [...]}``. All of its tasks
    are awaited; without any, the result is empty. The arguments are those of :class:`waiter.Options`.

    Raises TaskError when the task ended in ERROR, TaskTimeoutError, TaskStalledError, the ApiError that ended the wait, or
    ConfigurationError; and TasksError when there are several tasks.
    """
    hide_key(options)
    ids = task_ids(task_id)
    if not ids:
        return CreatedResources()
    with Waiter(**options) as waiter:
        tasks = [waiter.wait(one) for one in ids] if len(ids) == 1 else waiter.wait_all(ids).values()
    return CreatedResources.merge(task.created_resources for task in tasks)


def wait_for_tasks(task_ids: Iterable[TaskRef] | TaskRef, **options: Unpack[Options]) -> dict[str, CreatedResources]:
    """Wait until several tasks are FINISHED and return what each created, by ID.

    The arguments are those of :class:`waiter.Options`. Raises TasksError when some fail, with the outcomes of the others, or
    ConfigurationError.
    """
    hide_key(options)
    ids = all_task_ids(task_ids)
    if not ids:
        return {}
    with Waiter(**options) as waiter:
        return {task_id: task.created_resources for task_id, task in waiter.wait_all(ids).items()}


def acknowledge(task_id: TaskRef, **options: Unpack[Options]) -> Task:
    """Acknowledge a task, so that the API lists it with ``is_acknowledged=true``, and return it.

    Sends one request, whatever the state of the task. The arguments are those of :class:`waiter.Options`. Raises ApiError or
    ConfigurationError.
    """
    with Waiter(**options) as waiter:
        return waiter.acknowledge(task_id)


def list_tasks(
    *,
    state: str | Iterable[str] = ACTIVE_STATES,
    project_id: int | Iterable[int] | None = None,
    region_id: int | Iterable[int] | None = None,
    task_type: str | None = None,
    limit: int = DEFAULT_LIMIT,
    **options: Unpack[Options],
) -> list[Task]:
    """Return the tasks of the account, newest first; by default those that have not ended.

    The filters are those of :meth:`Waiter.list_tasks`, the other arguments those of :class:`waiter.Options`. Raises ApiError
    and ConfigurationError.
    """
    hide_key(options)
    with Waiter(**options) as waiter:
        return waiter.list_tasks(state=state, project_id=project_id, region_id=region_id, task_type=task_type, limit=limit)
