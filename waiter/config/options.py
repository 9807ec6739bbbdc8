"""The keyword arguments of waiter's functions and classes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import httpx
    from tenacity.wait import wait_base

    from waiter.events import Event


class Limits(TypedDict, total=False):
    """The options that one wait of a waiter may override; times are seconds or a ``timedelta``, None is no limit.

    - ``timeout``: the longest time to wait.
    - ``max_outage``: how long polls may fail in a row.
    - ``stall_timeout``: how long the task may show no change at all.
    - ``ready``: whether to wait until the created resources are ready, too.
    - ``on_event``: called with each :class:`waiter.Event` of this wait.
    """

    timeout: float | timedelta | None
    max_outage: float | timedelta | None
    stall_timeout: float | timedelta | None
    ready: bool
    on_event: Callable[[Event], object] | None


class Options(TypedDict, total=False):
    """The keyword arguments of every function and class that waits; times are seconds or a ``timedelta``.

    - ``api_key``: the permanent API token, a ``Path`` to a file that holds it, or a function that returns it; the file is read
      and the function called again after a 401 or 403. Defaults to ``GCORE_API_KEY`` or the file named by
      ``GCORE_API_KEY_FILE``.
    - ``base_url``: a string or an ``httpx.URL``; defaults to ``GCORE_BASE_URL``, then https://api.gcore.com.
    - ``timeout``: the longest time to wait; None is no limit. Defaults to ``GCORE_POLLING_TIMEOUT_SECONDS``, then 7200.
    - ``max_outage``: how long polls may fail in a row; 300.
    - ``stall_timeout``: how long a task may show no change at all; None, the default, is no limit.
    - ``ready``: whether to wait, after a task is FINISHED, until what it created is ready by its own endpoints; False.
    - ``price``: the seconds of delay that one request is worth; 0.05 (higher: fewer requests, ends noticed later).
    - ``min_interval``: the shortest time between two polls of the schedule; 0.2.
    - ``wait``: a tenacity wait strategy instead of the schedule.
    - ``max_rps``: the most requests per second, over all waits of the process together; 100. A waiter with its own ``client``
      or ``sleep`` has a separate limit.
    - ``learn``: whether to ask the API for past durations; True.
    - ``on_event``: called with each :class:`waiter.Event`.
    - ``log``: whether events are logged; True.
    - ``client``: an httpx client to use, for proxies, transports or mTLS; it is not closed.
    - ``allow_http``: whether to send the key over plain http to another host than this machine; False.
    - ``sleep``, ``clock``: replace sleeping and ``time.monotonic``, for tests; an ``AsyncWaiter`` awaits its ``sleep``.
    """

    api_key: str | Path | Callable[[], str] | None
    base_url: str | httpx.URL | None
    timeout: float | timedelta | None
    max_outage: float | timedelta
    stall_timeout: float | timedelta | None
    ready: bool
    price: float
    min_interval: float | timedelta
    wait: wait_base | None
    max_rps: float
    learn: bool
    on_event: Callable[[Event], object] | None
    log: bool
    client: httpx.Client | httpx.AsyncClient | None
    allow_http: bool
    sleep: Callable[[float], Any] | None
    clock: Callable[[], float] | None
