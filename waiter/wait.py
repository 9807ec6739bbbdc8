"""The drivers: a blocking and an awaited one, a few lines each, for one plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec
from tenacity import AsyncRetrying, Retrying

from waiter.client import AsyncClient, BorrowedClient, Client
from waiter.errors import ApiError, ConfigurationError, WaiterError
from waiter.history import LISTED, Histories, shared_histories
from waiter.outcome import Outcome, ReturnWhen, Tally
from waiter.plan import REQUEST_TIMEOUT, Plan
from waiter.settings import Options, Settings, TaskRef, all_task_ids, resolve, task_ids
from waiter.task import CreatedResources

if TYPE_CHECKING:
    from waiter.task import Sighting, Task


class _Base:
    """What both waiters know: the settings, and what was learned of the past."""

    def __init__(self, settings: Settings, histories: Histories | None = None) -> None:
        self._settings = settings
        account = settings.api_key.header
        own = settings.client is not None
        self._histories = histories or (Histories() if own else shared_histories(settings.base_url, account))

    def _plan(self, ref: TaskRef) -> Plan:
        ids = task_ids(ref)
        if len(ids) != 1:
            message = f"wait() takes one task, not {len(ids)}: wait_all() takes any number"
            raise ConfigurationError(message)
        return Plan(ids[0], self._settings, self._histories)

    def _policy(self, plan: Plan) -> dict[str, Any]:
        return plan.policy | ({"sleep": self._settings.sleep} if self._settings.sleep else {})


class Waiter(_Base):
    """Waits for tasks over connections that it keeps; a context manager, and safe to share between threads.

    >>> with Waiter(timeout=600) as waiter:  # doctest: +SKIP
    ...     task = waiter.wait("26986bc0-748a-4448-b836-0a2aa465eb06")

    The arguments are those of :class:`waiter.Options`. Raises ConfigurationError with every problem in them.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(resolve(options))
        self._client = Client(self._settings)

    def wait(self, task_id: TaskRef) -> Task:
        """Wait until the task is FINISHED and give it as it ended, with its ``created_resources``.

        Raises TaskError when it ended in ERROR, TaskTimeoutError, TaskStalledError, or the ApiError that ended the wait.
        """
        plan = self._plan(task_id)

        def look() -> Sighting:
            sighting = plan.saw(self._client.get_task(plan.task_id, timeout=plan.request_timeout))
            if (task_type := plan.wants_past) is not None:
                try:
                    plan.learn(self._client.get_past(task_type, limit=LISTED, timeout=plan.request_timeout))
                except ApiError as error:
                    plan.cannot_learn(error)
            return sighting

        with plan.interruption():
            return plan.conclude(Retrying(**self._policy(plan))(look))

    def wait_all(
        self, task_ids: Iterable[TaskRef] | TaskRef, *, return_when: str = ReturnWhen.ALL_COMPLETED
    ) -> dict[str, Task]:
        """Wait for several tasks at once and give the finished ones by ID; each ID is awaited once.

        ``return_when`` is that of :func:`concurrent.futures.wait`: with FIRST_COMPLETED the first end, with FIRST_EXCEPTION the
        first bad end is enough, and the IDs that are missing from the answer had not ended.

        Raises TasksError when a wait ended badly, with all that is known of the others in it.
        """
        tally = Tally(all_task_ids(task_ids), return_when)
        with closing(self._outcomes(tally.task_ids)) as batches:
            while not tally.is_over:
                tally.add(next(batches))
        return tally.result()

    def as_completed(self, task_ids: Iterable[TaskRef] | TaskRef) -> Iterator[Outcome]:
        """Wait for several tasks at once and give the outcome of each as it ends; each ID is awaited once.

        Closing the iterator ends the waits that go on. With more than one task, ``on_event`` is called from another thread.
        """
        for batch in self._outcomes(all_task_ids(task_ids)):
            yield from batch

    def _outcomes(self, ids: list[str]) -> Iterator[list[Outcome]]:
        if len(ids) > 1:
            from waiter.many import in_background  # noqa: PLC0415 - a wait for one task needs no event loop

            yield from in_background(lambda: AsyncWaiter._beside(self)._outcomes(ids))  # noqa: SLF001 - its twin
            return
        for task_id in ids:
            try:
                yield [Outcome(task_id, task=self.wait(task_id))]
            except WaiterError as error:
                yield [Outcome(task_id, error=error)]

    def past(self, task_type: str) -> list[Sighting]:
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
