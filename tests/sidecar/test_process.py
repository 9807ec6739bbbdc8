"""The sidecar as a process: its exit codes, its signals, a full disk, and SIGKILL at any instant."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from sidecar_parts import PLAIN, Process, events_in, process

from waiter.sidecar.address import Address
from waiter.testing import SimulatedCloud, fails, finishes, never_ends

# CI kills it 200 times; here it is enough to see that the test works.
KILLS = int(os.environ.get("SIDECAR_TEST_KILLS", "4"))
POSTS_BETWEEN_KILLS = 8


def test_sigterm_ends_it_at_once_and_the_next_one_goes_on(served: SimulatedCloud, tmp_path: Path) -> None:
    """Exit code 0 in less than a second; a wait is taken up by whoever has its directory next."""
    task_id = served.add(never_ends())
    with process(tmp_path) as sidecar:
        assert httpx.post(f"{sidecar.control}/v1/waits", json=task_id, **PLAIN).status_code == 202
        began = time.monotonic()
        sidecar.process.send_signal(signal.SIGTERM)
        code, said = sidecar.end()
        assert (code, time.monotonic() - began < 1) == (0, True)
        assert said == f"waiter: control on {sidecar.control}, probes on {sidecar.probes}\n"
    with process(tmp_path) as sidecar:
        assert httpx.get(f"{sidecar.control}/v1/waits/{task_id}", **PLAIN).json()["status"] == "waiting"


@pytest.mark.usefixtures("served")
def test_a_second_sidecar_on_one_directory_exits_2(tmp_path: Path) -> None:
    """And the first does not notice."""
    with process(tmp_path) as first:
        code, said = Process(tmp_path).end()
        assert (code, said) == (2, f"waiter: another sidecar uses the state directory {tmp_path}: give each its own\n")
        assert httpx.get(f"{first.probes}/livez", **PLAIN).status_code == 200


@pytest.mark.usefixtures("served")
def test_a_listener_for_everybody_needs_a_token(tmp_path: Path) -> None:
    """Exit code 2, before anything is opened."""
    code, said = Process(tmp_path / "state", "--listen", "0.0.0.0:0").end()
    assert (code, (tmp_path / "state").exists()) == (2, False)
    assert "whoever reaches 0.0.0.0:0 could use it: give --token-file" in said


def test_a_full_disk_is_507_and_never_202(served: SimulatedCloud, tmp_path: Path) -> None:
    """What was accepted before is waited for all the same, and there after a restart."""
    task_id = served.add(finishes(0.5, {"instances": 1}))
    with process(tmp_path) as sidecar:
        assert httpx.post(f"{sidecar.control}/v1/waits", json=task_id, **PLAIN).status_code == 202
        # To a process that may write no more bytes to a file, the disk is as good as full.
        size = (tmp_path / "waits.sqlite3-wal").stat().st_size
        resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE, (size, size))
        codes = {httpx.post(f"{sidecar.control}/v1/waits", json=f"x{number}", **PLAIN).status_code for number in range(20)}
        assert codes == {507}
        ended = httpx.get(f"{sidecar.control}/v1/waits/{task_id}?wait=10s", timeout=12, **PLAIN).json()
        assert ended["status"] == "finished"
        listed = httpx.get(f"{sidecar.control}/v1/waits", **PLAIN).json()["waits"]
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.end()[0] == 0
    with process(tmp_path) as sidecar:
        again = httpx.get(f"{sidecar.control}/v1/waits/{task_id}?wait=10s", timeout=12, **PLAIN).json()
        assert ([wait["id"] for wait in listed], again["status"]) == ([task_id], "finished")


class Poster:
    """Asks for waits while the sidecar comes and goes, and remembers which were promised."""

    def __init__(self, url: str, cloud: SimulatedCloud, chance: random.Random) -> None:
        self.url = url
        self._cloud = cloud
        self._chance = chance
        self.promised: dict[str, str] = {}

    def post(self) -> None:
        end, seconds = self._chance.choice(["finished", "failed"]), self._chance.uniform(0, 0.8)
        task_id = self._cloud.add(finishes(seconds) if end == "finished" else fails(seconds), watched=False)
        try:
            answer = httpx.post(f"{self.url}/v1/waits", json={"tasks": [task_id]}, timeout=5, **PLAIN)
        except httpx.HTTPError:
            return
        if answer.status_code == 202:
            self.promised[task_id] = end


class Listener(threading.Thread):
    """Listens to the events, and comes back with the last number whenever it is cut off."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.heard: list[tuple[int, str, Any]] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self._listen()
            except httpx.HTTPError:
                time.sleep(0.01)

    def _listen(self) -> None:
        last = str(self.heard[-1][0] if self.heard else 0)
        with httpx.stream("GET", f"{self._url}/v1/events", headers={"Last-Event-ID": last}, timeout=1, **PLAIN) as stream:
            rest = ""
            for part in stream.iter_text():
                *blocks, rest = (rest + part).split("\n\n")
                self.heard += events_in("\n\n".join(blocks))


def test_sigkill_at_any_instant_loses_nothing(served: SimulatedCloud, tmp_path: Path) -> None:
    """Every wait that was answered 202 reaches exactly one end, and the events count by one for who comes back."""
    chance = random.Random(6)
    with Address("127.0.0.1:0").bind() as free:
        address = str(Address.of(free))
    poster, listener = Poster(f"http://{address}", served, chance), Listener(f"http://{address}")
    listener.start()
    try:
        for _ in range(KILLS):
            kill_sometime(tmp_path, address, poster, chance)
        with process(tmp_path, "--listen", address):
            waits = httpx.get(f"http://{address}/v1/waits?wait=30s", timeout=40, **PLAIN).json()["waits"]
            newest = int(httpx.get(f"http://{address}/v1/waits", **PLAIN).headers["last-event-id"])
            deadline = time.monotonic() + 10
            while (not listener.heard or listener.heard[-1][0] < newest) and time.monotonic() < deadline:
                time.sleep(0.01)
    finally:
        listener.over.set()
        listener.join()
    found = {wait["id"]: wait["status"] for wait in waits}
    assert {task_id: found.get(task_id) for task_id in poster.promised} == poster.promised
    assert len(poster.promised) >= KILLS // 4
    assert [number for number, *_ in listener.heard] == list(range(1, newest + 1))
    ends = Counter(said["task_id"] for _, name, said in listener.heard if name == "wait.ended")
    assert ends == dict.fromkeys(found, 1)
    changes = Counter((said["task_id"], said["new"]) for _, name, said in listener.heard if name == "task.state_changed")
    assert set(changes.values()) == {1}


def kill_sometime(directory: Path, address: str, poster: Poster, chance: random.Random) -> None:
    """Start it, load it, and kill it: mostly under load, now and then while it starts."""
    sidecar = Process(directory, "--listen", address)
    killer = threading.Timer(chance.uniform(0, 0.3), sidecar.process.kill)
    try:
        if chance.random() < 0.1:
            killer.interval = chance.uniform(0, 0.8)
            killer.start()
        else:
            sidecar.come_up()
            if chance.random() < 0.5:  # so that something is promised however slow the machine is
                poster.post()
            killer.start()
            for _ in range(POSTS_BETWEEN_KILLS):
                poster.post()
        killer.join()
    finally:
        sidecar.process.kill()
        sidecar.process.communicate()
