"""Measure the sidecar under load: memory, CPU and response times, in its own process against the simulation.

    python tests/benchmarks/sidecar.py [--peer CHECKOUT] [--waits 2000] [--streams 100] [--long-polls 200] [--requests 200]
        [--burst 20] [--seconds 20]

It prints the resident memory and the share of a core with ``--waits`` running tasks that are an hour old, the same with
``--streams`` open streams and ``--long-polls`` open long polls, the response times of ``--requests`` requests of each kind
meanwhile, the time until an event has reached all streams, and the duration of a start, of a list of all waits and of SIGTERM.
The requests are sent by another process, one after the other, or ``--burst`` of them together.

``--peer`` is another checkout, for example a worktree of an earlier commit. Its sidecar runs at the same time under the same
load, and the requests go to both in random order, so that whatever else the machine does affects both alike. The figures of the
peer and the ratios to them are printed beside. It needs nothing of the peer but the command.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from waiter.testing import SimulatedCloud, never_ends

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

TICKS = os.sysconf("SC_CLK_TCK")
# Seconds between two requests, and until polls, streams and memory have settled.
PAUSE = 0.02
SETTLING, STREAMS_SETTLING = 45.0, 3.0


class Sidecar:
    """The sidecar of a checkout in its own process."""

    def __init__(self, checkout: Path, directory: str, url: str, key: str) -> None:
        began = time.perf_counter()
        environ = os.environ | {"GCORE_BASE_URL": url, "GCORE_API_KEY": key}
        listen = ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
        command = [sys.executable, "-m", "waiter", "sidecar", "--state-dir", directory, "--timeout", "none", *listen]
        self.process = subprocess.Popen(command, cwd=checkout, env=environ, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        words = self.process.stderr.readline().split()
        self.control, probes = (word.rstrip(",") for word in words if word.startswith("http"))
        self.host, port = self.control.removeprefix("http://").split(":")
        self.port = int(port)
        httpx.get(f"{probes}/livez").raise_for_status()
        self.start = time.perf_counter() - began

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

    def list_waits(self) -> tuple[float, bytes]:
        """Return the milliseconds that a list of all waits takes, and the list."""
        began = time.perf_counter()
        content = httpx.get(f"{self.control}/v1/waits", timeout=60).content
        return 1000 * (time.perf_counter() - began), content

    def accept(self, ids: Sequence[str]) -> float:
        """Send a request for waits, and return the milliseconds until they are on disk."""
        began = time.perf_counter()
        httpx.post(f"{self.control}/v1/waits", json=ids, timeout=60).raise_for_status()
        return 1000 * (time.perf_counter() - began)

    def stop(self) -> float:
        """Send SIGTERM, and return the milliseconds until the exit."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0
        return 1000 * (time.perf_counter() - began)


def report(name: str, figures: Sequence[float]) -> None:
    """Print the figures of the sidecars, and their ratio if there are two."""
    ratio = f" {figures[0] / figures[1]:6.2f}" if figures[1:] and figures[1] else ""
    print(f"{name:<64} " + " ".join(f"{figure:8.1f}" for figure in figures) + ratio, flush=True)


