"""Addresses of a host, found in a separate thread, because no time-out can end ``getaddrinfo``."""

from __future__ import annotations

import os
import socket
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Lock, Thread
from typing import Any

from waiter.http.network_errors import ConnectError

# The arguments of socket.socket(), and the address to connect to.
Address = tuple[int, int, int, Any]

_lookups: dict[tuple[int, str, int], Future[list[Address]]] = {}
_lock = Lock()


def start_lookup(host: str, port: int) -> Future[list[Address]]:
    """Return the future of the host's addresses, without duplicates; it raises ConnectError when there are none.

    Lookups of the same host at the same time share one thread, so that silent name servers do not add up threads. The thread is
    a daemon, which neither the end of an event loop nor that of the process waits for.
    """
    if _is_address(host):
        future: Future[list[Address]] = Future()
        _look_up(host, port, future)
        return future
    key = os.getpid(), host, port  # threads do not survive a fork
    with _lock:
        if (running := _lookups.get(key)) is not None:
            return running
        future = _lookups[key] = Future()
    future.add_done_callback(lambda _: _lookups.pop(key, None))
    Thread(target=_look_up, args=(host, port, future), daemon=True).start()
    return future


def _look_up(host: str, port: int, future: Future[list[Address]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        future.set_exception(ConnectError(f"cannot resolve {host}: {reason}"))
        return
    addresses: list[Address] = list(
        dict.fromkeys((family, kind, protocol, target) for family, kind, protocol, _, target in found)
    )
    if addresses:
        future.set_result(addresses)
    else:
        future.set_exception(ConnectError(f"{host} has no address"))


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False
