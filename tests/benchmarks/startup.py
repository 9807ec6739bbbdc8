"""The cost of one pipeline step: the whole process for a task that is already FINISHED, and the memory of a wait.

    python -m venv /tmp/bench && /tmp/bench/bin/pip install . gcore
    /tmp/bench/bin/python tests/benchmarks/startup.py [--rounds 21] [--polls 10000]

Against one local server, alternating in one run: ``waiter wait``, a script with the official SDK
(``client.cloud.tasks.poll``), and a script of one bare ``httpx.get``. It prints the figures and asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TASK_ID = "26986bc0-748a-4448-b836-0a2aa465eb06"
RUNNING_ID = "11111111-1111-4111-8111-111111111111"

SDK = f"""
from gcore import Gcore
client = Gcore()
print(client.cloud.tasks.poll("{TASK_ID}").created_resources.instances[0])
"""
BARE = f"""
import os, httpx
headers = {{"Authorization": "APIKey " + os.environ["GCORE_API_KEY"]}}
task = httpx.get(os.environ["GCORE_BASE_URL"] + "/cloud/v1/tasks/{TASK_ID}", headers=headers).json()
print(task["created_resources"]["instances"][0])
"""
# The requests of tasks.poll without its sleeps, which take at least a second.
SDK_WAITS = f"""
from gcore import Gcore
client = Gcore()
while client.cloud.tasks.get("{RUNNING_ID}").state != "FINISHED":
    pass
"""


class QuietServer(ThreadingHTTPServer):
    """A server that does not report a killed client."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing."""


class Handler(BaseHTTPRequestHandler):
    """Answers without delay, and keeps connections open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    polls = 0

    def do_GET(self) -> None:
        """Send a task."""
        task_id = self.path.rpartition("/")[2]
        state = "FINISHED" if task_id == TASK_ID else "RUNNING"
        task = {"id": task_id, "task_type": "create_vm", "state": state, "created_on": "2026-07-01T12:00:00", "error": None}
        body = json.dumps(task | {"created_resources": {"instances": ["8d6f"]} if state == "FINISHED" else None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        Handler.polls += 1

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve, and yield the environment of a client."""
    with QuietServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WAITER_"))}
        yield plain | {"GCORE_API_KEY": "1$benchmark", "GCORE_BASE_URL": url}
        server.shutdown()


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the command lines to compare."""
    scripts = Path(sysconfig.get_path("scripts"))
    (folder / "sdk.py").write_text(SDK)
    (folder / "bare.py").write_text(BARE)
    return {
        "interpreter alone": [sys.executable, "-c", "pass"],
        "bare httpx.get": [sys.executable, str(folder / "bare.py")],
        "waiter wait": [str(scripts / "waiter"), "wait", TASK_ID, "-o", "ids"],
        "waiter wait --log-format json": [str(scripts / "waiter"), "wait", TASK_ID, "-o", "ids", "--log-format", "json"],
        "official SDK": [sys.executable, str(folder / "sdk.py")],
    }


def measure_starts(environ: dict[str, str], folder: Path, rounds: int) -> None:
    """Print the median times and their ratios."""
    timed: dict[str, list[float]] = {name: [] for name in commands(folder)}
    for round_number in range(rounds + 1):
        for name, command in commands(folder).items():
            began = time.perf_counter()
            subprocess.run(command, env=environ, check=True, capture_output=True)
            if round_number:  # the first one compiles
                timed[name].append(1000 * (time.perf_counter() - began))
    medians = {name: statistics.median(times) for name, times in timed.items()}
    print(f"{'a whole process, ms':<32} median   fastest  of the SDK  of bare httpx")
    for name, median in medians.items():
        ratios = median / medians["official SDK"], median / medians["bare httpx.get"]
        print(f"{name:<32} {median:6.0f}   {min(timed[name]):7.0f}  {ratios[0]:10.2f}  {ratios[1]:13.2f}")


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def measure_wait(command: list[str], environ: dict[str, str], polls: int) -> tuple[float, float]:
    """Return the resident memory in MiB after a hundred polls, and after this many."""
    Handler.polls = 0
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        sizes = [_after(wanted, child) for wanted in (100, polls)]
        child.kill()
    return sizes[0], sizes[1]


def _after(polls: int, child: subprocess.Popen[bytes]) -> float:
    while Handler.polls < polls and child.poll() is None:
        time.sleep(0.01)
    return resident(child.pid)


def measure_memory(environ: dict[str, str], folder: Path, polls: int) -> None:
    """Print the memory of a wait, early and late."""
    waits = folder / "waits.py"
    waits.write_text(SDK_WAITS)
    waiter = str(Path(sysconfig.get_path("scripts")) / "waiter")
    rows = {
        "waiter wait": ([waiter, "wait", RUNNING_ID, "--interval", "0.001", "--max-rps", "100000"], polls),
        "official SDK": ([sys.executable, str(waits)], min(polls, 1000)),
    }
    print(f"\n{'a wait, MiB resident':<32} after 100 polls   after more")
    for name, (command, most) in rows.items():
        early, late = measure_wait(command, environ, most)
        print(f"{name:<32} {early:15.1f}   {late:6.1f} ({most} polls)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--polls", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving() as environ:
        measure_starts(environ, Path(folder), args.rounds)
        if Path("/proc/self/status").exists():
            measure_memory(environ, Path(folder), args.polls)


if __name__ == "__main__":
    main()
