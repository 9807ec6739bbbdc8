"""Podman, and what is asked of the containers that it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

IMAGE, WORK = sys.argv[1], Path(sys.argv[2])
CLOUD = "127.0.0.1:8090"
# As in the examples; podman would otherwise mount tmpfs where Kubernetes does not.
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
# Podman runs health checks with timers of systemd.
SURROUNDINGS = ("--network=host", "--no-healthcheck", "--pull=never")


def say(line: str) -> None:
    """Print a line of the report."""
    print(line, flush=True)


def check(what: str, *, found: object, expected: object) -> None:
    """Exit with an error unless the value is as expected."""
    if found != expected:
        sys.exit(f"NOT OK: {what}: {found!r}, not {expected!r}")
    say(f"ok: {what}")


def podman(*args: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman; with ``ok``, exit with an error when it fails."""
    done = subprocess.run(["podman", *args], capture_output=True, text=True, check=False, timeout=90)
    if ok and done.returncode:
        sys.exit(f"NOT OK: podman {' '.join(args)}: {done.stdout}{done.stderr}")
    return done


def mounted() -> list[str]:
    """Return the arguments that mount the key and set the address of the cloud."""
    return [
        f"--volume={WORK}/key:/run/secrets/gcore:ro",
        f"--env=GCORE_BASE_URL=http://{CLOUD}",
        "--env=GCORE_API_KEY_FILE=/run/secrets/gcore/key",
    ]


def waiter(*args: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, like an init step."""
    return podman("run", "--rm", *HARDENED, *SURROUNDINGS, *mounted(), *options, IMAGE, *args, ok=False)


@contextmanager
def running(name: str, *args: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Run the command in the background; the container is always removed."""
    podman("run", "--detach", f"--name={name}", *HARDENED, *SURROUNDINGS, *mounted(), *options, IMAGE, *args)
    try:
        yield name
    except BaseException:
        print(podman("logs", name, ok=False).stderr, file=sys.stderr)
        raise
    finally:
        podman("rm", "--force", "--time=0", name)


def ends_after(name: str, signum: signal.Signals) -> tuple[int, float]:
    """Send the signal and return the exit code and the seconds until the process ended."""
    pid = int(podman("inspect", "--format={{.State.Pid}}", name).stdout)
    began = time.monotonic()
    os.kill(pid, signum)
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > began + 10:
            sys.exit(f"NOT OK: {name} does not end after {signum.name}")
        time.sleep(0.005)
    took = time.monotonic() - began
    return int(podman("wait", name).stdout), took


def handles(name: str, signum: signal.Signals) -> bool:
    """Whether process 1 of a container has a handler for the signal; without one, the kernel discards it."""
    pid = podman("inspect", "--format={{.State.Pid}}", name).stdout.strip()
    caught = Path(f"/proc/{pid}/status").read_text(encoding="ascii").partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signum - 1) & 1)


def ask(method: str, url: str, body: object = None) -> tuple[int, bytes]:
    """Return the status and the body of a response; 0 when the connection fails."""
    address, _, path = url.partition("/")
    try:
        connection = HTTPConnection(address, timeout=10)
        content, headers = (json.dumps(body), {"Content-Type": "application/json"}) if body else (None, {})
        connection.request(method, f"/{path}", content, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""


def until(what: str, condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds; exit with an error after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"NOT OK: {what}: not within {seconds} s")
        time.sleep(0.02)
    say(f"ok: {what}")
