"""What the blocking and the awaited driver have in common."""

from __future__ import annotations

from waiter.budget import Budget
from waiter.errors import ConfigurationError
from waiter.history import Histories, shared_histories
from waiter.pace import Pacer, shared_pacer
from waiter.plan import Plan
from waiter.refs import TaskRef, task_ids
from waiter.settings import Limits, Settings, limited


class Base:
    """What both waiters know: the settings, what was learned of the past, and the budget of requests."""

    def __init__(self, settings: Settings, histories: Histories | None = None, pacer: Pacer | None = None) -> None:
        self._settings = settings
        account = settings.base_url, settings.api_key.header
        is_private = bool(settings.client or settings.sleep)
        self._histories = histories or (Histories() if is_private else shared_histories(*account))
        self._budget = Budget(pacer or (Pacer() if is_private else shared_pacer(*account)), settings)

    def _plan(self, ref: TaskRef, limits: Limits | None = None) -> Plan:
        ids = task_ids(ref)
        if len(ids) != 1:
            message = f"wait() takes one task, not {len(ids)}: wait_all() takes any number"
            raise ConfigurationError(message)
        return Plan(ids[0], limited(self._settings, limits or {}), self._histories)
