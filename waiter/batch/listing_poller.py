"""One look for many: a listing of the tasks that go on stands for the looks of all waits whose tasks are on it.

Nothing but a task's own endpoint ends its wait. A listing says "goes on", which counts as a look, or says nothing, which makes
the wait look for itself; so one that is refused, cut off, torn between two pages or wrong costs requests or time, but no end.
It may lag, so it is no last look: at its deadline a wait asks the task's own endpoint, and makes do with a listing only if it
gets no turn in time. That it is not stuck is checked: each page lets one wait look for itself, in turn, and a task that has
ended has to be gone from those that begin later. One that fails, misleads or is not worth its pages is left alone, for longer
each time.

What a listing is worth stands in ``toll``, and what is held against it in ``trust``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from heapq import nsmallest
from math import ceil, inf
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from waiter.batch.circuit_breaker import CircuitBreaker, StuckError
from waiter.batch.listing_cost import FULL_PAGE, PAGE, cost_of, period_of
from waiter.batch.subscription import MISSING, Subscription
from waiter.batch.timer import InterruptibleTimer, Sleep
from waiter.errors import ApiError
from waiter.polling.wait_state import EPSILON
from waiter.ratelimit.limiter import RateLimitTimeoutError

if TYPE_CHECKING:
    from waiter.api.responses import ActivePage
    from waiter.polling.wait_state import WaitState
    from waiter.task import TaskSnapshot

# Until a listing has shown how long a task is, in bytes.
TASK = 1000.0
# Who waits for a first look, and those for whom listings stand, wait no longer for a page.
PATIENCE = 5.0
RECONSIDERED = 1.0
# So many waits are started or woken before the loop turns, so that it answers to others meanwhile.
AT_ONCE = 100
_ENDED = {"FINISHED", "ERROR"}

News = list[tuple[Subscription, bytes]]


class Client(Protocol):
    """What the crowd needs of whoever asks the API."""

    def ask(self, plan: WaitState) -> Awaitable[TaskSnapshot]:
        """Look at a wait's task at its own endpoint."""

    def list_active(self, *, limit: int, offset: int, timeout: float) -> Awaitable[ActivePage]:
        """List a part of the tasks that go on."""

    def read(self, body: bytes) -> TaskSnapshot:
        """Read a task as a listing shows it; raises ValueError or RecursionError."""


