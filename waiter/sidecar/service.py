"""The waits themselves: accepted, awaited on one waiter, ended, and told to whoever listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from waiter.console import stderr
from waiter.errors import WaiterError
from waiter.schedule.history import History
from waiter.schedule.schedule import Schedule
from waiter.sidecar.journal import StorageError
from waiter.sidecar.model import Status, Wait, cut, stamp, status_of
from waiter.sidecar.store import Change, Happening
from waiter.task import Task

if TYPE_CHECKING:
    from waiter.events import Event
    from waiter.sidecar.journal import Journal

MOST_WAITS = 2000
# An ended wait is kept at least this long, so that whoever asked for it can still read how it ended.
KEPT_AFTER_END = 3600.0

_SEEN = {"task.state_changed", "task.finished", "task.failed", "poll.recovered", "history.learned"}
_ENDINGS = {"task.finished", "task.failed", "task.stalled", "task.timed_out"}


class Awaits(Protocol):
    """What the service asks of an ``AsyncWaiter``."""

    @property
    def timeout(self) -> float:
        """How long a wait may take from its acceptance, in seconds."""

    async def wait(self, task_id: str, /, *, timeout: float) -> Task:  # noqa: ASYNC109 - it is the waiter's
        """Wait until a task is FINISHED, at most so many seconds."""


class TooManyError(WaiterError):
    """There is no room for so many waits."""


class InUseError(WaiterError):
    """The task was given on the command line, and its wait stays."""


class _Run(msgspec.Struct):
    """A wait that goes on, and what it has said that belongs to its end."""

    going: asyncio.Task[None]
    last_words: list[Happening] = []


class Service:
    """All waits of the sidecar, by ID; ``given`` are those of the command line.

    ``on_ended`` is called with each task that was seen to have ended, and with the seconds for which nobody saw it: None for
    one that had ended before anybody looked.
    """

    def __init__(  # noqa: PLR0913 - what it works with, all by name
        self,
        journal: Journal,
        waits: dict[str, Wait],
        *,
        given: Sequence[str] = (),
        most_waits: int = MOST_WAITS,
        on_ended: Callable[[Task, float | None], object] = lambda _task, _delay: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.waits = waits
        self.given = given
        self._journal = journal
        self._most_waits = most_waits
        self._on_ended = on_ended
        self._now = now
        self._runs: dict[str, _Run] = {}
        self._schedules: dict[str | None, tuple[History, Schedule]] = {}
        self._changing = asyncio.Lock()

    # What is asked of it.

    async def start(self, awaits: Awaits) -> None:
        """Take up every wait that has not ended, and accept those of the command line."""
        self._awaits = awaits
        self._begin([wait for wait in self.waits.values() if not wait.ended])
        await self.accept(self.given)

    async def accept(self, task_ids: Sequence[str]) -> list[Wait]:
        """Accept waits, and return once they are on disk; one that goes on or whose task has ended stays as it is.

        Raises TooManyError, or StorageError when the disk does not take them.
        """
        async with self._changing:
            now = self._now()
            wanted = [self._fresh(task_id, now) for task_id in dict.fromkeys(task_ids) if self._is_wanted(task_id)]
            if wanted:
                evicted = self._make_room(sum(wait.id not in self.waits for wait in wanted), now)
                events = [self._happening("wait.accepted", wait.id) for wait in wanted]
                events += [self._happening("wait.deleted", wait_id) for wait_id in evicted]
                change = Change(waits=wanted, deleted=evicted, events=events)
                await self._journal.write(change, lambda: self._accepted(wanted, evicted))
        return [self.waits[task_id] for task_id in dict.fromkeys(task_ids)]

    async def delete(self, wait_id: str) -> None:
        """Forget a wait, which ends it; the task goes on. Raises KeyError, InUseError or StorageError."""
        async with self._changing:
            wait = self.waits[wait_id]
            if wait_id in self.given:
                message = f"given on the command line: {wait_id}"
                raise InUseError(message)
            # First of all, so that its end cannot be written after it was forgotten.
            self._stop(wait_id)
            change = Change(deleted=[wait_id], events=[self._happening("wait.deleted", wait_id)])
            try:
                await self._journal.write(change, lambda: self.waits.pop(wait_id, None))
            except StorageError:
                self._begin([wait] if not wait.ended else [])
                raise

    def show(self, waits: Iterable[Wait]) -> list[dict[str, Any]]:
        """Give waits as clients see them, with ages and times left as they are now."""
        now = self._now()
        return [wait.shown(now, self._schedule(wait)) for wait in waits]

    @property
    def is_ready(self) -> bool:
        """Whether every task of the command line is FINISHED."""
        return all(wait.status is Status.FINISHED for wait in self.of_command_line())

    def of_command_line(self) -> list[Wait]:
        """Give the waits of the command line, in its order."""
        return [self.waits[task_id] for task_id in self.given]

    def seconds_left(self, task_id: str) -> float:
        """How long a wait may still take; a restart does not lengthen it."""
        return max(0.0, self.waits[task_id].accepted_at + self._awaits.timeout - self._now())

    async def stop(self) -> None:
        """Let go of every wait, to be taken up by the next start."""
        going = [run.going for run in self._runs.values()]
        for wait_id in list(self._runs):
            self._stop(wait_id)
        await asyncio.gather(*going, return_exceptions=True)

    # How waits come and go.

    def _is_wanted(self, task_id: str) -> bool:
        wait = self.waits.get(task_id)
        return wait is None or (wait.ended and not wait.status.is_of_task)

    def _fresh(self, task_id: str, now: float) -> Wait:
        known = self.waits.get(task_id)
        return known.again(now) if known else Wait(id=task_id, accepted_at=now)

    def _make_room(self, count: int, now: float) -> list[str]:
        over = len(self.waits) + count - self._most_waits
        if not count or over <= 0:
            return []
        ended = [(wait.ended_at, wait.id) for wait in self.waits.values() if wait.ended_at and wait.id not in self.given]
        old = [wait_id for ended_at, wait_id in sorted(ended) if ended_at < now - KEPT_AFTER_END]
        if len(old) < over:
            message = f"no room for {count} more: {self._most_waits} waits are kept at most; delete some that have ended"
            raise TooManyError(message)
        return old[:over]

    def _accepted(self, waits: Sequence[Wait], evicted: Sequence[str]) -> None:
        for wait_id in evicted:
            self.waits.pop(wait_id, None)
        self.waits |= {wait.id: wait for wait in waits}
        self._begin(waits)

    def _begin(self, waits: Iterable[Wait]) -> None:
        for wait in waits:
            self._runs[wait.id] = _Run(asyncio.create_task(self._see_to(wait.id), name=f"wait {wait.id}"))

    def _stop(self, wait_id: str) -> None:
        run = self._runs.pop(wait_id, None)
        if run is not None:
            run.going.cancel()

    async def _see_to(self, wait_id: str) -> None:
        try:
            task = await self._awaits.wait(wait_id, timeout=self.seconds_left(wait_id))
        except WaiterError as error:
            await self._end(wait_id, status_of(error), str(error))
        except Exception as error:  # noqa: BLE001 - whoever asked for the wait is told, and the others go on
            text = f"a fault in waiter ended the wait for task {wait_id}: {error!r}"
            stderr.error(text, "waiter.fault", task_id=wait_id, error=repr(error))
            await self._end(wait_id, Status.UNAVAILABLE, f"a fault in waiter: {error!r}")
        else:
            self._take_in(wait_id, task, None)
            await self._end(wait_id, Status.FINISHED, None)

    async def _end(self, wait_id: str, status: Status, error: str | None) -> None:
        ended = self.waits[wait_id].over(status, self._now(), cut(error))
        last = self._happening("wait.ended", wait_id, status=status, error=ended.error)
        change = Change(waits=[ended], events=[*self._runs[wait_id].last_words, last])
        await self._journal.keep(change, lambda: self._ended(ended))

    def _ended(self, wait: Wait) -> None:
        self.waits[wait.id] = wait
        self._runs.pop(wait.id, None)

    # What the waits say.

    def hear(self, event: Event) -> None:
        """Take in what a wait has to tell."""
        wait_id, run = event.task_id, self._runs.get(event.task_id)
        if run is None:
            return
        before = self.waits[wait_id]
        self._learn(event)
        if event.task is not None and event.name in _SEEN:
            self._take_in(wait_id, event.task, event.age)
        wait = self.waits[wait_id]
        if self._is_old_news(event, before, wait):
            return
        happening = self._retold(event, before)
        if event.name in _ENDINGS:
            run.last_words.append(happening)
            self._measure(event, wait)
        else:
            self._journal.note(Change(waits=[wait], events=[happening]))

    def _take_in(self, wait_id: str, task: Task, age: float | None) -> None:
        self.waits[wait_id] = self.waits[wait_id].seen(task, age, self._now())

    @staticmethod
    def _is_old_news(event: Event, before: Wait, wait: Wait) -> bool:
        # After a restart the first look is a transition from nothing once more. And of the failed looks of an outage only the
        # first is told: a thousand waits would push everything else out of the stream.
        if event.name == "task.state_changed":
            return wait.transitions == before.transitions
        return event.name == "poll.failed" and event.fields["attempt"] > 1

    def _retold(self, event: Event, before: Wait) -> Happening:
        fields = dict(event.fields)
        if "old" in fields and before.transitions:
            fields["old"] = before.transitions[-1].state
        if "elapsed" in fields:
            fields["elapsed"] = round(self._now() - before.accepted_at, 3)
        return self._happening(event.name, fields.pop("task_id"), **fields)

    def _happening(self, name: str, wait_id: str, **fields: object) -> Happening:
        said = {"task_id": wait_id, "at": stamp(self._now()), **fields}
        return Happening(name, msgspec.json.encode(said, enc_hook=str))

    def _measure(self, event: Event, wait: Wait) -> None:
        task = event.task
        if task is None or not task.ended:
            return
        delay = None
        if task.created_on and task.finished_on and event.age is not None and len(wait.transitions) > 1:
            delay = max(0.0, event.age - (task.finished_on - task.created_on).total_seconds())
        self._on_ended(task, delay)

    def _learn(self, event: Event) -> None:
        if event.history is None or event.task is None:
            return
        known = self._schedules.get(event.task.task_type)
        if known is None or known[0] is not event.history:
            self._schedules[event.task.task_type] = (event.history, Schedule(history=event.history))

    def _schedule(self, wait: Wait) -> Schedule | None:
        known = self._schedules.get(wait.task["task_type"]) if wait.task else None
        return known and known[1]
