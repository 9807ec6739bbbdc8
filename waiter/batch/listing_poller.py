"""One listing of the active tasks in place of the polls of many waits.

Only a poll of a task's own endpoint ends a wait. A listing that shows a task as active counts as a poll of it; one that does
not show it makes the wait poll. So a listing that fails, is cut off, is torn between two pages or is wrong costs requests or
time, but never a result. A listing may lag, so it is no final poll: at its deadline a wait polls its task, and uses a listing
only if the rate limit leaves no room for that in time. A listing may be stuck, so after each some waits poll their tasks, and
a task that has ended must not be on the listings that begin later.

``listing_cost`` says when listings pay, ``circuit_breaker`` when none may be made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from math import ceil, inf
from typing import TYPE_CHECKING, Protocol

from waiter.batch.circuit_breaker import CircuitBreaker, ExpensiveListingError, StuckListingError
from waiter.batch.listing_cost import PAGE_COST, PAGE_SIZE, listing_cost, listing_period, ordinary_interval
from waiter.batch.slices import in_slices
from waiter.batch.subscription import MISSING, Subscription
from waiter.batch.timer import InterruptibleTimer, Sleep
from waiter.errors import ApiError
from waiter.ratelimit.reservation import RateLimitTimeoutError
from waiter.task import FINAL_STATES
from waiter.timing import EPSILON

if TYPE_CHECKING:
    from waiter.api.listings import ActivePage
    from waiter.polling.wait_state import WaitState
    from waiter.task import TaskSnapshot

    Poll = Callable[[WaitState], Awaitable[TaskSnapshot]]

# Bytes of a task, until a listing has shown how long one is.
DEFAULT_TASK_SIZE = 1000.0
PAGE_TIMEOUT = 5.0
# A listing may lag behind the tasks' own endpoint by so many seconds.
MAX_LAG = 3.0
# While individual polls cost less than listings, the costs are compared again after so many seconds.
RECONSIDER_AFTER = 1.0
# Spot checks step through the waits by this fraction of them, so that any number of checks is spread evenly: neighbours often
# end together, and any tenth of the waits is reached within sixteen checks.
GOLDEN_RATIO = 0.6180339887498949


class Client(Protocol):
    """What the listing poller needs of a client."""

    def list_active(self, *, limit: int, offset: int, timeout: float) -> Awaitable[ActivePage]:
        """List a page of the active tasks."""

    def decode_snapshot(self, body: bytes) -> TaskSnapshot:
        """Read a task from the JSON that a listing holds of it; raises ValueError or RecursionError."""


class ListingPoller:
    """The waits of one waiter, and the listings that serve them; times are monotonic seconds."""

    def __init__(self, client: Client, poll: Poll, sleep: Sleep, clock: Callable[[], float], max_rps: float) -> None:
        self._client = client
        self._poll_task = poll
        self._sleep = sleep
        self._clock = clock
        # Pages bypass the queue of the rate limiter, so they leave half of the rate to individual polls.
        self._seconds_per_page = 2 / max_rps
        self._subscriptions: dict[str, tuple[Subscription, ...]] = {}
        # The waits that want the next listing.
        self._awaiting: set[Subscription] = set()
        self._circuit_breaker = CircuitBreaker()
        self._foreign_tasks = 0
        self._task_size = DEFAULT_TASK_SIZE
        self._page_size = PAGE_SIZE
        self._listed_at = -inf
        self._check_position = 0.0
        self._next_listing_at = inf
        self._wakeup = InterruptibleTimer(sleep, clock)
        self._listing: asyncio.Task[None] | None = None

    # The waits.

    def subscribe(self, state: WaitState) -> Subscription:
        """Return a subscription for a wait, which unsubscribes when it is over."""
        key, subscription = _key_of(state.task_id), Subscription(state, self._sleep, self._clock)
        self._subscriptions[key] = (*self._subscriptions.get(key, ()), subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        key = _key_of(subscription.state.task_id)
        others = tuple(other for other in self._subscriptions.pop(key) if other is not subscription)
        if others:
            self._subscriptions[key] = others
        subscription.cancel()

    @property
    def may_list(self) -> bool:
        """Whether there are enough waits for one listing to cost less than their polls."""
        return len(self._subscriptions) > PAGE_COST

    async def poll(self, subscription: Subscription) -> TaskSnapshot:
        """Return the task as a listing has just shown it, or poll its own endpoint."""
        if subscription.state.task is None:
            await self._await_listing(subscription)
        woken_by_listing = subscription.update is not None
        if woken_by_listing:
            shown = subscription.pop_update(self._client.decode_snapshot)
            if shown is not None and subscription.state.time_left >= EPSILON:
                return shown
        try:
            snapshot = await self._poll_task(subscription.state)
        except RateLimitTimeoutError as error:
            subscription.state.record_delay(error.delay)
            await self._await_listing(subscription)
            if (shown := subscription.pop_update(self._client.decode_snapshot)) is None:
                raise
            return shown
        if self._listing is not None:
            self._record_poll(subscription, snapshot, woken_by_listing=woken_by_listing)
        return snapshot

    async def _await_listing(self, subscription: Subscription) -> None:
        """Wait for a listing if enough waits want their first poll now for one to pay."""
        if len(self._subscriptions) <= PAGE_COST:
            return
        if not self._is_listing:
            self._listing = asyncio.create_task(self._keep_listing())
        self._awaiting.add(subscription)
        try:
            await asyncio.sleep(0)  # until all that start together are here
            if len(self._awaiting) > PAGE_COST:
                self._wakeup.wake()
                await subscription.sleep_until_listing(subscription.state.request_timeout)
        finally:
            subscription.cancel()
            self._awaiting.discard(subscription)

    def _record_poll(self, subscription: Subscription, snapshot: TaskSnapshot, *, woken_by_listing: bool) -> None:
        """Pause listings that showed the task as active long after its end, or that cause too many needless polls."""
        if not self._is_listing:
            return
        if snapshot.task.ended:
            gone_since = subscription.ended_at(snapshot) + MAX_LAG
            self._circuit_breaker.record_end(_key_of(subscription.state.task_id), gone_since)
            if subscription.shown_at > gone_since:
                self._pause_listings(is_stuck=True)
        elif woken_by_listing:
            self._circuit_breaker.record_needless_poll()
            if self._circuit_breaker.is_misleading(self._cost()):
                self._pause_listings()

    async def close(self) -> None:
        """End the listings, from any event loop."""
        listing = self._listing
        if listing is None or listing.done():
            return
        loop = listing.get_loop()
        if loop is asyncio.get_running_loop():
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
        else:
            # A closed loop has cancelled its tasks or lost them.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(listing.cancel)

    # When to list.

    @property
    def _is_listing(self) -> bool:
        return self._listing is not None and not self._listing.done()

    def _all(self) -> Iterator[Subscription]:
        for subscriptions in self._subscriptions.values():
            yield from subscriptions

    @property
    def _listed_tasks(self) -> int:
        return len(self._subscriptions) + self._foreign_tasks

    def _intervals(self) -> Iterator[float]:
        return (subscription.interval for subscription in self._all() if subscription.interval > 0)

    def _cost(self) -> float:
        return listing_cost(self._listed_tasks, self._task_size, self._page_size)

    async def _keep_listing(self) -> None:
        self._schedule_next_listing()
        try:
            while len(self._subscriptions) > PAGE_COST:
                await self._let_all_start()
                now = self._clock()
                if self._is_due(now):
                    await self._list()
                    await self._let_all_sleep()
                    self._schedule_next_listing()
                    continue
                _stop_awaiting(self._awaiting)
                if self._next_listing_at < inf:
                    await self._wakeup.sleep(self._next_listing_at - now)
                else:
                    await self._wakeup.sleep(RECONSIDER_AFTER)
                    self._schedule_next_listing()
        finally:
            self._resume_individual_polling()
            _stop_awaiting(self._awaiting)
            self._wakeup.cancel()

    async def _let_all_start(self) -> None:
        """Run the event loop until no more waits come to await a listing: thousands start in more than one turn."""
        before = -1
        while before < len(self._awaiting):
            before = len(self._awaiting)
            await asyncio.sleep(0)

    async def _let_all_sleep(self) -> None:
        """Run the event loop until the waits whose first poll was a listing sleep: their intervals decide about the next."""
        before = inf
        while (awake := sum(not one.interval for one in self._all())) < before:
            before = awake
            await asyncio.sleep(0)

    def _is_due(self, now: float) -> bool:
        is_wanted = self._circuit_breaker.allows(now) and len(self._awaiting) > self._cost()
        return is_wanted or self._next_listing_at - now < EPSILON

    def _schedule_next_listing(self) -> None:
        """Decide when to make the next listing: when it pays, else never, and every wait resumes individual polling."""
        period = inf
        if self._circuit_breaker.allows(self._clock()):
            period = listing_period(self._intervals(), self._cost())
        pages = ceil(self._listed_tasks / self._page_size)
        self._next_listing_at = self._listed_at + max(period, pages * self._seconds_per_page)
        if period == inf:
            self._resume_individual_polling()

    def _pause_listings(self, retry_after: float = 0.0, *, is_stuck: bool = False) -> None:
        """Do without listings until the circuit breaker allows one, and forget what made them expensive."""
        self._circuit_breaker.trip(self._clock(), retry_after)
        self._foreign_tasks, self._page_size = 0, PAGE_SIZE
        self._next_listing_at = inf
        self._resume_individual_polling(trust_last_listing=not is_stuck)

    def _resume_individual_polling(self, *, trust_last_listing: bool = True) -> None:
        for subscription in self._all():
            subscription.resume_individual_polling(trust_last_listing=trust_last_listing)

    # One listing.

    async def _list(self) -> None:
        """Make a listing and update the waits; a wait that comes too late for it may await the next."""
        began = self._listed_at = self._clock()
        awaiting, self._awaiting = self._awaiting, set()
        self._circuit_breaker.record_listing(began)
        try:
            await self._read_pages(began)
            await self._follow_up(began)
        except ApiError as error:
            self._pause_listings(error.blocked_for)
        except StuckListingError:
            self._pause_listings(is_stuck=True)
        except ExpensiveListingError:
            self._pause_listings()
        finally:
            _stop_awaiting(awaiting)

    async def _read_pages(self, began: float) -> None:
        """Read the listing page by page; raises ApiError, StuckListingError or ExpensiveListingError."""
        slow_after = began + ordinary_interval(self._intervals())
        offset = size = 0
        limit = self._page_size = min(PAGE_SIZE, 100 * ceil(len(self._subscriptions) / 100))
        while True:
            page = await self._client.list_active(limit=limit, offset=offset, timeout=PAGE_TIMEOUT)
            await self._apply_page(page, began)
            offset += len(page.tasks)
            size += page.size
            self._task_size = size / max(offset, 1)
            self._foreign_tasks = max(0, page.count - len(self._subscriptions))
            if offset >= page.count:
                return
            self._page_size = max(len(page.tasks), 1)
            if not page.tasks or self._cost() >= len(self._subscriptions) or self._clock() > slow_after:
                raise ExpensiveListingError

    async def _apply_page(self, page: ActivePage, began: float) -> None:
        """Record which tasks a page shows as active, and update the waits to which that is news."""
        updates: list[tuple[Subscription, bytes]] = []
        for place, row in enumerate(page.tasks):
            if row.state in FINAL_STATES:
                continue
            key = _key_of(row.id)
            if (subscriptions := self._subscriptions.get(key)) is None:
                self._circuit_breaker.check_active(key, began)
                continue
            for subscription in subscriptions:
                if subscription.can_use(began):
                    subscription.record_shown(began)
                    if subscription.needs_update(row):
                        updates.append((subscription, page.bodies[place]))
        await self._notify(updates, began)

    async def _follow_up(self, began: float) -> None:
        """Wake the waits whose task was not listed, and some of the others as a check on the listing."""
        everyone = list(self._all())
        shown = [one for one in everyone if one.shown_at == began]
        for _ in range(ceil(len(shown) / PAGE_SIZE)):
            self._check_position = (self._check_position + GOLDEN_RATIO) % 1
            shown[int(self._check_position * len(shown))].spot_check()
        await self._notify([(one, MISSING) for one in everyone if one.shown_at != began], began)

    async def _notify(self, updates: list[tuple[Subscription, bytes]], began: float) -> None:
        async for subscription, update in in_slices(updates):
            if subscription.can_use(began):
                subscription.notify(update)


def _stop_awaiting(subscriptions: Iterable[Subscription]) -> None:
    for subscription in subscriptions:
        subscription.stop_awaiting()


def _key_of(task_id: str) -> str:
    """Return what two spellings of an ID have in common, without a copy if that is the ID itself."""
    key = task_id.lower()
    return task_id if key == task_id else key
