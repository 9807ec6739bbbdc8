"""Measure the sidecar: memory, CPU and event streams, in its own process against the simulation.

    python tests/benchmarks/sidecar.py [--waits 2000] [--streams 100] [--long-polls 200] [--requests 200] [--seconds 20]

It prints the resident memory and the share of a core with ``--waits`` running tasks that are an hour old, the same with
``--streams`` open streams and ``--long-polls`` open long polls, the response times of ``--requests`` requests of each kind
meanwhile, the time until an event has reached all streams, and the duration of a start, of a list of all waits and of SIGTERM.
The requests are sent one after the other by a process of their own. It needs nothing of waiter but the command and the
simulation, so that it measures earlier versions too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from waiter.testing import SimulatedCloud, never_ends

POST = 'connection.request("POST", "/v1/waits", bodies[number], {"Content-Type": "application/json"})'
GET = 'connection.request("GET", f"/v1/waits/{wait_id}")'
LIST = 'connection.request("GET", "/v1/waits")'
CLIENT = """
import http.client, sys, time
url, wait_id, count = sys.argv[1:]
bodies = sys.stdin.read().split()
connection = http.client.HTTPConnection(url)
for number in range(int(count)):
    began = time.perf_counter()
    {script}
    response = connection.getresponse()
    response.read()
    assert response.status < 300, response.status
    print(1000 * (time.perf_counter() - began))
    time.sleep(0.02)
"""
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
    parser.add_argument("--waits", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--long-polls", type=int, default=200)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    cloud = SimulatedCloud(strict=False, record=False)
    with cloud.serve() as url, tempfile.TemporaryDirectory() as directory:
        measure(args, cloud, url, directory)


def measure(args: argparse.Namespace, cloud: SimulatedCloud, url: str, directory: str) -> None:
    """Measure one sidecar from its start to its end."""
    sidecar = Sidecar(directory, url, cloud.api_key)
    print(f"start to first probe: {sidecar.start:.2f} s; without a wait: {sidecar.megabytes:.1f} MB")
    ids = [cloud.add(never_ends(age=3600.0)) for _ in range(args.waits - 2 * args.requests - 1)]
    began = time.perf_counter()
    httpx.post(f"{sidecar.control}/v1/waits", json=ids, timeout=60).raise_for_status()
    print(f"{len(ids)} waits accepted and on disk: {time.perf_counter() - began:.2f} s")
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
        (wait, *_) = (await client.get("/v1/waits")).json()["waits"]
        await report_requests(args, sidecar, cloud, "POST of a wait without streams", POST, wait["id"])
        polling = [asyncio.create_task(client.get(f"/v1/waits/{wait['id']}?wait=5m")) for _ in range(args.long_polls)]
        silent: list[float] = []
        reading = [asyncio.create_task(listen(client, silent)) for _ in range(args.streams)]
        await asyncio.sleep(3)
        quiet = await asyncio.to_thread(sidecar.share, args.seconds / 2)
        load = f"{args.streams} streams and {args.long_polls} long polls"
        print(f"with {load}: {100 * quiet:.1f}% of a core, {sidecar.megabytes:.1f} MB")
        for name, script in (("POST of a wait", POST), ("GET of a wait", GET), ("GET of all waits", LIST)):
            await report_requests(args, sidecar, cloud, f"{name} with {load}", script, wait["id"])
        print(f"after that: {sidecar.megabytes:.1f} MB; each stream had {len(silent) / args.streams:.0f} events")
        for task in [*polling, *reading]:
            task.cancel()
        await asyncio.gather(*polling, *reading, return_exceptions=True)
        last = cloud.add(never_ends())
        listening = [asyncio.create_task(listen(client, arrived, last)) for _ in range(args.streams)]
        await asyncio.sleep(3)
        began = time.perf_counter()
        await client.post("/v1/waits", json=last)
        await asyncio.wait(listening)
        print(f"an event is with all {len(arrived)}: {1000 * (max(arrived) - began):.0f} ms after the request that made it")


async def report_requests(  # noqa: PLR0913, PLR0917 - everything that it needs
    args: argparse.Namespace, sidecar: Sidecar, cloud: SimulatedCloud, name: str, script: str, wait_id: str
) -> None:
    """Measure requests of one kind and print their times, and the share of a core meanwhile."""
    bodies = [json.dumps([cloud.add(never_ends())]) for _ in range(args.requests)] if script is POST else []
    cpu, began = sidecar.cpu, time.perf_counter()
    times = await asyncio.to_thread(measure_requests, sidecar.control, script, wait_id, bodies, args.requests)
    busy = (sidecar.cpu - cpu) / (time.perf_counter() - began)
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"{name}: median {p50:.1f} ms, p99 {p99:.1f} ms, {100 * busy:.0f}% of a core")


def measure_requests(url: str, script: str, wait_id: str, bodies: list[str], count: int) -> list[float]:
    """Send requests from another process and return their times in milliseconds, sorted."""
    command = [sys.executable, "-c", CLIENT.format(script=script), url.removeprefix("http://"), wait_id, str(count)]
    output = subprocess.run(command, input="\n".join(bodies), capture_output=True, text=True, check=True).stdout
    return sorted(map(float, output.split()))


async def listen(client: httpx.AsyncClient, arrived: list[float], task_id: str | None = None) -> None:
    """Record when events arrive, until the first one of a task."""
    async with client.stream("GET", "/v1/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("data:") and (task_id is None or task_id in line):
                arrived.append(time.perf_counter())
                if task_id is not None:
                    return


if __name__ == "__main__":
    main()