class ListingPoller:
    """All waits of one waiter, and the listings that stand for their looks."""

    def __init__(self, client: Client, sleep: Sleep, clock: Callable[[], float], max_rps: float) -> None:
        self._client = client
        # Listings do not queue up behind single looks, so they leave them half of the budget.
        self._page_takes = 2 / max_rps
        self._sleep = sleep
        self._clock = clock
        self._subscriptions: dict[str, tuple[Subscription, ...]] = {}
        self._wanting: set[Subscription] = set()
        self._circuit_breaker = CircuitBreaker()
        self._others = 0
        self._task_size = TASK
        self._listed_at = -inf
        self._bell = InterruptibleTimer(sleep)
        self._lister: asyncio.Task[None] | None = None

    def enter(self, plan: WaitState) -> Subscription:
        """Give a wait its place; it leaves when it is over."""
        subscription, key = Subscription(plan, self._sleep, self._clock), _key_of(plan.task_id)
        self._subscriptions[key] = (*self._subscriptions.get(key, ()), subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Take a wait's place back."""
        subscription.stop()
        key = _key_of(subscription.plan.task_id)
        others = tuple(other for other in self._subscriptions.pop(key) if other is not subscription)
        if others:
            self._subscriptions[key] = others
        elif self._is_listing and subscription.plan.task is not None and subscription.plan.task.ended:
            self._circuit_breaker.note_end(key, self._clock())

    async def look(self, subscription: Subscription) -> TaskSnapshot:
        """Look at the task: as a listing has shown it, or at its own endpoint."""
        if subscription.plan.task is None:
            await self._join(subscription)
        was_sent, shown = subscription.take(self._client.read)
        if shown is not None and subscription.plan.time_left >= EPSILON:
            return shown
        try:
            snapshot = await self._client.ask(subscription.plan)
        except RateLimitTimeoutError:
            await self._join(subscription)
            _, shown = subscription.take(self._client.read)
            if shown is None:
                raise
            return shown
        if was_sent and not snapshot.task.ended and self._circuit_breaker.note_look_in_vain(self._cost()):
            self._leave_alone()
        return snapshot

    async def _join(self, subscription: Subscription) -> None:
        """Wait for a listing, if so many want to know of their tasks at once that there may be one."""
        if len(self._subscriptions) <= PAGE:
            return
        if not self._is_listing:
            self._lister = asyncio.create_task(self._keep_listing())
        self._wanting.add(subscription)
        try:
            await asyncio.sleep(0)  # until all who start together are here
            if len(self._wanting) > PAGE:
                self._bell.wake()
                await subscription.rest_for_news(subscription.plan.request_timeout)
        finally:
            subscription.stop()
            self._wanting.discard(subscription)

    async def close(self) -> None:
        """End the listings."""
        if self._lister is not None:
            self._lister.cancel()
            await asyncio.gather(self._lister, return_exceptions=True)

    # The listings.

    @property
    def _is_listing(self) -> bool:
        return self._lister is not None and not self._lister.done()

    async def _keep_listing(self) -> None:
        due = self._due()
        try:
            while len(self._subscriptions) > PAGE:
                await self._gather()
                now = self._clock()
                if due - now < EPSILON or self._is_wanted(now):
                    await self._list()
                    due = self._due()
                else:
                    _let_go(self._wanting)
                    await self._bell.rest(RECONSIDERED if due == inf else due - now)
                    due = self._due() if due == inf else due
        finally:
            self._recall()
            _let_go(self._wanting)
            self._bell.stop()

    async def _gather(self) -> None:
        """Let all come in who want to know now; thousands start in more than one turn of the loop."""
        before = -1
        while before < len(self._wanting):
            before = len(self._wanting)
            await asyncio.sleep(0)

    def _is_wanted(self, now: float) -> bool:
        return self._circuit_breaker.is_there(now) and len(self._wanting) > self._cost()

    def _due(self) -> float:
        """When the next listing is due; when single looks are better, never, and every wait goes back to its own."""
        period = inf
        if self._circuit_breaker.is_there(self._clock()):
            period = period_of((subscription.gap for subscription in self._all() if subscription.gap > 0), self._cost())
        if period == inf:
            self._recall()
            return inf
        pages = ceil((len(self._subscriptions) + self._others) / FULL_PAGE)
        return self._listed_at + max(period, pages * self._page_takes)

    def _recall(self) -> None:
        """Let every wait go back to looks of its own."""
        for subscription in self._all():
            subscription.recall()

    def _all(self) -> Iterator[Subscription]:
        for subscriptions in self._subscriptions.values():
            yield from subscriptions

    def _cost(self) -> float:
        return cost_of(len(self._subscriptions) + self._others, self._task_size)

    async def _list(self) -> None:
        """Make a listing for those who want to know now; who comes too late for it may want the next."""
        asking, self._wanting = self._wanting, set()
        try:
            await self._list_for_all()
        finally:
            _let_go(asking)

    async def _list_for_all(self) -> None:
        began = self._listed_at = self._clock()
        self._circuit_breaker.begin(began)
        try:
            is_whole = await self._read(began)
        except ApiError as error:
            self._leave_alone(error.silence)
            return
        except StuckError:
            self._leave_alone()
            return
        shown, missed = [], []
        for subscription in self._all():
            if subscription.shown_at == began:
                shown.append(subscription)
            elif subscription.is_missed(began, is_whole=is_whole):
                missed.append((subscription, MISSING))
        # One for each page, and each in its turn.
        for subscription in nsmallest(ceil(len(shown) / FULL_PAGE), shown, key=attrgetter("rests_since")):
            subscription.check()
        await self._wake(began, missed)

    async def _read(self, began: float) -> bool:
        """Read the listing, wake those for whom there is news, and say whether it was whole."""
        offset, size = 0, 0
        limit = min(FULL_PAGE, 100 * ceil(len(self._subscriptions) / 100))
        while True:
            page = await self._client.list_active(limit=limit, offset=offset, timeout=PATIENCE)
            await self._wake(began, self._news(page, began))
            offset += len(page.tasks)
            size += page.size
            self._task_size = size / max(offset, 1)
            self._others = max(0, page.count - len(self._subscriptions))
            if offset >= page.count:
                return True
            if not page.tasks or self._cost() >= len(self._subscriptions):
                self._leave_alone()
                return False

    def _news(self, page: ActivePage, began: float) -> News:
        """Let the seats take note of a page, and give those for which there is news on it."""
        news: News = []
        for place, task in enumerate(page.tasks):
            if task.state in _ENDED:
                continue
            key = _key_of(task.id)
            if (subscriptions := self._subscriptions.get(key)) is None:
                self._circuit_breaker.check_going_on(key, began)
            else:
                for subscription in subscriptions:
                    if subscription.is_shown(task, began):
                        news.append((subscription, page.bodies[place]))
        return news

    async def _wake(self, began: float, news: News) -> None:
        for number, (subscription, body) in enumerate(news, start=1):
            subscription.tell(body, began)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _leave_alone(self, retry_after: float = 0.0) -> None:
        """Do without listings, and forget what they said of tasks that nobody here waits for."""
        self._circuit_breaker.lose(self._clock(), retry_after)
        self._others = 0


def _let_go(wanting: Iterable[Subscription]) -> None:
    """Let those who want to know, and have not been told, look for themselves."""
    for subscription in wanting:
        if subscription.wants:
            subscription.wake()


def _key_of(task_id: str) -> str:
    """Give what two spellings of an ID have in common, and no copy, for the sake of memory."""
    key = task_id.lower()
    return task_id if key == task_id else key
