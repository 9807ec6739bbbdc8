"""One look for many: a listing of the tasks that go on stands for the looks of all waits whose tasks are on it.

Nothing but a task's own endpoint ends its wait. The listing only says "goes on", which counts as a look, or says nothing, which
makes the wait look for itself; so a listing that is refused, cut off, torn between two pages or wrong costs requests or time,
and no result. It may lag, so it is no last look: at its deadline a wait asks the task's own endpoint, and makes do with a
listing only if it gets no turn in time. That it is not stuck is checked: each listing lets one wait look for itself, and a task
that has ended must be gone from listings that begin later.

**When it pays.** A look costs one. A listing costs what its bytes would buy in looks, and :data:`PAGE` for each page, because
a search costs a server more than a row by its key. Waits with the gaps g look S = Σ 1/g times a second. Their schedule makes
g = √(2λ/h), so their tasks end at the rate H = Σ h = 2λ Σ 1/g² together, and the best time between two listings of cost C is
√(2λC/H) = √(C/Q) with Q = Σ 1/g² (the same law as for one task, see ``schedule``). Requests and delay together then cost
2λ√(CQ), against 2λS for single looks: **the listing pays when C < S²/Q**, which is the number of waits if all gaps are alike.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING, Protocol

from waiter.alarm import INSTANT, Alarm, Sleep
from waiter.errors import ApiError, ApiUnavailableError, InvalidResponseError
from waiter.pace import NoTurnError
from waiter.schedule import backoff
from waiter.seat import Seat, key_of

if TYPE_CHECKING:
    from waiter.api import ActivePage
    from waiter.plan import Plan
    from waiter.task import Sighting

FULL_PAGE = 1000
# Measured: decoding and serving a page takes the CPU of 6 to 11 looks.
PAGE = 10.0
# What a request costs beside the body of its answer, in bytes: the heads of both.
HEADS = 1000.0
# Until a listing has shown how long a task is.
TASK = 1000.0
LEAST_PERIOD = 0.2
# Listings may lag behind the tasks' own endpoint by so much.
LAG = 10.0
REFUSED_FOR = 600.0
STRAYS_FOR = 30.0
RECONSIDERED = 1.0
# Each second: half of it in three minutes.
FORGETTING = 0.996
PATIENCE = 30.0
AT_ONCE = 100
_ENDED = {"FINISHED", "ERROR"}


class Asks(Protocol):
    """What the crowd needs of a client."""

    def __call__(self, *, limit: int, offset: int, timeout: float) -> Awaitable[ActivePage]:
        """List a part of the tasks that go on."""


class Crowd:
    """All waits of one waiter, and the listings that stand for their looks."""

    def __init__(self, ask: Asks, sleep: Sleep, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._sleep = sleep
        self._clock = clock
        self._seats: dict[Seat, None] = {}
        self._wanting: set[Seat] = set()
        self._ended: dict[str, float] = {}
        self._listing_cost = self._wasted = 0.0
        self._task_size = TASK
        self._failures = 0
        self._shut_until = -inf
        self._listed_at = -inf
        self._bell = Alarm(sleep)
        self._lister: asyncio.Task[None] | None = None

    def enter(self, plan: Plan) -> Seat:
        """Give a wait its place; it leaves when it is over."""
        seat = Seat(plan, self._sleep, self._clock)
        self._seats[seat] = None
        return seat

    def leave(self, seat: Seat) -> None:
        """Take a wait's place back."""
        del self._seats[seat]
        seat.stop()
        if self._is_listing and seat.plan.task is not None and seat.plan.task.ended:
            self._ended[seat.key] = self._clock()
        if len(self._seats) <= PAGE:
            self._bell.wake()

    async def look(self, seat: Seat, ask: Callable[[Plan], Awaitable[Sighting]], read: Callable[[bytes], Sighting]) -> Sighting:
        """Look at the task: by its own endpoint, or by a listing if so many want to look that it pays, and time is left."""
        is_last = seat.plan.time_left < INSTANT
        if seat.body is None and not seat.must_ask and not is_last:
            await self._join(seat)
        misled = seat.must_ask
        if not is_last and seat.body is not None:
            if (sighting := seat.take(read)) is not None:
                return sighting
            misled = True
        seat.stretch = 1
        try:
            sighting = await ask(seat.plan)
        except NoTurnError:
            seat.body = None
            await self._join(seat)
            if (from_listing := seat.take(read)) is None:
                raise
            return from_listing
        finally:
            seat.body, seat.must_ask = None, False
        if misled and not sighting.task.ended:
            seat.strays_until = self._clock() + STRAYS_FOR
            self._wasted += 1
        return sighting

    async def _join(self, seat: Seat) -> None:
        """Wait for a listing if so many want to look at once that there may be one."""
        self._wanting.add(seat)
        try:
            if len(self._seats) <= PAGE:
                return
            await asyncio.sleep(0)  # until all who start together are here
            self._attend()
            if len(self._wanting) <= PAGE:
                return
            self._bell.wake()
            await seat.rest(seat.plan.request_timeout)
        finally:
            seat.stop()
            self._wanting.discard(seat)

    def _attend(self) -> None:
        if not self._is_listing:
            self._lister = asyncio.create_task(self._keep_listing())

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
        due = self._clock() + RECONSIDERED
        try:
            while len(self._seats) > PAGE:
                due = await self._take_step(due)
        finally:
            self._release()
            self._recall()
            self._ended.clear()
            self._bell.stop()

    async def _take_step(self, due: float) -> float:
        """Rest until a listing is due, or make it; gives the time of the next."""
        await self._gather()
        if is_wanted := self._worth_it(len(self._wanting)):
            due = max(self._listed_at + LEAST_PERIOD, self._shut_until)
        else:
            self._release()
        if (pause := due - self._clock()) > INSTANT:
            await self._bell.rest(pause)
            return due
        if is_wanted or self._period() < inf:
            await self._make_listing()
        else:
            self._believe_less()
            self._recall()
        period = self._period()
        return self._clock() + RECONSIDERED if period == inf else self._listed_at + period

    async def _gather(self) -> None:
        """Let all come in who want to look now; thousands start in more than one turn of the loop."""
        before = -1
        while before < len(self._wanting):
            before = len(self._wanting)
            await asyncio.sleep(0)

    def _release(self) -> None:
        """Let those who want to look do so by themselves."""
        for seat in self._wanting:
            seat.wake()

    def _recall(self) -> None:
        """Let every wait go back to its own pace."""
        for seat in self._seats:
            seat.recall()

    def _believe_less(self) -> None:
        """What was measured some time ago may have changed."""
        self._wasted *= FORGETTING
        self._listing_cost *= FORGETTING
        self._ended.clear()

    def _period(self) -> float:
        """Seconds from one listing to the next; infinite when single looks are cheaper."""
        now = self._clock()
        if now < self._shut_until:
            return inf
        rates = [1 / seat.gap for seat in self._seats if seat.gap > 0 and seat.is_resting and seat.strays_until < now]
        looks, hazard = sum(rates), sum(rate * rate for rate in rates)
        cost = self._expected_cost(len(rates))
        if cost * hazard >= looks * looks:
            return inf
        return max(LEAST_PERIOD, sqrt(cost / hazard))

    def _worth_it(self, looks: float) -> bool:
        return looks > self._expected_cost(len(self._seats)) and self._clock() >= self._shut_until

    def _expected_cost(self, tasks: int) -> float:
        return max(cost_of(tasks, self._task_size), self._listing_cost) + self._wasted

    async def _make_listing(self) -> None:
        began = self._listed_at = self._clock()
        wanting = frozenset(self._wanting)
        self._wasted /= 2
        is_whole = False
        try:
            is_whole = await self._read_pages(began, wanting)
            self._failures = 0
        except ApiError as error:
            self._failures += 1
            survived = isinstance(error, ApiUnavailableError | InvalidResponseError)
            self._shut_until = self._clock() + (backoff(self._failures) if survived else REFUSED_FOR)
        except _StuckError:
            self._shut_until = self._clock() + REFUSED_FOR
            self._recall()
        await self._tell_missing(began, wanting, is_whole=is_whole)

    async def _read_pages(self, began: float, wanting: AbstractSet[Seat]) -> bool:
        """Read the listing, tell those whose tasks go on, and say whether it was whole."""
        seats: dict[str, list[Seat]] = {}
        for seat in self._seats:
            seats.setdefault(seat.key, []).append(seat)
        offset, size = 0, 0
        limit = min(FULL_PAGE, 100 * ceil(len(self._seats) / 100))
        while True:
            page = await self._ask(limit=limit, offset=offset, timeout=PATIENCE)
            await self._tell_listed(page, seats, began, wanting)
            offset += len(page.tasks)
            size += page.size
            self._task_size = size / max(offset, 1)
            self._listing_cost = cost_of(max(page.count, offset), self._task_size)
            if offset >= page.count:
                return True
            if not page.tasks or self._listing_cost >= len(self._seats):
                return False
            limit = FULL_PAGE

    async def _tell_listed(
        self, page: ActivePage, seats: Mapping[str, Sequence[Seat]], began: float, wanting: AbstractSet[Seat]
    ) -> None:
        woken = 0
        for task, body in page.tasks:
            key = key_of(task.id)
            if task.state in _ENDED:
                continue
            if self._ended.get(key, inf) + LAG < began:
                raise _StuckError
            for seat in seats.get(key, ()):
                if seat in wanting or seat not in self._wanting:  # who came too late for this listing waits for the next
                    woken += seat.show(task, body, began, is_wanted=seat in wanting)
            if woken >= AT_ONCE:
                woken = 0
                await asyncio.sleep(0)

    async def _tell_missing(self, began: float, wanting: AbstractSet[Seat], *, is_whole: bool) -> None:
        listed: list[Seat] = []
        woken = 0
        for seat in [seat for seat in self._seats if seat in wanting or seat not in self._wanting]:
            if seat.listed_at == began:
                listed.append(seat)
            elif seat in wanting or (is_whole and seat.is_missed(began)):
                seat.send_to_ask()
                woken += 1
            else:
                seat.recall()
            if woken >= AT_ONCE:
                woken = 0
                await asyncio.sleep(0)
        if listed and not (sample := random.choice(listed)).is_failing:  # noqa: S311 - no secret
            sample.wake()
        self._forget(began)

    def _forget(self, began: float) -> None:
        """Let go of the ends that a listing which began then could have contradicted."""
        for key in [key for key, ended_at in self._ended.items() if ended_at + LAG < began]:
            del self._ended[key]


class _StuckError(Exception):
    """A listing shows a task that ended some time ago."""


def cost_of(tasks: int, size: float) -> float:
    """What a listing of so many tasks costs, in single looks; ``size`` is that of a task in bytes."""
    return PAGE * max(1, ceil(tasks / FULL_PAGE)) + tasks * size / (HEADS + size)
