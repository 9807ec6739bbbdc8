"""The address of a listener: a TCP port or a Unix socket."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from waiter.errors import ConfigurationError

# Connections are accepted immediately; a long queue would only delay the answers to probes.
BACKLOG = 64
_UNIX = re.compile(r"unix:((?:(?!,mode=).)+)(?:,mode=(0?[0-7]{3}))?", re.DOTALL)


class Address:
    """The address of a listener: ``HOST:PORT``, an IPv6 host in brackets."""

    def __init__(self, text: str) -> None:
        host, _, port = text.rpartition(":")
        self.host = host.removeprefix("[").removesuffix("]")
        if not self.host or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - 16 bits
            message = f"not HOST:PORT: {text!r}"
            raise ValueError(message)
        self.port = int(port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, bound: socket.socket) -> Self:
        """Return the address of a bound socket, with the port that the kernel chose for port 0."""
        host, port, *_ = bound.getsockname()
        return cls(f"{host}:{port}")

    @property
    def is_private(self) -> bool:
        """Whether only this machine (in a cluster: this pod) can connect, so that no token is needed."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def bind(self) -> socket.socket:
        """Return a listening socket; raises ConfigurationError."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with _problems_as_errors(self):
            return socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """Listen on the address. Raises ConfigurationError."""
        with self.bind() as bound:
            yield bound


class UnixAddress:
    """A Unix socket: ``unix:PATH``, or ``unix:PATH,mode=660`` for other permissions than those of its owner only."""

    is_private = True

    def __init__(self, text: str) -> None:
        found = _UNIX.fullmatch(text)
        if not found:
            message = f"not unix:PATH or unix:PATH,mode=660: {text!r}"
            raise ValueError(message)
        self.path = Path(found[1])
        self._mode = int(found[2] or "600", 8)

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """Listen on the socket, which replaces one that an ended process left behind, and remove it at the end.

        Raises ConfigurationError, also when another process listens on it.
        """
        with _problems_as_errors(self), _directory_locked(self.path.parent):
            self._remove_stale()
            bound = self._bind()
            created = self.path.lstat()
        try:
            with bound:
                yield bound
        finally:
            with suppress(OSError):
                if os.path.samestat(created, self.path.lstat()):
                    self.path.unlink()

    def _remove_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            message = "the file exists and is not a socket"
            raise OSError(message)
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            try:
                client.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except BlockingIOError:  # its queue of connections is full
                pass
        message = "it is in use"
        raise OSError(message)

    def _bind(self) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX)
        try:
            bound.bind(str(self.path))
            # Before the first connection is possible.
            self.path.chmod(self._mode)
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
        return bound


def parse_listen(text: str) -> Address | UnixAddress:
    """Return the address of the control listener; raises ValueError."""
    return UnixAddress(text) if text.startswith("unix:") else Address(text)


def url_of(bound: socket.socket) -> str:
    """Return where a listener is reached: a URL, or the path of a Unix socket as ``unix:PATH``."""
    return f"unix:{bound.getsockname()}" if bound.family is socket.AF_UNIX else f"http://{Address.of(bound)}"


@contextmanager
def _problems_as_errors(address: Address | UnixAddress) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot listen on {address}: {error.strerror or error}"
        raise ConfigurationError(message) from error


@contextmanager
def _directory_locked(directory: Path) -> Iterator[None]:
    """Prevent that two processes that start together replace each other's socket."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
