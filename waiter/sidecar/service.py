"""All waits of the sidecar: accepted, awaited on one waiter, ended, and reported as events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import msgspec

from waiter.config.options import Limits
from waiter.console import stderr
from waiter.errors import ConfigurationError, WaiterError
from waiter.outcome import WaitStatus
from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule
from waiter.sidecar.model import (
    NO_LIMITS,
    Delivery,
    RequestLimits,
    Uptime,
    Wait,
    format_timestamp,
    new_delivery,
    truncate,
    uptime,
    wait_status,
)
from waiter.sidecar.storage.event_log import NewEvent
from waiter.sidecar.storage.store import Change
from waiter.sidecar.storage.write_queue import StorageError
from waiter.sidecar.wait_locks import WaitLocks
from waiter.task import Task

if TYPE_CHECKING:
    from waiter.events import Event
    from waiter.sidecar.storage.write_queue import WriteQueue
    from waiter.sidecar.webhook.outbox import Outbox

MAX_WAITS = 2000
MAX_WEBHOOKS = 10
# Seconds for which an ended wait is kept at least, so that its clients can still read the result.
MIN_RETENTION = 3600.0
# Seconds between two checks for expired waits and, while waits are refused, for another key.
MAINTENANCE_INTERVAL = 5.0

# Events that come with a new snapshot of the task, and those that belong to the end of a wait.
_WITH_SNAPSHOT = {"task.state_changed", "task.finished", "task.failed", "poll.recovered", "history.learned"}
_ENDINGS = {"task.finished", "task.failed", "task.stalled", "task.timed_out", "resource.failed"}
_TASK_ENDINGS = {"task.finished", "task.failed"}


class TaskWaiter(Protocol):
    """The part of ``AsyncWaiter`` that the service uses."""

    async def wait(self, task_id: str, /, **limits: Unpack[Limits]) -> Task:
        """Wait until a task is FINISHED, within the limits."""


class TooManyWaitsError(WaiterError):
    """The maximum number of waits would be exceeded."""


class InUseError(WaiterError):
    """The wait belongs to a task of the command line and cannot be deleted."""


class _Run(msgspec.Struct):
    """A wait that has not ended, and the events that will be written together with its end.

    ``task_had_ended`` is whether the task was known to have ended before: the wait was resumed for what the task created.
    """

    asyncio_task: asyncio.Task[None]
    task_had_ended: bool
    ending_events: list[NewEvent] = []
    is_ending: bool = False


class Service:
    """All waits of the sidecar, by ID; ``startup_ids`` are the tasks of the command line.

    At most ``max_waits`` are stored. Ended waits are deleted after ``keep_ended`` seconds; None deletes them when another wait
    needs the place, but not before ``MIN_RETENTION``.

    ``on_task_end`` is called with each task whose end was seen and the seconds from its end to the poll that saw it; None when
    the task had ended before the first poll. The end of each wait is stored in the ``outbox``, if there is one.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        write_queue: WriteQueue,
        waits: dict[str, Wait],
        *,
        startup_ids: Sequence[str] = (),
        max_waits: int = MAX_WAITS,
        keep_ended: float | None = None,
        on_task_end: Callable[[Task, float | None], object] = lambda _task, _delay: None,
        outbox: Outbox | None = None,
        now: Callable[[], float] = time.time,
        uptime: Callable[[], Uptime] = uptime,
    ) -> None:
        self.waits = waits
        self.startup_ids = startup_ids
        self._write_queue = write_queue
        self._max_waits = max_waits
        self._keep_ended = keep_ended
        self._on_task_end = on_task_end
        self._outbox = outbox
        self._now = now
        self._uptime = uptime
        self._runs: dict[str, _Run] = {}
        self._schedules: dict[str | None, tuple[History, Schedule]] = {}
        self._locks = WaitLocks()
        # The IDs of waits, until the change that writes or deletes them is stored.
        self._being_written: set[str] = set()
        self._being_deleted: set[str] = set()

    # Requests.

    async def start(
        self,
        waiter: TaskWaiter,
        key_fingerprint: Callable[[], str],
        timeout: float,  # noqa: ASYNC109 - of the waits
    ) -> None:
        """Resume every wait that has not ended, and accept the tasks of the command line.

        ``key_fingerprint`` reads the API key and returns a hash that identifies it; ``timeout`` is the time that a wait may
        take from its acceptance, in seconds.
        """
        self._waiter = waiter
        self._key_fingerprint = key_fingerprint
        self._timeout = timeout
        self._start_runs([wait for wait in self.waits.values() if not wait.has_ended])
        await self.accept(self.startup_ids)
        self._maintenance = asyncio.create_task(self._maintain(), name="maintenance of the waits")

    async def accept(self, task_ids: Iterable[str], limits: RequestLimits = NO_LIMITS) -> list[Wait]:
        """Return the waits for these tasks, each once, after they are stored; new ones get the limits.

        A task that is already awaited or has ended keeps its wait, whose end is also sent to the webhook; any other is awaited
        again, and so is a finished one whose resources are wanted ``ready`` for the first time. Raises StorageError,
        TooManyWaitsError, and ConfigurationError for a webhook that is not allowed.
        """
        ids = list(dict.fromkeys(task_ids))
        self._check_webhook(limits.webhook)
        async with self._locks.lock(ids):
            await self._settle_endings(ids)
            now = self._now()
            new = [self._new_wait(task_id, now, limits) for task_id in ids if self._needs_run(task_id, limits)]
            known = [self.waits[task_id] for task_id in ids if not self._needs_run(task_id, limits)]
            notified = [wait.with_webhook(limits.webhook) for wait in known if wait.with_webhook(limits.webhook) != wait]
            if any(len(wait.webhooks) > MAX_WEBHOOKS for wait in (*new, *notified)):
                message = f"a wait can have at most {MAX_WEBHOOKS} webhooks"
                raise ConfigurationError(message)
            if new or notified:
                evicted = self._choose_evicted([wait.id for wait in new], now)
                await self._store_request(new, evicted, notified, limits.webhook)
            else:
                self._write_queue.check()
            return [self.waits[task_id] for task_id in ids]

    def _check_webhook(self, url: str | None) -> None:
        if url is None:
            return
        if self._outbox is None:
            message = "webhooks are not allowed: the sidecar was started without --webhook-allow"
            raise ConfigurationError(message)
        self._outbox.check(url)

    async def _settle_endings(self, ids: Iterable[str]) -> None:
        """Wait until the ends that are just being written have been, so that no change is made to a wait that has ended."""
        endings = [
            self._runs[wait_id].asyncio_task for wait_id in ids if wait_id in self._runs and self._runs[wait_id].is_ending
        ]
        if endings:
            await asyncio.wait(endings)

    async def _store_request(
        self, new: Sequence[Wait], evicted: Sequence[str], notified: Sequence[Wait], webhook: str | None
    ) -> None:
        """Store new waits, and those with another webhook, which is sent immediately for a wait that has ended."""
        events = [self._new_event("wait.accepted", wait.id) for wait in new]
        events += [self._new_event("wait.deleted", wait_id) for wait_id in evicted]
        deliveries = [delivery for wait in notified if wait.has_ended for delivery in self._new_deliveries(wait, [webhook])]
        change = Change(waits=[*new, *notified], deleted=evicted, deliveries=deliveries, events=events)
        # Before it is stored, because a wait that ends meanwhile must end with the webhook.
        self.waits |= {wait.id: wait for wait in notified}
        try:
            with self._locks.lock_immediately(evicted):
                await self._store(change, lambda: self._add_waits(new, evicted, deliveries))
        except StorageError:
            self.waits |= {wait.id: self.waits[wait.id].without_webhook(webhook) for wait in notified}
            raise

    async def _store(self, change: Change, on_written: Callable[[], object]) -> None:
        """Write a change of waits that are locked; meanwhile they count as if it were stored. Raises StorageError."""
        written, deleted = {wait.id for wait in change.waits}, set(change.deleted)
        self._being_written |= written
        self._being_deleted |= deleted
        try:
            await self._write_queue.write(change, on_written)
        finally:
            self._being_written -= written
            self._being_deleted -= deleted

    async def delete(self, wait_id: str) -> None:
        """Delete a wait, which stops it; the task itself is not affected. Raises KeyError, InUseError or StorageError."""
        async with self._locks.lock([wait_id]):
            await self._settle_endings([wait_id])
            wait = self.waits[wait_id]
            if wait_id in self.startup_ids:
                message = f"the task was given on the command line: {wait_id}"
                raise InUseError(message)
            # Stopped first, so that its end cannot be written after the deletion.
            self._cancel_run(wait_id)
            change = Change(deleted=[wait_id], events=[self._new_event("wait.deleted", wait_id)])
            try:
                await self._store(change, lambda: self.waits.pop(wait_id, None))
            except StorageError:
                self._start_runs([wait] if not wait.has_ended else [])
                raise

    async def restart_refused(self) -> None:
        """Restart the waits that ended because the API refused a key, if the key is another one now. Raises StorageError.

        One that is being changed by a request, such as its deletion, is left to the next call.
        """
        refused = [wait for wait in self.waits.values() if wait.status is WaitStatus.REFUSED]
        if refused:
            key = self._key_fingerprint()
            for wait in refused:
                is_unchanged = self.waits.get(wait.id) is wait and wait.id not in self._locks
                if wait.refused_key != key and is_unchanged:
                    await self.accept([wait.id], RequestLimits(wait.timeout, wait.max_outage, ready=wait.ready))

    async def delete_expired(self) -> None:
        """Delete the waits that ended more than ``keep_ended`` seconds ago. Raises StorageError."""
        if self._keep_ended is None:
            return
        expired = self._ended_before(self._now() - self._keep_ended)
        if expired:
            with self._locks.lock_immediately(expired):
                events = [self._new_event("wait.deleted", wait_id) for wait_id in expired]
                await self._store(Change(deleted=expired, events=events), lambda: self._add_waits((), expired))

    def as_json(self, waits: Iterable[Wait]) -> list[dict[str, Any]]:
        """Return waits as clients see them, with the current ages and times left."""
        now = self._now()
        return [wait.as_json(now, self._schedule(wait)) for wait in waits]

    @property
    def is_ready(self) -> bool:
        """Whether every task of the command line is FINISHED."""
        return all(wait.status is WaitStatus.FINISHED for wait in self.startup_waits())

    def startup_waits(self) -> list[Wait]:
        """Return the waits for the tasks of the command line, in its order."""
        return [self.waits[task_id] for task_id in self.startup_ids]

    def time_left(self, task_id: str) -> float:
        """Return the seconds until a wait times out; a restart does not extend the deadline."""
        wait = self.waits[task_id]
        timeout = self._timeout if wait.timeout is None else wait.timeout
        return max(0.0, timeout - wait.elapsed(self._now(), self._uptime()))

    async def stop(self) -> None:
        """Stop all waits without an end; the next start resumes them."""
        self._maintenance.cancel()
        running = [self._maintenance, *(run.asyncio_task for run in self._runs.values())]
        for wait_id in list(self._runs):
            self._cancel_run(wait_id)
        await asyncio.gather(*running, return_exceptions=True)

    async def _maintain(self) -> None:
        while True:
            with suppress(StorageError):  # tried again
                await self.delete_expired()
                await self.restart_refused()
            await asyncio.sleep(MAINTENANCE_INTERVAL)

    # The life of a wait.

    def _needs_run(self, task_id: str, limits: RequestLimits) -> bool:
        wait = self.waits.get(task_id)
        if wait is None or not wait.has_ended:
            return wait is None
        # Whether the resources of a finished task are ready was not asked before.
        wants_ready = wait.status is WaitStatus.FINISHED and bool(limits.ready) and not wait.ready
        return wants_ready or not wait.status.is_task_end

    def _new_wait(self, task_id: str, now: float, limits: RequestLimits) -> Wait:
        known = self.waits.get(task_id) or Wait(id=task_id, accepted_at=now)
        return known.restarted(now, self._uptime(), limits)

    def _choose_evicted(self, new: Iterable[str], now: float) -> list[str]:
        """Return the IDs of waits that make place for new ones. Raises TooManyWaitsError."""
        count = sum(wait_id not in self.waits for wait_id in new)
        excess = self._count_waits() + count - self._max_waits
        if not count or excess <= 0:
            return []
        evictable = self._ended_before(now - (MIN_RETENTION if self._keep_ended is None else self._keep_ended))
        if len(evictable) < excess:
            message = f"too many waits: {count} more would exceed the maximum of {self._max_waits}; delete some that have ended"
            raise TooManyWaitsError(message)
        return evictable[:excess]

    def _count_waits(self) -> int:
        """Return the number of waits, with the changes that are being stored."""
        added = sum(wait_id not in self.waits for wait_id in self._being_written)
        return len(self.waits) + added - sum(wait_id in self.waits for wait_id in self._being_deleted)

    def _ended_before(self, moment: float) -> list[str]:
        """Return the IDs of the waits that ended before a moment and can be deleted, the oldest first.

        Neither those of the command line nor those that are being changed can be.
        """
        ended = [(wait.ended_at, wait.id) for wait in self.waits.values() if wait.ended_at and wait.ended_at < moment]
        return [wait_id for _, wait_id in sorted(ended) if wait_id not in self.startup_ids and wait_id not in self._locks]

    def _add_waits(self, waits: Sequence[Wait], evicted: Sequence[str], deliveries: Sequence[Delivery] = ()) -> None:
        for wait_id in evicted:
            self.waits.pop(wait_id, None)
        self.waits |= {wait.id: wait for wait in waits}
        self._start_runs(waits)
        self._send(deliveries)

    def _start_runs(self, waits: Iterable[Wait]) -> None:
        for wait in waits:
            asyncio_task = asyncio.create_task(self._run(wait.id), name=f"wait {wait.id}")
            self._runs[wait.id] = _Run(asyncio_task, wait.task_has_ended)

    def _cancel_run(self, wait_id: str) -> None:
        run = self._runs.pop(wait_id, None)
        if run is not None:
            run.asyncio_task.cancel()

    async def _run(self, wait_id: str) -> None:
        try:
            limits: Limits = {"timeout": self.time_left(wait_id)}
            wait = self.waits[wait_id]
            if wait.max_outage is not None:
                limits["max_outage"] = wait.max_outage
            if wait.ready is not None:
                limits["ready"] = wait.ready
            task = await self._waiter.wait(wait_id, **limits)
        except WaiterError as error:
            await self._end(wait_id, wait_status(error), str(error))
        except Exception as error:  # noqa: BLE001 - the wait reports it, and the other waits continue
            text = f"a fault in waiter ended the wait for task {wait_id}: {error!r}"
            stderr.error(text, "waiter.fault", task_id=wait_id, error=repr(error))
            await self._end(wait_id, WaitStatus.UNAVAILABLE, f"a fault in waiter: {error!r}")
        else:
            self._record_task(wait_id, task, None)
            await self._end(wait_id, WaitStatus.FINISHED, None)

    async def _end(self, wait_id: str, status: WaitStatus, error: str | None) -> None:
        self._runs[wait_id].is_ending = True
        key = self._key_fingerprint() if status is WaitStatus.REFUSED else None
        ended = self.waits[wait_id].with_end(status, self._now(), truncate(error), refused_key=key)
        last = self._new_event("wait.ended", wait_id, status=status, error=ended.error)
        deliveries = self._new_deliveries(ended, self._outbox.urls_of(ended) if self._outbox else ended.webhooks)
        change = Change(waits=[ended], deliveries=deliveries, events=[*self._runs[wait_id].ending_events, last])
        await self._write_queue.write_eventually(change, lambda: self._remove_run(ended, deliveries))

    def _remove_run(self, wait: Wait, deliveries: Sequence[Delivery]) -> None:
        self.waits[wait.id] = wait
        self._runs.pop(wait.id, None)
        self._send(deliveries)

    def _new_deliveries(self, ended: Wait, urls: Iterable[str | None]) -> list[Delivery]:
        if not (urls := list(urls)):
            return []
        body = msgspec.json.encode(self.as_json([ended])[0])
        return [new_delivery(ended, body, url, now=self._now(), uptime=self._uptime()) for url in urls]

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        """Send stored deliveries; without an outbox the next process that has one sends them."""
        if self._outbox is not None:
            for delivery in deliveries:
                self._outbox.add(delivery)

    # Events of the waits.

    def on_event(self, event: Event) -> None:
        """Record an event of a wait: update the wait, and write the event to the stream."""
        wait_id, run = event.task_id, self._runs.get(event.task_id)
        if run is None or event.name in {"wait.started", "wait.ended"}:  # the stream has events of its own for these
            return
        before = self.waits[wait_id]
        self._record_history(event)
        if event.task is not None and event.name in _WITH_SNAPSHOT:
            self._record_task(wait_id, event.task, event.age)
        wait = self.waits[wait_id]
        if self._is_redundant(event, before, wait):
            return
        new_event = self._stream_event(event, before)
        if event.name in _ENDINGS:
            run.ending_events.append(new_event)
            if event.name in _TASK_ENDINGS and event.task is not None:
                self._report_task_end(event.task, event.age, is_observed=len(wait.transitions) > 1 and not run.task_had_ended)
        else:
            self._write_queue.enqueue(Change(waits=[wait], events=[new_event]))

    def _record_task(self, wait_id: str, task: Task, age: float | None) -> None:
        self.waits[wait_id] = self.waits[wait_id].with_task(task, age, self._now())

    @staticmethod
    def _is_redundant(event: Event, before: Wait, wait: Wait) -> bool:
        # The first poll after a restart is reported as a transition again. Of an outage only the first failed poll is kept,
        # because a thousand waits would push everything else out of the stream.
        if event.name == "task.state_changed":
            return wait.transitions == before.transitions
        return event.name == "poll.failed" and event.fields["attempt"] > 1

    def _stream_event(self, event: Event, before: Wait) -> NewEvent:
        fields = dict(event.fields)
        if event.name == "task.state_changed" and before.transitions:
            fields["old"] = before.transitions[-1].state
        if "elapsed" in fields:
            fields["elapsed"] = round(self._now() - before.accepted_at, 3)
        return self._new_event(event.name, fields.pop("task_id"), **fields)

    def _new_event(self, name: str, wait_id: str, **fields: object) -> NewEvent:
        data = {"task_id": wait_id, "at": format_timestamp(self._now()), **fields}
        return NewEvent(name, msgspec.json.encode(data, enc_hook=str))

    def _report_task_end(self, task: Task, age: float | None, *, is_observed: bool) -> None:
        delay = None
        if task.created_on and task.finished_on and age is not None and is_observed:
            delay = max(0.0, age - (task.finished_on - task.created_on).total_seconds())
        self._on_task_end(task, delay)

    def _record_history(self, event: Event) -> None:
        if event.history is None or event.task is None:
            return
        known = self._schedules.get(event.task.task_type)
        # A wait that has not polled since the durations became known has the usual range only.
        if known is None or (known[0] is not event.history and event.history.count):
            self._schedules[event.task.task_type] = (event.history, Schedule(history=event.history))

    def _schedule(self, wait: Wait) -> Schedule | None:
        known = self._schedules.get(wait.task["task_type"]) if wait.task else None
        return known and known[1]
