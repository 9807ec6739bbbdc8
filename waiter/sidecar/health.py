"""What does not work although the sidecar is running; shown by /readyz."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from waiter.console.formatting import format_duration
from waiter.outcome import WaitStatus
from waiter.sidecar.api_client import SidecarClient
from waiter.sidecar.model import Wait
from waiter.sidecar.storage.store import Store
from waiter.sidecar.storage.write_queue import WriteQueue

# Seconds of an outage that is worth a warning; a shorter one is usual.
MIN_OUTAGE = 30.0
# Waits that poll, or will when the key is another one.
_POLLING = {WaitStatus.WAITING, WaitStatus.REFUSED}


class Health:
    """The state of the API, of the key and of the storage; ``waits`` returns the waits that use the key."""

    def __init__(
        self, client: SidecarClient, write_queue: WriteQueue, store: Store, waits: Callable[[], Iterable[Wait]]
    ) -> None:
        self._client = client
        self._write_queue = write_queue
        self._store = store
        self._waits = waits

    def is_key_refused(self) -> bool:
        """Return whether the API refused the key at the last poll and a wait needs it; without one nothing would be polled."""
        return self._client.refused_with is not None and any(wait.status in _POLLING for wait in self._waits())

    def warnings(self) -> list[str]:
        """Return a text for each problem; no resource is named."""
        found = []
        if self.is_key_refused():
            found.append(f"the API refuses the key (HTTP {self._client.refused_with})")
        if (outage := self._client.outage()) >= MIN_OUTAGE:
            found.append(f"the API has given no usable answer for {format_duration(outage)}")
        if self._write_queue.is_lost:
            found.append(
                "the state directory was deleted or replaced; no waits are accepted, and changes are kept in memory: "
                "free its path, or restart the sidecar with another --state-dir"
            )
        elif self._write_queue.is_failing:
            found.append("the state directory is not writable; changes are kept in memory")
        if self._store.damage is not None:
            lost = f"{self._store.lost} waits, {self._store.lost_events} events and {self._store.lost_deliveries} webhooks"
            found.append(f"the database was damaged: {lost} could not be read")
        return found
