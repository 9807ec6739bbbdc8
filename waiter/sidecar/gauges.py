"""Gauges: the limits and the state of the parts of the sidecar, read at each scrape."""

from __future__ import annotations

from collections.abc import Mapping

from waiter.sidecar.api_client import SidecarClient
from waiter.sidecar.health import Health
from waiter.sidecar.listeners import Listener
from waiter.sidecar.metrics import Metrics
from waiter.sidecar.options import SidecarOptions
from waiter.sidecar.storage.store import Store
from waiter.sidecar.storage.write_queue import WriteQueue
from waiter.sidecar.web.app import ControlApi


def add_gauges(  # noqa: PLR0913 - everything that is measured
    metrics: Metrics,
    *,
    options: SidecarOptions,
    store: Store,
    write_queue: WriteQueue,
    client: SidecarClient,
    health: Health,
    api: ControlApi,
    listeners: Mapping[str, Listener],
) -> None:
    """Add a gauge for everything that has a limit or can fail; ``listeners`` are those by name."""
    add = metrics.add_gauge
    add("waiter_max_waits", "The maximum number of stored waits", lambda: options.max_waits)
    add("waiter_lost_waits", "Waits that could not be read at the start", lambda: store.lost)
    add("waiter_lost_events", "Events that could not be read at the start", lambda: store.lost_events)
    add("waiter_lost_webhooks", "Pending webhooks that could not be read at the start", lambda: store.lost_deliveries)
    add("waiter_storage_failing", "Whether the state directory rejects writes", lambda: write_queue.is_failing)
    add("waiter_storage_lost", "Whether the state directory was deleted or replaced", lambda: write_queue.is_lost)
    add("waiter_storage_restores", "How often the state directory was restored", lambda: store.times_restored)
    add("waiter_storage_bytes", "The size of the database, with its log", store.size)
    add("waiter_storage_pending_changes", "Changes that are not on disk yet", write_queue.pending)
    add("waiter_api_key_refused", "Whether the API refuses the key that waits need", health.is_key_refused)
    add("waiter_api_key_age_seconds", "Time since the present key was read for the first time", client.key_age)
    add("waiter_open_long_polls", "Long polls that are open", api.long_polls.taken)
    add("waiter_max_long_polls", "The maximum number of open long polls", lambda: api.long_polls.count)
    add("waiter_open_streams", "Event streams that are open", api.subscribers.taken)
    add("waiter_max_streams", "The maximum number of open event streams", lambda: api.subscribers.count)
    for name, listener in listeners.items():
        add("waiter_open_connections", "Open connections, by listener", listener.open_connections, listener=name)
        add("waiter_max_connections", "The maximum number of connections", listener.get_max_connections, listener=name)
