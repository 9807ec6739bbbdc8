"""Measure what N waits cost, beside the official SDK: ``python tests/benchmarks/many.py [--seconds 12] [--rounds 1]``.

Each client runs in a separate process, against one server in another process, on loopback, with one poll of each task every
4 s. Prints medians and ratios, and draws ``many.svg`` beside this file if matplotlib is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
NUMBERS = (100, 1_000, 10_000)
Figures = dict[str, float]
Row = tuple[str, int, float, str]


@contextmanager
def server(count: int, latency: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "many_server.py"), str(count), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


def measure(row: Row, seconds: float) -> Figures | None:
    """Run one client once; return None when it gave no figures in time."""
    client, number, latency, start = row
    with server(number, latency) as port:
        command = [sys.executable, str(HERE / "many_client.py"), client, port, str(number), str(seconds), start]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 45, check=False)
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"").decode()
            return json.loads(said) if said.strip() else None
    return json.loads(done.stdout) if done.returncode == 0 else None


def rows() -> Iterator[Row]:
    for number in NUMBERS:
        for client in ("sdk", "single", "listing"):
            yield client, number, 0.0, "spread"
    yield "single", NUMBERS[-1], 0.05, "spread"
    yield "listing", NUMBERS[-1], 0.05, "spread"
    yield "single", NUMBERS[-1], 0.0, "instant"
    yield "listing", NUMBERS[-1], 0.0, "instant"
    yield "sdk-64", 64, 0.0, "spread"
    yield "single-64", 64, 0.0, "spread"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    found: dict[Row, list[Figures]] = {}
    for _ in range(options.rounds):
        for row in rows():
            if (figures := measure(row, options.seconds)) is not None:
                found.setdefault(row, []).append(figures)
    result = {row: {name: median(one[name] for one in many) for name in many[0]} for row, many in found.items()}
    show(result)
    draw(result)


def show(result: dict[Row, Figures]) -> None:
    print("| client | tasks | latency | start | polls on time | requests/s | cores | µs a request | lag p99, ms | MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows():
        client, number, latency, start = row
        if (one := result.get(row)) is None:
            print(f"| {client} | {number} | {latency} | {start} | no result | | | | | |")
            continue
        on_time = (
            "flat out" if client.endswith("64") else "by listing" if client == "listing" else f"{min(one['on_time'], 1):.1%}"
        )
        print(
            f"| {client} | {number} | {latency} | {start} | {on_time} | {one['requests']:.1f} | {one['cores']:.3f} "
            f"| {one['us']:.0f} | {one['lag']:.0f} | {one['mib']:.0f} |"
        )
    sdk, single = (result.get((client, 64, 0.0, "spread")) for client in ("sdk-64", "single-64"))
    if sdk and single:
        print(f"CPU time of a poll with 64 in flight: the SDK's is {sdk['us'] / single['us']:.1f} times waiter's")
    for number in NUMBERS:
        one, many = (result.get((client, number, 0.0, "spread")) for client in ("single", "listing"))
        if one and many:
            cpu, asked = one["cores"] / many["cores"], one["requests"] / many["requests"]
            print(f"{number} tasks: individual polls take {cpu:.1f} times the listing's CPU and {asked:.0f} times its requests")


def draw(result: dict[Row, Figures]) -> None:
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415 - the figures do without it
    except ImportError:
        return
    figure, axes = plt.subplots(figsize=(6, 4))
    for client, label in (("sdk", "official SDK"), ("single", "waiter, individual polls"), ("listing", "waiter")):
        points = [(n, result[client, n, 0.0, "spread"]["cores"]) for n in NUMBERS if (client, n, 0.0, "spread") in result]
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="tasks, each polled every 4 s", ylabel="cores")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(HERE / "many.svg", bbox_inches="tight")


if __name__ == "__main__":
    main()