class Reader(asyncio.Protocol):
    """Sends a request, and discards the response; ``arrived`` is when the text to ``find`` was in it."""

    def __init__(self, path: str) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.find(b"HTTP/1.1 200")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request.encode())

    def find(self, text: bytes) -> None:
        """Start to search for a text."""
        self._text = text
        self.arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Note when the text arrives."""
        if not self.arrived.done() and self._text in data:
            self.arrived.set_result(time.perf_counter())


@asynccontextmanager
async def opened(sidecars: Sequence[Sidecar], path: str, count: int) -> AsyncIterator[list[list[Reader]]]:
    """Open so many requests to each sidecar, and close them at the end."""
    loop = asyncio.get_running_loop()
    readers: list[list[Reader]] = []
    for sidecar in sidecars:
        opening = [loop.create_connection(partial(Reader, path), sidecar.host, sidecar.port) for _ in range(count)]
        readers.append([reader for _, reader in await asyncio.gather(*opening)])
    try:
        yield readers
    finally:
        for of_one in readers:
            for reader in of_one:
                reader.transport.close()


class Benchmark:
    """The measurements of one or two sidecars; ``client`` is the process that sends requests."""

    def __init__(self, args: argparse.Namespace, cloud: SimulatedCloud, client: Pool, sidecars: Sequence[Sidecar]) -> None:
        self._args = args
        self._cloud = cloud
        self._client = client
        self._sidecars = sidecars

    def run(self) -> None:
        """Measure from the starts to the ends."""
        args, sidecars = self._args, self._sidecars
        report("start to first probe, ms", [1000 * sidecar.start for sidecar in sidecars])
        report("without a wait, MB", [sidecar.megabytes for sidecar in sidecars])
        ids = [self._cloud.add(never_ends(age=3600.0)) for _ in range(args.waits - 3 * args.requests - 1)]
        report(f"{len(ids)} waits accepted and on disk, ms", [sidecar.accept(ids) for sidecar in sidecars])
        time.sleep(SETTLING)
        self._report_quiet(f"{len(ids)} waits", args.seconds)
        lists = [sidecar.list_waits() for sidecar in sidecars]
        report(f"list of {len(ids)} waits, ms", [milliseconds for milliseconds, _ in lists])
        report(f"list of {len(ids)} waits, kB", [len(content) / 1000 for _, content in lists])
        asyncio.run(self._measure_requests(ids[0]))
        report("SIGTERM to exit, ms", [sidecar.stop() for sidecar in sidecars])

    async def _measure_requests(self, wait_id: str) -> None:
        load = f"{self._args.streams} streams, {self._args.long_polls} long polls"
        async with self._loaded(wait_id):
            await asyncio.to_thread(self._report_quiet, load, self._args.seconds / 2)
        # Polls of new tasks are frequent, so that from here on the sidecar is not quiet.
        await asyncio.to_thread(self._report_posts, "POST of a wait, no stream open")
        async with self._loaded(wait_id) as streams:
            print(f"with {load}:")
            await asyncio.to_thread(self._report_loaded_requests, wait_id)
            await self._report_arrivals(streams)

    @asynccontextmanager
    async def _loaded(self, wait_id: str) -> AsyncIterator[list[list[Reader]]]:
        """Hold the long polls and the streams open, and yield the readers of the streams."""
        async with (
            opened(self._sidecars, f"/v1/waits/{wait_id}?wait=5m", self._args.long_polls),
            opened(self._sidecars, "/v1/events", self._args.streams) as streams,
        ):
            await asyncio.sleep(STREAMS_SETTLING)
            yield streams

    def _report_loaded_requests(self, wait_id: str) -> None:
        self._report_posts("POST of a wait")
        self._report_posts(f"POST of a wait, {self._args.burst} together", burst=self._args.burst)
        nothing = [None] * self._args.requests
        self._report_requests("GET of a wait", "GET", f"/v1/waits/{wait_id}", nothing)
        self._report_requests("GET of all waits", "GET", "/v1/waits", nothing)
        report("after that, MB", [sidecar.megabytes for sidecar in self._sidecars])

    async def _report_arrivals(self, streams: Sequence[Sequence[Reader]]) -> None:
        task_id = self._cloud.add(never_ends())
        delays = []
        for sidecar, readers in zip(self._sidecars, streams, strict=True):
            for reader in readers:
                reader.find(task_id.encode())
            began = time.perf_counter()
            await asyncio.to_thread(sidecar.accept, [task_id])
            delays.append(1000 * (max([await reader.arrived for reader in readers]) - began))
        report("an event has reached all streams, ms after its request", delays)

    def _report_quiet(self, name: str, seconds: float) -> None:
        shares = self._shares_since()
        time.sleep(seconds)
        report(f"{name}, % of a core", shares())
        report(f"{name}, MB", [sidecar.megabytes for sidecar in self._sidecars])

    def _report_posts(self, name: str, *, burst: int = 1) -> None:
        bodies = [json.dumps(self._cloud.add(never_ends())) for _ in range(self._args.requests)]
        self._report_requests(name, "POST", "/v1/waits", bodies, burst=burst)

    def _report_requests(self, name: str, method: str, path: str, bodies: Sequence[str | None], *, burst: int = 1) -> None:
        """Measure requests of one kind and print their times, and the shares of a core meanwhile."""
        shares = self._shares_since()
        addresses = [(sidecar.host, sidecar.port) for sidecar in self._sidecars]
        times = self._client.apply(send_requests, (addresses, method, path, bodies, burst))
        report(f"{name}, median ms", [statistics.median(of_one) for of_one in times])
        report(f"{name}, p99 ms", [sorted(of_one)[len(of_one) * 99 // 100] for of_one in times])
        report(f"{name}, % of a core", shares())

    def _shares_since(self) -> Callable[[], list[float]]:
        """Return a function that returns the percentages of a core since this call."""
        began, before = time.perf_counter(), [sidecar.cpu for sidecar in self._sidecars]
        return lambda: [
            100 * (sidecar.cpu - cpu) / (time.perf_counter() - began)
            for sidecar, cpu in zip(self._sidecars, before, strict=True)
        ]


def send_requests(
    addresses: Sequence[tuple[str, int]], method: str, path: str, bodies: Sequence[str | None], burst: int
) -> list[list[float]]:
    """Send each body to each address, ``burst`` together, and return the times in milliseconds by address."""
    connections = [[http.client.HTTPConnection(*address) for _ in range(burst)] for address in addresses]
    times: list[list[float]] = [[] for _ in addresses]
    send = partial(send_request, method, path)
    order = list(zip(times, connections, strict=True))
    with ThreadPoolExecutor(burst) as pool:
        for first in range(0, len(bodies), burst):
            random.shuffle(order)
            for of_address, connected in order:
                of_address.extend(pool.map(send, bodies[first : first + burst], connected))
                time.sleep(PAUSE)
    return times


def send_request(method: str, path: str, body: str | None, connection: http.client.HTTPConnection) -> float:
    """Send one request, and return the milliseconds until its response was read."""
    began = time.perf_counter()
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    assert response.status < 300, response.status
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--waits", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--long-polls", type=int, default=200)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--burst", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    checkouts = [Path(__file__).parents[2], *([args.peer] if args.peer else [])]
    cloud = SimulatedCloud(strict=False, record=False)
    with ExitStack() as stack:
        url = stack.enter_context(cloud.serve())
        # Another process, so that readers and the simulation do not delay the measured client.
        client = stack.enter_context(multiprocessing.get_context("spawn").Pool(1))
        client.apply(time.perf_counter)  # so that it has started when the starts of the sidecars are measured
        directories = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in checkouts]
        sidecars = [Sidecar(*parts, url, cloud.api_key) for parts in zip(checkouts, directories, strict=True)]
        print(f"{'':<64} {'here':>8}" + (f" {'peer':>8} {'ratio':>6}" if args.peer else ""))
        Benchmark(args, cloud, client, sidecars).run()


if __name__ == "__main__":
    main()
