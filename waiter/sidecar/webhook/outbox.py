"""The outbox: deliveries that are stored and sent until a receiver accepts them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from waiter.console import stderr
from waiter.errors import ConfigurationError
from waiter.sidecar.model import Delivery, Uptime, Wait, format_timestamp, uptime
from waiter.sidecar.storage.event_log import NewEvent
from waiter.sidecar.storage.store import Change
from waiter.sidecar.webhook.sender import DeliveryError, Sender
from waiter.sidecar.webhook.targets import Origin, Targets

if TYPE_CHECKING:
    from waiter.sidecar.storage.write_queue import WriteQueue

# Attempts to one receiver that run at the same time.
MAX_ATTEMPTS_TOGETHER = 4
# Seconds after which a delivery is given up, and how many are kept until then.
MAX_AGE = 24 * 3600.0
MAX_PENDING = 5000
# Seconds for which a receiver may ask for no requests for a while.
MAX_RETRY_AFTER = 3600.0
# 1 s, then a random time up to a limit that doubles from 2 s to 10 minutes.
_BACKOFF = wait_random_exponential(multiplier=1, min=1, max=600)


class Receiver:
    """The server of a URL: it is sent few requests at the same time, and none while it asks for that."""

    def __init__(self, name: str, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._name = name
        self._clock = clock
        self._sleep = sleep
        self._slots = asyncio.Semaphore(MAX_ATTEMPTS_TOGETHER)
        self._blocked_until = 0.0
        self._is_failing = False

    async def attempt(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send as soon as the receiver may be asked, and report when it begins or stops to fail. Raises DeliveryError."""
        async with self._slots:
            while (blocked_for := self._blocked_until - self._clock()) > 0:
                await self._sleep(blocked_for)
            try:
                await send()
            except DeliveryError as error:
                self._blocked_until = self._clock() + min(error.retry_after or 0.0, MAX_RETRY_AFTER)
                if not self._is_failing:
                    stderr.warn(f"the webhook receiver {self._name} does not accept: {error}; retrying")
                self._is_failing = True
                raise
        if self._is_failing:
            stderr.info(f"the webhook receiver {self._name} accepts again")
        self._is_failing = False


class Outbox:
    """Pending deliveries, each sent by a coroutine of its own.

    One whose receiver is not configured any more is kept like one whose receiver fails.

    ``record`` is called with the result of each attempt: ``delivered``, ``failed``, or ``given_up`` after the last one.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        write_queue: WriteQueue,
        sender: Sender,
        targets: Targets,
        *,
        record: Callable[[str], object] = lambda _: None,
        now: Callable[[], float] = time.time,
        uptime: Callable[[], Uptime] = uptime,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._write_queue = write_queue
        self._sender = sender
        self._targets = targets
        self._receivers: dict[str, Receiver] = {}
        self._record = record
        self._now = now
        self._uptime = uptime
        self._clock = clock
        self._sleep = sleep
        self._pending: dict[str, Delivery] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, stored: Iterable[Delivery]) -> None:
        """Send the deliveries that an earlier process left."""
        for delivery in stored:
            self.add(delivery)

    def check(self, url: str) -> None:
        """Raise ConfigurationError unless requests may name this URL."""
        self._targets.check(url)

    def urls_of(self, wait: Wait) -> list[str | None]:
        """Return all URLs to which the end of a wait is sent, None for that of the operator."""
        return [*([None] if self._targets.default else []), *wait.webhooks]

    def add(self, delivery: Delivery) -> None:
        """Send a stored delivery; the oldest one is given up when there are too many."""
        if len(self._pending) >= MAX_PENDING:
            oldest = next(iter(self._pending.values()))
            self._tasks.pop(oldest.id).cancel()
            self._give_up(oldest, f"more than {MAX_PENDING} are pending")
        self._pending[delivery.id] = delivery
        self._tasks[delivery.id] = asyncio.create_task(self._deliver(delivery), name=f"webhook {delivery.id}")

    def pending(self) -> int:
        """Return the number of deliveries that are not accepted yet."""
        return len(self._pending)

    def oldest_age(self) -> float:
        """Return the seconds since the end of the wait whose delivery is pending the longest, 0 when there is none."""
        oldest = next(iter(self._pending.values()), None)
        return 0.0 if oldest is None else self._age(oldest)

    async def stop(self) -> None:
        """Stop sending; what is pending is sent by the next process."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    async def _deliver(self, delivery: Delivery) -> None:
        retrying = AsyncRetrying(
            sleep=self._sleep,
            retry=retry_if_exception_type(DeliveryError),
            stop=lambda call: _error_of(call).is_final or self._age(delivery) >= MAX_AGE,
            wait=lambda call: min(_delay_after(call), max(0.0, MAX_AGE - self._age(delivery))),
            reraise=True,
        )
        try:
            await retrying(self._attempt, delivery)
        except DeliveryError as error:
            self._give_up(delivery, str(error))
        else:
            self._write_queue.enqueue(self._remove(delivery))
        self._tasks.pop(delivery.id, None)

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            await self._receiver_of(delivery).attempt(lambda: self._send_or_fail(delivery))
        except DeliveryError:
            self._record("failed")
            raise
        self._record("delivered")

    def _receiver_of(self, delivery: Delivery) -> Receiver:
        url = self._targets.default if delivery.url is None else httpx.URL(delivery.url)
        name = "of --webhook" if url is None else str(Origin.of(url))
        if name not in self._receivers:
            self._receivers[name] = Receiver(name, self._clock, self._sleep)
        return self._receivers[name]

    async def _send_or_fail(self, delivery: Delivery) -> None:
        """Send a delivery; a fault is an attempt that failed, so that it is counted and repeated like any other."""
        try:
            await self._send(delivery)
        except DeliveryError:
            raise
        except Exception as error:
            stderr.error(f"a fault in waiter while a webhook for task {delivery.wait_id} was sent: {error!r}", "waiter.fault")
            message = f"a fault in waiter ({type(error).__name__})"
            raise DeliveryError(message) from error

    async def _send(self, delivery: Delivery) -> None:
        if delivery.url is not None:
            try:
                url = self._targets.check(delivery.url)
            except ConfigurationError as error:
                raise DeliveryError(str(error)) from error
            await self._sender.send(delivery, url, self._targets.allow_address)
        elif self._targets.default is None:
            message = "--webhook is not given"
            raise DeliveryError(message)
        else:
            await self._sender.send(delivery, self._targets.default)

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        self._record("given_up")
        data = {"task_id": delivery.wait_id, "webhook_id": delivery.id, "reason": reason}
        stderr.error(f"the webhook for task {delivery.wait_id} is given up: {reason}", "webhook.given_up", **data)
        event = NewEvent("webhook.given_up", msgspec.json.encode(data | {"at": format_timestamp(self._now())}))
        self._write_queue.enqueue(msgspec.structs.replace(self._remove(delivery), events=[event]))

    def _remove(self, delivery: Delivery) -> Change:
        self._pending.pop(delivery.id, None)
        return Change(delivered=[delivery.id])

    def _age(self, delivery: Delivery) -> float:
        return delivery.age(self._now(), self._uptime())


def _delay_after(call: RetryCallState) -> float:
    """Return the seconds until the next attempt: those that the receiver asks for, or the back-off."""
    retry_after = _error_of(call).retry_after
    return _BACKOFF(call) if retry_after is None else min(retry_after, MAX_RETRY_AFTER)


def _error_of(call: RetryCallState) -> Any:  # noqa: ANN401 - DeliveryError, because no other exception is retried
    assert call.outcome is not None  # noqa: S101 - an attempt has ended
    return call.outcome.exception()
