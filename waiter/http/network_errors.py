"""Faults of a connection. Their names appear in messages, and are those of httpx."""

from __future__ import annotations


class ConnectError(OSError):
    """No connection could be opened."""


class ReadError(OSError):
    """The connection broke."""


class RemoteProtocolError(OSError):
    """The server closed the connection early, or what it sent is not HTTP."""


class ProxyError(OSError):
    """The proxy refused to connect to the server."""


class StaleConnectionError(OSError):
    """A kept connection was closed before any byte of the response; the request can be repeated over a new one.

    The server may have processed it, but each of waiter's requests may be repeated: a GET, and the POST that acknowledges a
    task, which does no harm if it is sent twice.
    """
