"""The two HTTP listeners, each a uvicorn server, in one event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from waiter.sidecar.address import MAX_CONNECTIONS, Address

if TYPE_CHECKING:
    from starlette.types import ASGIApp

FIRST_REQUEST_TIMEOUT = 10.0
# Seconds after which connections that are still open at the end are aborted.
SHUTDOWN_TIMEOUT = 0.4


class _Protocol(H11Protocol):
    """Closes a connection that sends no request, so that idle clients cannot occupy every connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(FIRST_REQUEST_TIMEOUT, self._close_if_unused)

    def _close_if_unused(self) -> None:
        if self.cycle is None:
            self.transport.close()


class Listener(Server):
    """An HTTP server for one application on one socket, without signal handlers."""

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
                limit_concurrency=MAX_CONNECTIONS,
            )
        )
        self._bound = bound
        self.url = f"http://{Address.of(bound)}"

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Install no signal handlers: the sidecar runs two listeners and handles the signals."""
        yield

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then close what is open within ``SHUTDOWN_TIMEOUT``."""
        serving = asyncio.create_task(self.serve(sockets=[self._bound]))
        await stop.wait()
        self.should_exit = True
        abort = asyncio.get_running_loop().call_later(SHUTDOWN_TIMEOUT, self._abort_connections)
        await serving
        abort.cancel()

    def _abort_connections(self) -> None:
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
