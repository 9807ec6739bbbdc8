"""The blocking driver, a few lines around one plan, and the doors to it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Self, Unpack

from tenacity import Retrying

from waiter.config.settings import Limits, Options, resolve
from waiter.config.task_ids import TaskRef, all_task_ids, task_ids
from waiter.errors import ApiError, WaiterError, note_interruption
from waiter.http.client import Client
from waiter.outcome import Outcome, OutcomeCollector, ReturnWhen
from waiter.polling.history_cache import LISTED
from waiter.polling.tenacity_hooks import HOOKS
from waiter.polling.wait_state import REQUEST_TIMEOUT, WaitState
from waiter.session import Base
from waiter.task import CreatedResources

if TYPE_CHECKING:
    from waiter.task import Task, TaskSnapshot


class Waiter(Base):
    """Waits for tasks over connections that it keeps; a context manager, and safe to share between threads.

    Several tasks at once are awaited on an event loop in the background, with connections of its own for each call.

    >>> with Waiter(timeout=600) as waiter:  # doctest: +SKIP
    ...     task = waiter.wait("26986bc0-748a-4448-b836-0a2aa465eb06")

    The arguments are those of :class:`waiter.Options`. Raises ConfigurationError with every problem in them.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(resolve(options))
        self._client = Client(self._settings)
        self._sleep = self._settings.sleep or Retrying().sleep

    def wait(self, task_id: TaskRef, **limits: Unpack[Limits]) -> Task:
        """Wait until the task is FINISHED and give it as it ended, with its ``created_resources``.

        The ``limits`` are those of this wait alone: ``timeout``, ``max_outage`` and ``stall_timeout``.

        Raises TaskError when it ended in ERROR, TaskTimeoutError, TaskStalledError, or the ApiError that ended the wait.
        """
        with self._plan(task_id, limits) as plan:
            return plan.conclude(Retrying(**HOOKS, sleep=self._sleep)(self._look, plan))

    def _look(self, plan: WaitState) -> TaskSnapshot:
        with self._budget.queue(plan) as pauses:
            for pause in pauses:
                self._sleep(pause)
        with self._budget.heeding():
            snapshot = plan.saw(self._client.get_task(plan.task_id, timeout=plan.request_timeout))
        if (task_type := plan.claim_past()) is not None:
            self._budget.jump_the_queue()
            try:
                with self._budget.heeding(listing=True):
                    plan.learn(self._client.get_past(task_type, limit=LISTED, timeout=plan.listing_timeout))
            except ApiError as error:
                plan.cannot_learn(error)
        return snapshot

    def wait_all(
        self, task_ids: Iterable[TaskRef] | TaskRef, *, return_when: str = ReturnWhen.ALL_COMPLETED
    ) -> dict[str, Task]:
        """Wait for several tasks at once and give the finished ones by ID; each ID is awaited once.

        ``return_when`` is that of :func:`concurrent.futures.wait`: with FIRST_COMPLETED the first end, with FIRST_EXCEPTION the
        first bad end is enough, and the IDs that are missing from the answer had not ended.

        Raises TasksError when a wait ended badly, with all that is known of the others in it.
        """
        collector = OutcomeCollector(all_task_ids(task_ids), return_when)
        with closing(self._outcomes(collector.task_ids)) as batches:
            while not collector.is_over:
                collector.add(next(batches))
        return collector.result()

    def as_completed(self, task_ids: Iterable[TaskRef] | TaskRef) -> Iterator[Outcome]:
        """Wait for several tasks at once and give the outcome of each as it ends; each ID is awaited once.

        Closing the iterator ends the waits that go on. With more than one task, ``on_event`` is called from another thread.
        """
        for batch in self._outcomes(all_task_ids(task_ids)):
            yield from batch

    def _outcomes(self, ids: Sequence[str]) -> Generator[list[Outcome], None, None]:
        if len(ids) > 1:
            # A wait for one task needs no event loop, and asyncio takes long to load.
            from waiter.aio import AsyncWaiter  # noqa: PLC0415
            from waiter.batch.completion import iterate_in_background  # noqa: PLC0415

            try:
                yield from iterate_in_background(lambda: AsyncWaiter._in_the_place_of(self, self._client, ids))  # noqa: SLF001 - its twin
            except BaseException as error:
                note_interruption(error, f"the wait for {len(ids)} tasks was interrupted; the tasks go on")
                raise
            return
        for task_id in ids:
            try:
                yield [Outcome(task_id, task=self.wait(task_id))]
            except WaiterError as error:
                yield [Outcome(task_id, error=error)]

    def past(self, task_type: str) -> list[TaskSnapshot]:
        """List the newest tasks of a type, ended or not, with their ages in seconds. Raises ApiError."""
        return self._client.get_past(task_type, limit=LISTED, timeout=REQUEST_TIMEOUT)

    def status(self, task_id: TaskRef) -> Task:
        """Look at a task once, whatever its state. Raises ApiError."""
        plan = self._plan(task_id)
        return self._client.get_task(plan.task_id, timeout=plan.request_timeout).task

    def close(self) -> None:
        """Close the connections, unless the client is your own."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for_task(task_id: TaskRef, **options: Unpack[Options]) -> CreatedResources:
    """Wait until a task is FINISHED and give the IDs of what it created.

    ``task_id`` is an ID, or what the API answered to the request that started the work: ``{"tasks": [...]}``. All of its
    tasks are awaited, and with none of them there is nothing to wait for. The arguments are those of
    :class:`waiter.Options`.

    Raises TaskError when the task ended in ERROR, TaskTimeoutError, TaskStalledError, the ApiError that ended the wait, or
    ConfigurationError; and TasksError when there are several tasks.
    """
    ids = task_ids(task_id)
    if not ids:
        return CreatedResources()
    with Waiter(**options) as waiter:
        tasks = [waiter.wait(one) for one in ids] if len(ids) == 1 else waiter.wait_all(ids).values()
    return CreatedResources.merge(task.created_resources for task in tasks)


def wait_for_tasks(task_ids: Iterable[TaskRef] | TaskRef, **options: Unpack[Options]) -> dict[str, CreatedResources]:
    """Wait until several tasks are FINISHED and give, for each ID once, what the task created.

    The arguments are those of :class:`waiter.Options`. Raises TasksError when some end badly, with the others in it, or
    ConfigurationError.
    """
    ids = all_task_ids(task_ids)
    if not ids:
        return {}
    with Waiter(**options) as waiter:
        return {task_id: task.created_resources for task_id, task in waiter.wait_all(ids).items()}
