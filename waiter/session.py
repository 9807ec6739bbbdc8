"""What the blocking and the awaited driver have in common."""

from __future__ import annotations

from waiter.config.settings import Limits, Settings, limited
from waiter.config.task_ids import TaskRef, task_ids
from waiter.errors import ConfigurationError
from waiter.polling.history_cache import HistoryCache, shared_history_cache
from waiter.polling.wait_state import WaitState
from waiter.ratelimit.limiter import RateLimiter, shared_rate_limiter
from waiter.ratelimit.reservation import Budget


class Base:
    """What both waiters know: the settings, what was learned of the past, and the budget of requests."""

    def __init__(
        self, settings: Settings, history_cache: HistoryCache | None = None, limiter: RateLimiter | None = None
    ) -> None:
        self._settings = settings
        account = settings.base_url, settings.api_key.header
        is_private = bool(settings.client or settings.sleep)
        self._history_cache = history_cache or (HistoryCache() if is_private else shared_history_cache(*account))
        self._budget = Budget(limiter or (RateLimiter() if is_private else shared_rate_limiter(*account)), settings)

    def _plan(self, ref: TaskRef, limits: Limits | None = None) -> WaitState:
        ids = task_ids(ref)
        if len(ids) != 1:
            message = f"wait() takes one task, not {len(ids)}: wait_all() takes any number"
            raise ConfigurationError(message)
        return WaitState(ids[0], limited(self._settings, limits or {}), self._history_cache)
