"""The address of a listener."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Self

from waiter.errors import ConfigurationError

# Connections are accepted immediately; a long queue would only delay the answers to probes.
BACKLOG = 64


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
    def is_loopback(self) -> bool:
        """Whether only this machine (in a cluster: this pod) can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def bind(self) -> socket.socket:
        """Return a listening socket; raises ConfigurationError."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        except OSError as error:
            message = f"cannot listen on {self}: {error.strerror or error}"
            raise ConfigurationError(message) from error
