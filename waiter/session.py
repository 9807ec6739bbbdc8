"""What both drivers share: the settings, the past durations of task types, and the request budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import msgspec

from waiter.config.options import Limits, Options
from waiter.config.settings import Settings, limited, resolve
from waiter.config.task_ids import TaskRef, task_ids
from waiter.errors import ConfigurationError, WaiterError
from waiter.polling.history_cache import HistoryCache, shared_history_cache
from waiter.polling.wait_state import WaitState
from waiter.ratelimit.limiter import RateLimiter, shared_rate_limiter
from waiter.ratelimit.reservation import RequestBudget

if TYPE_CHECKING:
    from waiter.api.resources import Check
    from waiter.events import Event
    from waiter.polling.listing_state import ListingState
    from waiter.polling.resource_state import ResourceWaitState


class Session:
    """The settings of a waiter, the history cache and the request budget of its account.

    All waiters of a process share the last two for one account, but for those with a client or a sleep of their own.
    """

    def __init__(self, settings: Settings, history_cache: HistoryCache, budget: RequestBudget) -> None:
        self.settings = settings
        self.history_cache = history_cache
        self.budget = budget
        self._is_closed = False

    @classmethod
    def open(cls, options: Options) -> Self:
        """Return the session that these options describe. Raises ConfigurationError with every problem in them."""
        settings = resolve(options)
        if settings.client or settings.sleep:
            history_cache, limiter = HistoryCache(), RateLimiter()
        else:
            account = settings.base_url, settings.api_key.header
            history_cache, limiter = shared_history_cache(*account), shared_rate_limiter(*account)
        return cls(settings, history_cache, RequestBudget(limiter, settings.clock, settings.max_rps))

    def with_sleep(self, sleep: Callable[[float], Any] | None) -> Self:
        """Return an open session with another ``sleep``, the same history cache and the same budget."""
        return type(self)(msgspec.structs.replace(self.settings, sleep=sleep), self.history_cache, self.budget)

    def close(self) -> None:
        """Refuse new waits."""
        self._is_closed = True

    def check_open(self) -> None:
        """Raise WaiterError if the session is closed."""
        if self._is_closed:
            message = "the waiter is closed: use another one"
            raise WaiterError(message)

    def new_resource_wait(
        self, path: str, check: Check, on_event: Callable[[Event], object] | None = None
    ) -> ResourceWaitState:
        """Return the state of a new wait for the resource at a path of the API. Raises WaiterError."""
        from waiter.api.resources import Target  # noqa: PLC0415 - a wait for a task does not need it
        from waiter.polling.reporter import Reporter  # noqa: PLC0415 - as above
        from waiter.polling.resource_state import ResourceWaitState  # noqa: PLC0415 - as above

        self.check_open()
        reporter = Reporter(path, on_event or self.settings.on_event, self.settings.log, "path")
        return ResourceWaitState([Target(path, check, path)], self.settings, reporter)

    def new_listing(self) -> ListingState:
        """Return the state of a new listing. Raises WaiterError."""
        from waiter.polling.listing_state import ListingState  # noqa: PLC0415 - a wait for a task does not need it

        self.check_open()
        return ListingState(self.settings)

    def reduce_timeout(self, seconds: float) -> None:
        """Let later waits end so many seconds earlier."""
        self.settings = msgspec.structs.replace(self.settings, timeout=max(0.0, self.settings.timeout - seconds))

    def new_wait(self, ref: TaskRef, limits: Limits | None = None) -> WaitState:
        """Return the state of a new wait for one task, with limits of its own. Raises WaiterError."""
        self.check_open()
        ids = task_ids(ref)
        if not ids:
            message = "one task is needed, and this names none: the response to a request that started no task is empty"
            raise ConfigurationError(message)
        if len(ids) > 1:
            message = f"one task is needed, not {len(ids)}: wait_all() waits for any number, other methods take one at a time"
            raise ConfigurationError(message)
        settings = limited(self.settings, limits) if limits else self.settings
        return WaitState(ids[0], settings, self.history_cache)
