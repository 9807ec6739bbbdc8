"""The two HTTP listeners in one event loop: uvicorn's HTTP protocol behind an acceptor that limits connections.

uvicorn's own server has no deadline for a request's head or body, accepts until the process is out of file descriptors, and
then logs a traceback for each attempt; hypercorn and aiohttp limit connections neither. So they are accepted here. A connection
that waits for its client (for a head, a body, or the client's reading) has a deadline, and is closed earlier when a new
connection needs its place. Probes are therefore answered however many idle connections are open.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

import h11
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from waiter.console import stderr
from waiter.sidecar.address import url_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Seconds in which a client must send the head of a request, its body, and read what fills the buffers.
HEAD_TIMEOUT = 10.0
BODY_TIMEOUT = 15.0
READ_TIMEOUT = 30.0
# Seconds after which connections that are still open at the end are aborted.
SHUTDOWN_TIMEOUT = 0.4
# Seconds that a new connection waits for a place while all others are being served, and between two attempts.
PLACE_TIMEOUT, PLACE_INTERVAL = 1.0, 0.01
# Seconds without accepting when the process is out of descriptors.
ACCEPT_PAUSE = 0.1
MAX_CONTROL_CONNECTIONS = 640
MAX_PROBE_CONNECTIONS = 64
WARNING_INTERVAL = 60.0
# For connections to the API, the database, files and sockets.
RESERVED_DESCRIPTORS = 320

_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# A peer that is gone without a FIN is detected after 25 s.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)  # macOS has no TCP_KEEPIDLE
}


def connection_limits(descriptors: int) -> tuple[int, int]:
    """Return the maximum number of connections of the control and of the probe listener for a limit of descriptors."""
    available = max(0, descriptors - RESERVED_DESCRIPTORS)
    probes = min(MAX_PROBE_CONNECTIONS, max(8, available // 4))
    return min(MAX_CONTROL_CONNECTIONS, max(16, available - probes)), probes


class _Connection(H11Protocol):
    """uvicorn's protocol with a deadline for whatever the client has to do next."""

    def __init__(self, listener: Listener, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self.logger = listener.log
        self._waiting = listener.waiting
        self._phase: tuple[str, object] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set_phase(None, 0)

    def data_received(self, data: bytes) -> None:
        self.server_state.default_headers = [(b"date", _http_date(int(time.time())))]
        try:
            super().data_received(data)
        except h11.ProtocolError:
            # Malformed data after the response has begun: no other response is possible.
            self.abort()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode({"error": msg})
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        if self.conn.their_state is h11.DONE and self.conn.trailing_data[0].strip():
            # The next request is there before the response was read. Such a client would never be waited for, and always keep
            # its place; clients that need several responses at the same time use several connections.
            self.transport.close()
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def abort(self) -> None:
        """Close the connection without sending what is buffered."""
        self._set_phase(None, 0)
        self.transport.abort()

    def _watch(self) -> None:
        """Start the deadline of the present phase, unless it is running already."""
        cycle: RequestResponseCycle | None = self.cycle
        # What is closed stays open until the client has read what is buffered.
        if self.flow.write_paused or self.transport.is_closing():
            self._set_phase(("read", cycle), READ_TIMEOUT)
        elif cycle is None or cycle.response_complete:
            # Bytes of an incomplete head do not extend the deadline.
            self._set_phase(("head", cycle), HEAD_TIMEOUT)
        elif cycle.more_body:
            self._set_phase(("body", cycle), BODY_TIMEOUT)
        else:
            self._set_phase(None, 0)

    def _set_phase(self, phase: tuple[str, object] | None, timeout: float) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        if self._deadline is not None:
            self._deadline.cancel()
        self._waiting.pop(self, None)
        if phase is not None:
            self._waiting[self] = None
            self._deadline = self.loop.call_later(timeout, self.abort)


class _Report(logging.Handler):
    """Writes the messages of a listener to standard error, one line each; of each warning only one a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._reported: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Report a fault in the application, a malformed request or a lack of descriptors."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return  # at the end of the sidecar
        if record.exc_info:
            stderr.error(f"a fault in waiter: {record.exc_info[1]!r}", "waiter.fault")
        elif record.created >= self._reported.get(record.msg, 0.0) + WARNING_INTERVAL:
            self._reported[record.msg] = record.created
            stderr.warn(f"HTTP: {record.getMessage()}")


class Listener:
    """An HTTP server for one application on one bound socket.

    ``waiting`` are the connections that wait for their clients, the longest wait first.
    """

    def __init__(self, app: ASGIApp, bound: socket.socket, *, max_connections: int) -> None:
        self.url = url_of(bound)
        self.waiting: dict[_Connection, None] = {}
        self.log = logging.Logger("http")  # noqa: LOG001 - for this listener only, whatever the application configures
        self.log.addHandler(_Report())
        self._socket = bound
        self._max_connections = max_connections
        self._config = Config(
            app, interface="asgi3", ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False
        )
        self._config.load()
        self._state = ServerState()

    def open_connections(self) -> int:
        """Return the number of open connections."""
        return len(self._state.connections)

    def get_max_connections(self) -> int:
        """Return the maximum number of open connections."""
        return self._max_connections

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then close what is open within ``SHUTDOWN_TIMEOUT``."""
        self._socket.setblocking(False)
        accepting = asyncio.create_task(self._accept_connections())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([accepting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        accepting.cancel()
        await self._close_connections()
        with suppress(asyncio.CancelledError):
            await accepting

    async def _accept_connections(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                await self._handle_accept_error(error)
                continue
            try:
                has_place = await self._make_place()
            except asyncio.CancelledError:
                accepted.close()
                raise
            if not has_place:
                accepted.close()
                continue
            if accepted.family is not socket.AF_UNIX:
                _set_options(accepted)
            await loop.connect_accepted_socket(lambda: _Connection(self, self._config, self._state), accepted)

    async def _make_place(self) -> bool:
        """Make one more connection possible; if needed, close the one that waits longest for its client.

        Return False if all requests are being served for ``PLACE_TIMEOUT``.
        """
        end = time.monotonic() + PLACE_TIMEOUT
        while len(self._state.connections) >= self._max_connections:
            longest = next(iter(self.waiting), None)
            if longest is not None:
                longest.abort()
                return True
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(PLACE_INTERVAL)
        return True

    async def _handle_accept_error(self, error: OSError) -> None:
        if error.errno not in _OUT_OF_RESOURCES:
            return
        self.log.warning("cannot accept connections on %s: %s; retrying", self.url, error.strerror)
        await asyncio.sleep(ACCEPT_PAUSE)

    async def _close_connections(self) -> None:
        self._socket.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._wait_for_end(lambda: bool(self._state.connections))
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._wait_for_end(lambda: bool(self._state.tasks))
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for_end(self, is_busy: Callable[[], bool]) -> None:
        end = time.monotonic() + SHUTDOWN_TIMEOUT
        while is_busy() and time.monotonic() < end:  # noqa: ASYNC110 - uvicorn signals neither
            await asyncio.sleep(0.01)


def _set_options(accepted: socket.socket) -> None:
    # asyncio sets it only for sockets that were created with the protocol's number. Without it the body of each response waits
    # for the client to acknowledge the head, which takes 40 ms.
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        accepted.setsockopt(socket.IPPROTO_TCP, option, value)


@lru_cache(maxsize=1)
def _http_date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
