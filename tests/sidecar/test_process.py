"""The sidecar as a process: exit codes, signals, a full disk, and SIGKILL at random times."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import reserved_port
from sidecar_parts import PLAIN, Process, Report, events_in, process
from webhook_parts import write_secrets

from waiter.sidecar.storage.store import Store
from waiter.testing import SimulatedCloud, fails, finishes, never_ends

# .ci/faults uses 200, which take minutes; a few are enough to check the test itself.
KILLS = int(os.environ.get("SIDECAR_TEST_KILLS", "4"))
POSTS_BETWEEN_KILLS = 8


def test_sigterm_ends_the_process_and_a_restart_resumes_its_waits(served: SimulatedCloud, tmp_path: Path) -> None:
    """The exit code is 0, and the next process on the same directory resumes the wait."""
    task_id = served.add(never_ends())
    with process(tmp_path) as sidecar:
        assert httpx.post(f"{sidecar.control}/v1/waits", json=task_id, **PLAIN).status_code == 202
        sidecar.process.send_signal(signal.SIGTERM)
        code, output = sidecar.end()
        assert code == 0
        assert output == f"waiter: control on {sidecar.control}, probes on {sidecar.probes}\n"
    with process(tmp_path) as sidecar:
        assert httpx.get(f"{sidecar.control}/v1/waits/{task_id}", **PLAIN).json()["status"] == "waiting"


@pytest.mark.usefixtures("served")
def test_second_sidecar_on_one_directory_exits_2(tmp_path: Path) -> None:
    """The first is not affected."""
    with process(tmp_path) as first:
        code, output = Process(tmp_path).end()
        reason = f"the state directory {tmp_path} is used by another sidecar: each sidecar needs its own directory"
        assert (code, output) == (2, f"waiter: {reason}\n")
        assert httpx.get(f"{first.probes}/livez", **PLAIN).status_code == 200


@pytest.mark.usefixtures("served")
def test_listener_beyond_loopback_without_token_exits_2(tmp_path: Path) -> None:
    """Nothing is opened before."""
    code, output = Process(tmp_path / "state", "--listen", "0.0.0.0:0").end()
    assert (code, (tmp_path / "state").exists()) == (2, False)
    assert "0.0.0.0:0 is reachable from other machines: use --token-file" in output


MOUNT_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def run_on_read_only(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace of its own, where the directory is read-only."""
    in_namespace = ["unshare", "--mount", "sh", "-c", MOUNT_READ_ONLY, str(directory), *command]
    return subprocess.run(in_namespace, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def needs_mounts(tmp_path: Path) -> None:
    """Skip a test where no mount namespace can be made; with REQUIRE_NAMESPACES=1 it fails there."""
    if os.environ.get("REQUIRE_NAMESPACES") == "1":
        return
    if not shutil.which("unshare") or run_on_read_only(tmp_path, "true").returncode:
        pytest.skip("mount namespaces need root, unshare and mount; REQUIRE_NAMESPACES=1 makes the test fail instead")


@pytest.mark.usefixtures("served", "needs_mounts")
@pytest.mark.parametrize("has_database", [False, True])
def test_sidecar_on_a_read_only_directory_exits_2(tmp_path: Path, has_database: bool, report: Report) -> None:
    """The reason is reported, and the database of an earlier process is not changed."""
    if has_database:
        Store(tmp_path, first_event=0).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    listeners = ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
    done = run_on_read_only(tmp_path, sys.executable, "-m", "waiter", "sidecar", "--state-dir", str(tmp_path), *listeners)
    reason = f"waiter: cannot use the state directory {tmp_path}: Read-only file system"
    assert (done.returncode, reason in done.stderr.splitlines()) == (2, True), done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    report(f"a read-only directory {'with a' if has_database else 'without'} database: exit code {done.returncode}")


def test_full_disk_returns_507_and_accepted_waits_end(served: SimulatedCloud, tmp_path: Path, report: Report) -> None:
    """Waits that were accepted before end with their task, and are stored after a restart."""
    task_id = served.add(finishes(0.5, {"instances": 1}))
    with process(tmp_path) as sidecar:
        assert httpx.post(f"{sidecar.control}/v1/waits", json=task_id, **PLAIN).status_code == 202
        # A limit on the file size has the effect of a full disk.
        size = (tmp_path / "waits.sqlite3-wal").stat().st_size
        resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE, (size, size))
        codes = [httpx.post(f"{sidecar.control}/v1/waits", json=f"x{number}", **PLAIN).status_code for number in range(20)]
        assert set(codes) == {507}
        ended = httpx.get(f"{sidecar.control}/v1/waits/{task_id}?wait=50s", **PLAIN).json()
        assert ended["status"] == "finished"
        listed = httpx.get(f"{sidecar.control}/v1/waits", **PLAIN).json()["waits"]
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.end()[0] == 0
    with process(tmp_path) as sidecar:
        again = httpx.get(f"{sidecar.control}/v1/waits/{task_id}?wait=50s", **PLAIN).json()
        assert ([wait["id"] for wait in listed], again["status"]) == ([task_id], "finished")
    report(f"a full disk: {len(codes)} of {len(codes)} requests were answered with 507, the wait accepted before has finished")


class Poster:
    """Posts waits while the sidecar is killed and restarted, and records the accepted ones."""

    def __init__(self, url: str, cloud: SimulatedCloud, rng: random.Random) -> None:
        self.url = url
        self._cloud = cloud
        self._rng = rng
        self.accepted: dict[str, str] = {}

    def post(self) -> None:
        end, seconds = self._rng.choice(["finished", "failed"]), self._rng.uniform(0, 0.8)
        task_id = self._cloud.add(finishes(seconds) if end == "finished" else fails(seconds), watched=False)
        try:
            answer = httpx.post(f"{self.url}/v1/waits", json={"tasks": [task_id]}, **PLAIN)
        except httpx.HTTPError:
            return
        if answer.status_code == 202:
            self.accepted[task_id] = end


