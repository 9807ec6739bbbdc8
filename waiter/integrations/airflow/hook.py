"""The connection to Gcore: the API key, and one waiter for all triggers of a process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from airflow.sdk import BaseHook, Connection

from waiter import AsyncWaiter, TaskNotFoundError, Waiter, WaiterError

_UNKNOWN = "00000000-0000-0000-0000-000000000000"


class GcoreHook(BaseHook):
    """A connection of type ``gcore``: the key is its password, the address of the API its host, the rest its extra."""

    conn_name_attr = "gcore_conn_id"
    default_conn_name = "gcore_default"
    conn_type = "gcore"
    hook_name = "Gcore"

    def __init__(self, gcore_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.gcore_conn_id = gcore_conn_id

    def get_conn(self) -> Waiter:
        """Return a waiter with the settings of the connection."""
        return Waiter(**options_of(self.get_connection(self.gcore_conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Poll a task that does not exist: the API answers 404 only to a key that it accepts."""
        try:
            with self.get_conn() as waiter:
                waiter.status(_UNKNOWN)
        except TaskNotFoundError:
            return True, "The API accepts the key."
        except WaiterError as error:
            return False, str(error)
        return True, "The API accepts the key."


def options_of(connection: Connection) -> dict[str, Any]:
    """Return the options of a waiter; ``max_rps`` is divided by the number of ``processes`` that share it."""
    # Not extra_dejson, which blocks the event loop that it may be called in.
    extra: dict[str, Any] = {name: value for name, value in json.loads(connection.extra or "{}").items() if value is not None}
    options: dict[str, Any] = {name: extra[name] for name in ("max_outage", "allow_http") if name in extra}
    if "max_rps" in extra or "processes" in extra:
        options["max_rps"] = extra.get("max_rps", 100) / extra.get("processes", 1)
    return {"api_key": connection.password, "base_url": connection.host, **options}


class _Shared:
    """One waiter and the number of those that use it."""

    def __init__(self, gcore_conn_id: str) -> None:
        self.users = 0
        self.opening = asyncio.create_task(self._open(gcore_conn_id))

    async def _open(self, gcore_conn_id: str) -> AsyncWaiter:
        return AsyncWaiter(**options_of(await BaseHook.aget_connection(gcore_conn_id)), log=False)

    async def close(self) -> None:
        self.opening.cancel()
        (opened,) = await asyncio.gather(self.opening, return_exceptions=True)
        if isinstance(opened, AsyncWaiter):
            await opened.close()


_shared: dict[tuple[asyncio.AbstractEventLoop, str], _Shared] = {}


@asynccontextmanager
async def shared_waiter(gcore_conn_id: str) -> AsyncIterator[AsyncWaiter]:
    """Share one waiter among all that use a connection in one event loop; the last one closes it.

    The connection is fetched once. Raises what fetching it raises, and ConfigurationError.
    """
    key = asyncio.get_running_loop(), gcore_conn_id
    if key not in _shared:
        _shared[key] = _Shared(gcore_conn_id)
    shared = _shared[key]
    shared.users += 1
    try:
        yield await asyncio.shield(shared.opening)
    finally:
        shared.users -= 1
        if not shared.users:
            del _shared[key]
            await shared.close()
