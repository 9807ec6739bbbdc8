"""Measure the sidecar: memory, CPU and event streams, in its own process against the simulation.

    python tests/benchmarks/sidecar.py [--waits 1000] [--streams 200] [--seconds 30]

It prints the resident memory and the share of a core with ``--waits`` running tasks that are an hour old, the same with
``--streams`` open streams, the time until an event has reached all of them, and the duration of a start, of a list of all waits
and of SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from waiter.testing import SimulatedCloud, never_ends

TICKS = os.sysconf("SC_CLK_TCK")


class Sidecar:
    """A sidecar in its own process."""

    def __init__(self, directory: str, url: str, key: str) -> None:
        self.began = time.perf_counter()
        environ = os.environ | {"GCORE_BASE_URL": url, "GCORE_API_KEY": key}
        listen = ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
        command = [sys.executable, "-m", "waiter", "sidecar", "--state-dir", directory, "--timeout", "none", *listen]
        self.process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        words = self.process.stderr.readline().split()
        self.control, self.probes = (word.rstrip(",") for word in words if word.startswith("http"))
        httpx.get(f"{self.probes}/livez").raise_for_status()
        self.start = time.perf_counter() - self.began

    @property
    def megabytes(self) -> float:
        """Resident memory in millions of bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu(self) -> float:
        """CPU time in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def share(self, seconds: float) -> float:
        """Return the share of a core over ``seconds``."""
        cpu, began = self.cpu, time.perf_counter()
        time.sleep(seconds)
        return (self.cpu - cpu) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    cloud = SimulatedCloud(strict=False, record=False)
    with cloud.serve() as url, tempfile.TemporaryDirectory() as directory:
        measure(args, cloud, url, directory)


def measure(args: argparse.Namespace, cloud: SimulatedCloud, url: str, directory: str) -> None:
    """Measure one sidecar from its start to its end."""
    sidecar = Sidecar(directory, url, cloud.api_key)
    print(f"start to first probe: {sidecar.start:.2f} s; without a wait: {sidecar.megabytes:.1f} MB")
    ids = [cloud.add(never_ends(age=3600.0)) for _ in range(args.waits)]
    began = time.perf_counter()
    httpx.post(f"{sidecar.control}/v1/waits", json=ids, timeout=60).raise_for_status()
    print(f"{args.waits} waits accepted and on disk: {time.perf_counter() - began:.2f} s")
    time.sleep(15)
    print(f"quiet: {100 * sidecar.share(args.seconds):.1f}% of a core, {sidecar.megabytes:.1f} MB")
    began = time.perf_counter()
    size = len(httpx.get(f"{sidecar.control}/v1/waits", timeout=60).content)
    print(f"a list of all: {1000 * (time.perf_counter() - began):.0f} ms, {size / 1e3:.0f} kB")
    asyncio.run(stream(args, sidecar, cloud))
    began = time.perf_counter()
    sidecar.process.send_signal(signal.SIGTERM)
    code = sidecar.process.wait()
    print(f"SIGTERM to exit {code}: {time.perf_counter() - began:.2f} s")


async def stream(args: argparse.Namespace, sidecar: Sidecar, cloud: SimulatedCloud) -> None:
    """Open the streams, and see how late an event comes to the last of them."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=sidecar.control, limits=limits, timeout=None) as client:
        arrived: list[float] = []
        listening = [asyncio.create_task(listen(client, arrived)) for _ in range(args.streams)]
        await asyncio.sleep(3)
        quiet = await asyncio.to_thread(sidecar.share, args.seconds / 2)
        print(f"with {args.streams} streams: {100 * quiet:.1f}% of a core, {sidecar.megabytes:.1f} MB")
        began = time.perf_counter()
        await client.post("/v1/waits", json=cloud.add(never_ends()))
        await asyncio.wait(listening)
        print(f"an event is with all {len(arrived)}: {1000 * (max(arrived) - began):.0f} ms after the request that made it")


async def listen(client: httpx.AsyncClient, arrived: list[float]) -> None:
    """Listen until the first event."""
    async with client.stream("GET", "/v1/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("id:"):
                arrived.append(time.perf_counter())
                return


if __name__ == "__main__":
    main()
