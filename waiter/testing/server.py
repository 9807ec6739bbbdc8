"""The simulation over real HTTP, on the loopback interface."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

    from waiter.testing.response import RequestHandler, SimulatedResponse

# Closing a socket with a linger time of zero resets the connection (RST) instead of ending it (FIN).
_NO_LINGER = struct.pack("ii", 1, 0)

_Socket: TypeAlias = socket.socket | tuple[bytes, socket.socket]  # as typed by socketserver


class Server:
    """A cloud behind a TCP port: `with` starts it, returns its URL, and stops it.

    Faults are real: the connection breaks before or in the middle of the response, or the
    response never arrives (until the server stops), or arrives byte by byte. The server speaks
    HTTP/1.1 and keeps connections open.
    """

    def __init__(self, cloud: RequestHandler, host: str, port: int) -> None:
        self._cloud = cloud
        self._address = (host, port)
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return the address; a free port is chosen at the first start."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def plug(self) -> None:
        """Start to listen, on the same port as before; OSError if it is in use."""
        if self._listener is None:
            self._listener = _Listener(self._address, self._cloud)
            self._address = (self._address[0], self._listener.server_address[1])
            self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
            self._thread.start()

    def unplug(self) -> None:
        """Break all connections, refuse new ones, and wait until all threads have ended."""
        if self._listener and self._thread:
            self._listener.shutdown()
            self._listener.close_connections()
            self._listener.server_close()
            self._thread.join()
        self._listener = self._thread = None

    def __enter__(self) -> str:
        """Start, and return the URL."""
        self.plug()
        return self.url

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.unplug()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], cloud: RequestHandler) -> None:
        self.cloud = cloud
        self.stopping = threading.Event()
        self.resets: set[socket.socket] = set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own method resolves the name of the address, which can take seconds.
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: _Socket) -> None:
        with self._lock:
            self._connections -= {request}
        if request in self.resets:
            # No shutdown before the close: it would end the connection regularly.
            self.resets -= {request}
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def close_connections(self) -> None:
        self.stopping.set()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: _Socket, client_address: object) -> None:  # noqa: ARG002 - the signature of the base
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.cloud.record_unexpected(f"the simulation failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.server.cloud.respond(self.command, self.path, headers)
        if response.pause and self._stopped_within(response.pause):
            self.close_connection = True
        else:
            self._deliver(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815 - names of the base

    def _deliver(self, response: SimulatedResponse) -> None:
        head, body = response.head, b"" if self.command == "HEAD" else response.body
        if response.delivery in ("reset", "refused"):
            self._reset()
        elif response.delivery == "half":
            self.wfile.write(head + response.half)
            self.close_connection = True
        elif response.delivery == "drip_headers":
            self._drip(head, response.byte_interval)
            self.wfile.write(body)
        elif response.delivery == "drip_body":
            self.wfile.write(head)
            self._drip(body, response.byte_interval)
        else:
            self.wfile.write(head + body)

    def _drip(self, part: bytes, byte_interval: float) -> None:
        for byte in part:
            if self._stopped_within(byte_interval):
                raise ConnectionAbortedError
            self.wfile.write(bytes([byte]))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.server.resets.add(self.connection)
        self.close_connection = True

    def _stopped_within(self, seconds: float) -> bool:
        return self.server.stopping.wait(None if seconds == math.inf else seconds)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base
        """Log nothing: the cloud records requests."""
