"""The health check of the image: asks the sidecar's probe listener; any other command is healthy while it runs.

The sidecar is found among the processes of this container: process 1 may be an init process, and in a shared process namespace
there are processes of other containers.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from socket import create_connection

PROC = Path("/proc")
# Loading an HTTP client would take four times as long as this program.
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
DEFAULT = "0.0.0.0:8081"
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with what the option has


def find_listener() -> tuple[str, int] | None:
    """Return the address of the probe listener of this container's sidecar, None when it runs another command."""
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):  # a process that has ended, or of another user
            args = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if is_sidecar(args) and (process / "ns/mnt").readlink() == (PROC / "self/ns/mnt").readlink():
                environ = (process / "environ").read_bytes().decode(errors="replace").split("\0")
                host, _, port = probe_listen(args, environ).rpartition(":")
                host = host.strip("[]")
                return LOOPBACK.get(host, host), int(port)
    return None


def is_sidecar(args: list[str]) -> bool:
    """Return whether these are the arguments of ``waiter sidecar``."""
    return any(Path(word).name == "waiter" and following == "sidecar" for word, following in pairwise(args))


def probe_listen(args: list[str], environ: list[str]) -> str:
    """Return the value of the option: from the arguments, the environment, or the default."""
    found = [value.removeprefix("WAITER_PROBE_LISTEN=") for value in environ if value.startswith("WAITER_PROBE_LISTEN=")]
    found += [arg.removeprefix("--probe-listen=") for arg in args if arg.startswith("--probe-listen=")]
    found += [value for arg, value in pairwise(args) if arg == "--probe-listen"]
    return found[-1] if found else DEFAULT


def is_alive() -> bool:
    """Whether the probe listener answers 200."""
    listener = find_listener()
    if listener is None:
        return True
    try:
        with create_connection(listener, timeout=2) as connection:
            connection.sendall(REQUEST)
            return b" 200 " in connection.makefile("rb").readline()
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not is_alive())