class Subscriber(threading.Thread):
    """Reads the event stream and reconnects with the last number after a disconnect."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.events: list[tuple[int, str, Any]] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._read()
            except httpx.HTTPError:
                time.sleep(0.01)

    def _read(self) -> None:
        last = str(self.events[-1][0] if self.events else 0)
        with httpx.stream("GET", f"{self._url}/v1/events", headers={"Last-Event-ID": last}, **PLAIN | {"timeout": 1}) as stream:
            rest = ""
            for part in stream.iter_text():
                *blocks, rest = (rest + part).split("\n\n")
                self.events += events_in("\n\n".join(blocks))


class WebhookReceiver(ThreadingHTTPServer):
    """Accepts most webhooks, refuses some, and is slow for others; records the accepted ones as (webhook-id, body)."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(("127.0.0.1", 0), WebhookHandler)
        self.rng = rng
        self.refused = 0.2
        self.accepted: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class WebhookHandler(BaseHTTPRequestHandler):
    server: WebhookReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if len(body) < int(self.headers["content-length"]):
            return  # the sidecar was killed meanwhile
        chance = self.server.rng.random()
        if chance < 0.3:
            time.sleep(chance)
        status = 500 if chance > 1 - self.server.refused else 204
        if status == 204:
            self.server.accepted.append((self.headers["webhook-id"], body))
        with suppress(OSError):  # a sidecar that was killed
            self.send_response(status)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(rng: random.Random) -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver(rng)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield receiver
    receiver.shutdown()
    thread.join()
    receiver.server_close()


def test_sigkill_loses_no_accepted_wait_and_no_webhook(served: SimulatedCloud, tmp_path: Path, report: Report) -> None:
    """Every wait that was answered with 202 ends exactly once and is sent, always with the same key and body.

    The event numbers have no gap.
    """
    with receiving(random.Random(7)) as receiver, reserved_port() as port:
        webhook = ("--webhook", receiver.url, "--webhook-secret-file", str(write_secrets(tmp_path / "secret")))
        report(check_kills(served, tmp_path / "state", receiver, f"127.0.0.1:{port}", *webhook))


def check_kills(served: SimulatedCloud, directory: Path, receiver: WebhookReceiver, address: str, *options: str) -> str:
    """Return the figures."""
    rng = random.Random(6)
    options = ("--listen", address, *options)
    poster, subscriber = Poster(f"http://{address}", served, rng), Subscriber(f"http://{address}")
    subscriber.start()
    try:
        for _ in range(KILLS):
            start_and_kill(directory, poster, rng, *options)
        receiver.refused = 0.0  # the rest is sent without further back-off
        with process(directory, *options) as sidecar:
            waits = httpx.get(f"http://{address}/v1/waits?wait=50s", **PLAIN).json()["waits"]
            newest = int(httpx.get(f"http://{address}/v1/waits", **PLAIN).headers["last-event-id"])
            deadline = time.monotonic() + 60
            while (not subscriber.events or subscriber.events[-1][0] < newest) and time.monotonic() < deadline:
                time.sleep(0.01)
            while "waiter_webhooks_pending 0.0" not in httpx.get(f"{sidecar.probes}/metrics", **PLAIN).text:
                time.sleep(0.1)
    finally:
        subscriber.stopped.set()
        subscriber.join()
    found = {wait["id"]: wait["status"] for wait in waits}
    assert {task_id: found.get(task_id) for task_id in poster.accepted} == poster.accepted
    assert len(poster.accepted) >= KILLS // 4
    assert [number for number, *_ in subscriber.events] == list(range(subscriber.events[0][0], newest + 1))
    ends = Counter(data["task_id"] for _, name, data in subscriber.events if name == "wait.ended")
    assert ends == dict.fromkeys(found, 1)
    changes = Counter((data["task_id"], data["new"]) for _, name, data in subscriber.events if name == "task.state_changed")
    assert set(changes.values()) == {1}
    sent = {json.loads(body)["id"]: key for key, body in receiver.accepted}
    assert sent.keys() == found.keys()
    assert {key: json.loads(body)["id"] for key, body in receiver.accepted} == {key: task_id for task_id, key in sent.items()}
    assert {json.loads(body)["id"]: json.loads(body)["status"] for _, body in receiver.accepted} == found
    assert list(directory.glob("*.damaged-*")) == []  # no unfinished transaction is taken for damage
    # At most what was sent when the sidecar was killed is sent again.
    assert len(set(receiver.accepted)) == len(sent)
    figures = f"202 for {len(poster.accepted)} waits, {len(subscriber.events)} events and {len(sent)} webhooks received"
    return f"SIGKILL {KILLS} times: {figures}, {len(receiver.accepted) - len(sent)} of them again, none was lost"


def start_and_kill(directory: Path, poster: Poster, rng: random.Random, *options: str) -> None:
    """Start a sidecar, post waits, and kill it: usually under load, sometimes while it starts."""
    sidecar = Process(directory, *options)
    killer = threading.Timer(rng.uniform(0, 0.3), sidecar.process.kill)
    try:
        if rng.random() < 0.1:
            killer.interval = rng.uniform(0, 0.8)
            killer.start()
        else:
            sidecar.wait_until_up()
            if rng.random() < 0.5:  # so that waits are accepted on a slow machine too
                poster.post()
            killer.start()
            for _ in range(POSTS_BETWEEN_KILLS):
                poster.post()
        killer.join()
    finally:
        sidecar.process.kill()
        sidecar.process.communicate()
