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
# As the examples ask for it; podman would otherwise put tmpfs where Kubernetes has none.
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
# Timers for health checks need systemd.
SURROUNDINGS = ("--network=host", "--no-healthcheck", "--pull=never")


def say(line: str) -> None:
    """Tell how it goes."""
    print(line, flush=True)


def check(what: str, *, found: object, expected: object) -> None:
    """Go on if it is as expected; otherwise end everything."""
    if found != expected:
        sys.exit(f"NOT OK: {what}: {found!r}, not {expected!r}")
    say(f"ok: {what}")


def podman(*args: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman; with ``ok``, it must succeed."""
    done = subprocess.run(["podman", *args], capture_output=True, text=True, check=False, timeout=90)
    if ok and done.returncode:
        sys.exit(f"NOT OK: podman {' '.join(args)}: {done.stdout}{done.stderr}")
    return done


def mounted() -> list[str]:
    """Give the arguments that make the key a file, and tell where the cloud is."""
    return [
        f"--volume={WORK}/key:/run/secrets/gcore:ro",
        f"--env=GCORE_BASE_URL=http://{CLOUD}",
        "--env=GCORE_API_KEY_FILE=/run/secrets/gcore/key",
    ]


def waiter(*args: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as an init step is run."""
    return podman("run", "--rm", *HARDENED, *SURROUNDINGS, *mounted(), *options, IMAGE, *args, ok=False)


@contextmanager
def running(name: str, *args: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Have the command run in the background; it is removed in the end, whatever has become of it."""
    podman("run", "--detach", f"--name={name}", *HARDENED, *SURROUNDINGS, *mounted(), *options, IMAGE, *args)
    try:
        yield name
    except BaseException:
        print(podman("logs", name, ok=False).stderr, file=sys.stderr)
        raise
    finally:
        podman("rm", "--force", "--time=0", name)


def ends_after(name: str, signum: signal.Signals) -> tuple[int, float]:
    """Send the signal; give the exit code, and how many seconds it took."""
    pid = int(podman("inspect", "--format={{.State.Pid}}", name).stdout)
    began = time.monotonic()
    os.kill(pid, signum)
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > began + 10:
            sys.exit(f"NOT OK: {name} does not end after {signum.name}")
        time.sleep(0.005)
    took = time.monotonic() - began
    return int(podman("wait", name).stdout), took


def ask(method: str, url: str, body: object = None) -> tuple[int, bytes]:
    """Give the status and the body of an answer; 0 when nobody is there."""
    address, _, path = url.partition("/")
    try:
        connection = HTTPConnection(address, timeout=10)
        content, headers = (json.dumps(body), {"Content-Type": "application/json"}) if body else (None, {})
        connection.request(method, f"/{path}", content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""


def until(what: str, is_so: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"NOT OK: {what}: not within {seconds} s")
        time.sleep(0.02)
    say(f"ok: {what}")
