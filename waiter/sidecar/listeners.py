"""The two listeners, each a uvicorn server, in one event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from waiter.sidecar.address import MOST_CONNECTIONS, Address

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LONGEST_SILENCE = 10.0
# What is still open so long after the end was asked for is broken off.
GRACE = 0.4


class _Protocol(H11Protocol):
    """Hangs up on who connects and asks nothing, so that nobody can hold every connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(LONGEST_SILENCE, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


class Listener(Server):
    """Serves an application on one address, without taking the signals of the process."""

    def __init__(self, app: ASGIApp, bound: socket.socket) -> None:
        super().__init__(
            Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_CONNECTIONS,
            )
        )
        self._bound = bound
        self.url = f"http://{Address.of(bound)}"

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the sidecar, which has two of these."""
        yield

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until asked to stop, and a moment longer for what is open."""
        serving = asyncio.create_task(self.serve(sockets=[self._bound]))
        await stop.wait()
        self.should_exit = True
        force = asyncio.get_running_loop().call_later(GRACE, self._force)
        await serving
        force.cancel()

    def _force(self) -> None:
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
