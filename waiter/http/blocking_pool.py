"""Blocking connections with one deadline for all that a request does: resolving, connecting, TLS, writing and reading."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, cast

from waiter.config.api_key import SecretBytes
from waiter.http.exchange import KEEPALIVE_EXPIRY, Received
from waiter.http.network_errors import ConnectError, ProxyError, ReadError, RemoteProtocolError, StaleConnectionError
from waiter.http.resolver import Address, start_lookup
from waiter.http.response_reader import ResponseReader, TunnelReader
from waiter.http.route import Route, check_tunnel

_READ_SIZE = 65536
_T = TypeVar("_T")
_Reader = TypeVar("_Reader", bound=ResponseReader)


class BlockingPool:
    """Connections that threads may share; times are monotonic seconds."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._idle: deque[_Connection] = deque()
        self._is_closed = False

    def request(self, method: str, path: str, headers: Mapping[str, str], timeout: float) -> Received:
        """Send a request without a body and return the response. Raises OSError; TimeoutError when it takes longer."""
        deadline = time.monotonic() + timeout
        connection = self._take()
        request = self._route.request(method, path, headers)
        if connection is not None:
            try:
                return self._exchange(connection, request, ResponseReader(), deadline)
            except StaleConnectionError:
                pass  # repeated below, see StaleConnectionError
        return self._exchange(_connect(self._route, deadline), request, ResponseReader(), deadline)

    def close(self) -> None:
        """Close the idle connections; those in use are closed after their response."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, connection: _Connection, request: SecretBytes, reader: ResponseReader, deadline: float) -> Received:
        keep = False
        try:
            connection.send(request, reader, deadline)
            keep = reader.can_keep_alive and not self._is_closed
        finally:
            if not keep:
                connection.close()
        if keep:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        return reader.status, reader.headers, reader.body

    def _take(self) -> _Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread may have taken the last one
                return None
            if connection.is_usable:
                return connection
            connection.close()


class _Stream(Protocol):
    """Bytes in both directions; an empty read is the end. Raises OSError."""

    def read(self, deadline: float) -> bytes: ...

    def write(self, data: bytes, deadline: float) -> None: ...

    @property
    def has_unread(self) -> bool:
        """Whether bytes were received that have not been read."""
        ...


class _SocketStream:
    has_unread = False  # they stay in the socket: neither it nor its TLS reads ahead

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self, deadline: float) -> bytes:
        self._socket.settimeout(_time_left(deadline))
        return self._socket.recv(_READ_SIZE)

    def write(self, data: bytes, deadline: float) -> None:
        self._socket.settimeout(_time_left(deadline))
        self._socket.sendall(data)


class _TlsStream:
    """TLS inside a connection that is TLS already, as through an https proxy, which ``ssl`` offers for bytes only."""

    def __init__(self, inner: _Stream, context: ssl.SSLContext, host: str, deadline: float) -> None:
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._run(self._tls.do_handshake, deadline)

    @property
    def has_unread(self) -> bool:
        return self._incoming.pending > 0 or self._inner.has_unread

    def read(self, deadline: float) -> bytes:
        try:
            return self._run(lambda: self._tls.read(_READ_SIZE), deadline)
        except ssl.SSLEOFError:
            return b""

    def write(self, data: bytes, deadline: float) -> None:
        self._run(lambda: self._tls.write(data), deadline)

    def _run(self, operation: Callable[[], _T], deadline: float) -> _T:
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush(deadline)
                if data := self._inner.read(deadline):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush(deadline)
                return result

    def _flush(self, deadline: float) -> None:
        if data := self._outgoing.read():
            self._inner.write(data, deadline)


class _Connection:
    def __init__(self, sock: socket.socket, stream: _Stream) -> None:
        self._socket = sock
        self._stream = stream
        self.idle_since: float | None = None

    @property
    def is_usable(self) -> bool:
        """Whether an idle connection has not expired, and has received neither unrequested bytes nor its end."""
        if self.idle_since is not None and time.monotonic() - self.idle_since > KEEPALIVE_EXPIRY:
            return False
        if self._stream.has_unread:
            return False
        try:
            self._socket.settimeout(0)
            socket.socket.recv(self._socket, 1, socket.MSG_PEEK)  # SSLSocket.recv() takes no flags
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send(self, request: SecretBytes, reader: _Reader, deadline: float) -> _Reader:
        """Send a request and return the reader with its response."""
        try:
            self._stream.write(request, deadline)
            while not reader.is_complete:
                # The server may echo the key, and a traceback show what was read.
                if data := SecretBytes(self._stream.read(deadline)):
                    reader.feed(data)
                else:
                    reader.end()
        except TimeoutError:
            raise
        except (RemoteProtocolError, OSError) as error:
            if self.idle_since is not None and not reader.size:
                raise StaleConnectionError from error
            if isinstance(error, RemoteProtocolError):
                raise
            raise ReadError(str(error)) from error
        finally:
            reader.close()
        return reader

    def close(self) -> None:
        self._socket.close()


def _connect(route: Route, deadline: float) -> _Connection:
    """Open a connection to the server, through the proxy if there is one. Raises OSError."""
    host = route.first_host
    sock = _open_socket(host.name, host.port, deadline)
    try:
        if host.ssl_context is not None:
            sock = _start_tls(sock, host.ssl_context, host.name, deadline)
        if not route.has_tunnel:
            return _Connection(sock, _SocketStream(sock))
        check_tunnel(_Connection(sock, _SocketStream(sock)).send(route.tunnel_request(), TunnelReader(), deadline))
        name, context = route.server.name, cast("ssl.SSLContext", route.server.ssl_context)
        if isinstance(sock, ssl.SSLSocket):
            return _Connection(sock, _TlsStream(_SocketStream(sock), context, name, deadline))
        sock = _start_tls(sock, context, name, deadline)
        return _Connection(sock, _SocketStream(sock))
    except (TimeoutError, ProxyError, ReadError, RemoteProtocolError):
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise ConnectError(str(error)) from error


def _start_tls(sock: socket.socket, context: ssl.SSLContext, host: str, deadline: float) -> ssl.SSLSocket:
    secure = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        secure.settimeout(_time_left(deadline))
        secure.do_handshake()
    except BaseException:
        secure.close()
        raise
    return secure


def _open_socket(host: str, port: int, deadline: float) -> socket.socket:
    """Try each address of the host with an equal share of the time left, so that dead addresses leave time for others."""
    try:
        addresses = start_lookup(host, port).result(_time_left(deadline))
    except TimeoutError:
        message = f"cannot resolve {host}: timed out"
        raise ConnectError(message) from None
    for attempt, address in enumerate(addresses):
        share = _time_left(deadline) / (len(addresses) - attempt)
        try:
            return _connect_to(address, share)
        except OSError as error:
            fault = error
    raise ConnectError(str(fault)) from fault


def _connect_to(address: Address, timeout: float) -> socket.socket:
    family, kind, protocol, target = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    return sock


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        message = "timed out"
        raise TimeoutError(message)
    return left
