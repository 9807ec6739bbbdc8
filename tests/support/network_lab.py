"""Servers that misbehave on real sockets, and networks that lose packets, for tests; all of it on this machine."""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

Behaviour = Callable[[socket.socket], None]


@contextmanager
def serve(behave: Behaviour) -> Iterator[int]:
    """Serve each connection in a thread by ``behave``, and yield the port."""
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            behave(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)


def request_head(connection: socket.socket) -> bytes:
    """Read the head of a request; empty when the client has closed the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            return b""
        head += part
    return head


@contextmanager
def namespace(name: str, nameserver: str | None = None) -> Iterator[str]:
    """Make a network namespace whose only interface is its loopback."""
    config = Path("/etc/netns", name)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        if nameserver:
            config.mkdir(parents=True)
            (config / "resolv.conf").write_text(f"nameserver {nameserver}\n")
        yield name
    finally:
        _run("ip", "netns", "del", name)
        if nameserver:
            (config / "resolv.conf").unlink(missing_ok=True)
            config.rmdir()


def inside(name: str, *command: str) -> list[str]:
    """Return a command line that runs in a namespace."""
    return ["ip", "netns", "exec", name, *command]


CLIENT, SERVER = "10.99.0.1", "10.99.0.2"


@contextmanager
def lossy_link(loss: float, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Join two namespaces by a link that loses a share of the packets, and yield the names of the client's and the server's.

    Two TUN devices and a thread that copies packets do it, because the kernel's own emulation (netem) is a module that is
    often missing.
    """
    number = os.getpid()
    with ExitStack() as stack:
        names = [stack.enter_context(namespace(f"waiter-{role}-{number}")) for role in ("client", "server")]
        devices = [stack.enter_context(_tun(name)) for name in names]
        for name, address in zip(names, (CLIENT, SERVER), strict=True):
            _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", "tun0")
            _run("ip", "-n", name, "link", "set", "tun0", "up")
        stack.enter_context(_copying(devices, loss, random.Random(seed)))
        yield names[0], names[1]


@contextmanager
def _tun(name: str) -> Iterator[int]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        device = pool.submit(_open_tun, name).result()
    yield device
    os.close(device)


def _open_tun(name: str) -> int:
    """Open a TUN device of a namespace, which this thread enters for it."""
    with Path("/run/netns", name).open() as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF; IFF_TUN and IFF_NO_PI
    return device


@contextmanager
def _copying(devices: list[int], loss: float, chance: random.Random) -> Iterator[None]:
    stopped = threading.Event()

    def copy() -> None:
        while not stopped.is_set():
            for device in select.select(devices, [], [], 0.1)[0]:
                with suppress(OSError):
                    packet = os.read(device, 65536)
                    if chance.random() >= loss:
                        os.write(devices[device == devices[0]], packet)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    yield
    stopped.set()
    thread.join(10)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
