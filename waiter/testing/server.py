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

    from waiter.testing.answer import Answer, Answers

# Closing a socket that lingers for no time at all breaks the connection (RST) instead of ending it.
_BREAK = struct.pack("ii", 1, 0)

_Socket: TypeAlias = socket.socket | tuple[bytes, socket.socket]  # what the base may be given


class Server:
    """A cloud behind a port: `with` starts it and hands out its URL, and stops it at the end.

    Faults happen for real: a broken connection, an answer in the middle of which it breaks, one
    that never comes (until the server stops) or that comes byte by byte. Speaks HTTP/1.1 and
    keeps connections open.
    """

    def __init__(self, cloud: Answers, host: str, port: int) -> None:
        self._cloud = cloud
        self._address = (host, port)
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is; the port is known once it has started."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def plug(self) -> None:
        """Listen, on the port of before if there was one; OSError if that is taken."""
        if self._listener is None:
            self._listener = _Listener(self._address, self._cloud)
            self._address = (self._address[0], self._listener.server_address[1])
            self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
            self._thread.start()

    def unplug(self) -> None:
        """Break every connection and refuse new ones; returns when no thread is left."""
        if self._listener and self._thread:
            self._listener.shutdown()
            self._listener.hang_up()
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

    def __init__(self, address: tuple[str, int], cloud: Answers) -> None:
        self.cloud = cloud
        self.stopping = threading.Event()
        self.broken: set[socket.socket] = set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for a name of the address, which can take seconds.
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: _Socket) -> None:
        with self._lock:
            self._connections -= {request}
        if request in self.broken:
            # Nothing but the close: a shutdown would end the connection in peace.
            self.broken -= {request}
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def hang_up(self) -> None:
        self.stopping.set()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: _Socket, client_address: object) -> None:  # noqa: ARG002 - what the base gives
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.cloud.unexpected(f"the simulation failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.cloud.answer(self.command, self.path, headers)
        if answer.pause and self._stopped_within(answer.pause):
            self.close_connection = True
        else:
            self._deliver(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815 - the names that the base looks for

    def _deliver(self, answer: Answer) -> None:
        head, body = answer.head, b"" if self.command == "HEAD" else answer.body
        if answer.delivery in ("reset", "refused"):
            self._break()
        elif answer.delivery == "half":
            self.wfile.write(head + answer.half)
            self.close_connection = True
        elif answer.delivery == "drip_headers":
            self._drip(head, answer.pace)
            self.wfile.write(body)
        elif answer.delivery == "drip_body":
            self.wfile.write(head)
            self._drip(body, answer.pace)
        else:
            self.wfile.write(head + body)

    def _drip(self, part: bytes, pace: float) -> None:
        for byte in part:
            if self._stopped_within(pace):
                raise ConnectionAbortedError
            self.wfile.write(bytes([byte]))

    def _break(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK)
        self.server.broken.add(self.connection)
        self.close_connection = True

    def _stopped_within(self, seconds: float) -> bool:
        return self.server.stopping.wait(None if seconds == math.inf else seconds)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base
        """Say nothing: the cloud keeps the record."""
