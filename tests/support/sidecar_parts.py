"""The sidecar for tests: its parts over a controlled waiter, the whole in this process, or a process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import inf
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from api_description import check_response
from tenacity import wait_fixed

from waiter.config.options import Options
from waiter.events import Event
from waiter.sidecar.address import Address
from waiter.sidecar.event_stream import EventStream
from waiter.sidecar.main import serve
from waiter.sidecar.model import Uptime
from waiter.sidecar.options import SidecarOptions
from waiter.sidecar.service import Service
from waiter.sidecar.storage.event_log import StoredEvent
from waiter.sidecar.storage.store import Store
from waiter.sidecar.storage.write_queue import WriteQueue
from waiter.sidecar.web.access_control import Token
from waiter.sidecar.web.app import ControlApi
from waiter.sidecar.webhook.outbox import Outbox
from waiter.sidecar.webhook.targets import Origin, Targets
from waiter.task import Task

Report = Callable[[str], object]
NOW = 1_800_000_000.0
BASE = "http://127.0.0.1:8080"
# Tests in real time poll often; the usual intervals are seconds.
EAGER: Options = {"wait": wait_fixed(0.05), "learn": False}
# For clients without TLS: reading the certificates takes longer than most of these tests.
PLAIN: dict[str, Any] = {"verify": False, "trust_env": False, "timeout": 60}
AT = "2027-01-15T08:00:00.000Z"
NEW_WAIT: dict[str, Any] = {
    "id": "a",
    "status": "waiting",
    "task": None,
    "created_resources": {},
    "transitions": [],
    "error": None,
    "accepted_at": AT,
    "ended_at": None,
    "timeout": None,
    "max_outage": None,
    "ready": None,
}
TASK_JSON: dict[str, Any] = {
    "id": "a",
    "task_type": "create_vm",
    "target": None,
    "state": "RUNNING",
    "detailed_state": None,
    "error": None,
    "request_id": None,
    "created_on": None,
    "updated_on": None,
    "finished_on": None,
    "project_id": None,
    "region_id": None,
    "age": None,
    "time_left": None,
    "time_left_p90": None,
}


def make_task(task_id: str = "a", state: str = "RUNNING", **fields: Any) -> Task:
    return Task.from_mapping({"id": task_id, "state": state, "task_type": "create_vm"} | fields)


class ControlledWaiter:
    """A waiter whose waits end when the test ends them."""

    def __init__(self) -> None:
        self.waited_for: list[str] = []
        self.limits: dict[str, Any] = {}
        self._ends: dict[str, asyncio.Future[Task]] = {}

    async def wait(self, task_id: str, /, **limits: Any) -> Task:
        assert limits["timeout"] > 0
        self.limits[task_id] = limits
        self.waited_for.append(task_id)
        self._ends[task_id] = asyncio.get_running_loop().create_future()
        return await self._ends[task_id]

    def finish(self, task_id: str, **fields: Any) -> None:
        self._ends[task_id].set_result(make_task(task_id, "FINISHED", **fields))

    def fail(self, task_id: str, error: Exception) -> None:
        self._ends[task_id].set_exception(error)


class Sidecar:
    """Everything below HTTP, in one state directory, with a clock that the test sets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = NOW
        self.boot_id = "boot"
        self.clock_step = 0.0
        self.timeout = inf
        self.key = "fingerprint"
        self.events: list[StoredEvent] = []
        self.measured: list[tuple[str, float | None]] = []
        # The ends of waits are sent with this sender, if there is one.
        self.sender: Any = None
        self.targets = Targets(httpx.URL("https://hooks.example"), frozenset([Origin.parse("client.example")]))

    @asynccontextmanager
    async def open(self, startup_ids: Sequence[str] = (), **options: Any) -> AsyncIterator[Sidecar]:
        self.store = Store(self.directory, first_event=0)
        self.stream = EventStream(self.store.bounds()[1])
        self.waiter = ControlledWaiter()
        waits = {wait.id: wait for wait in self.store.waits()}
        async with WriteQueue(self.store, self._publish) as self.write_queue, self._open_outbox() as outbox:
            self.service = Service(
                self.write_queue,
                waits,
                startup_ids=startup_ids,
                on_task_end=lambda task, delay: self.measured.append((task.id, delay)),
                now=lambda: self.now,
                uptime=self._uptime,
                outbox=outbox,
                **options,
            )
            await self.service.start(self.waiter, lambda: self.key, self.timeout)
            await self.settle()
            try:
                yield self
            finally:
                self.stream.close()
                await self.service.stop()

    @asynccontextmanager
    async def _open_outbox(self) -> AsyncIterator[Outbox | None]:
        if self.sender is None:
            yield None
            return
        outbox = Outbox(self.write_queue, self.sender, self.targets, now=lambda: self.now, uptime=self._uptime)
        yield outbox
        await outbox.stop()

    def _uptime(self) -> Uptime:
        return Uptime(self.boot_id, self.now - self.clock_step)

    def _publish(self, events: Sequence[StoredEvent]) -> None:
        self.events += events
        self.stream.publish(events)

    async def settle(self) -> None:
        """Wait until all pending writes and callbacks have run."""
        for _ in range(3):
            await run_callbacks()
            await self.write_queue.query(lambda _: None)
        await run_callbacks()

    def send_event(self, name: str, task_id: str = "a", task: Task | None = None, **fields: Any) -> None:
        seen = {name: fields.pop(name, None) for name in ("age", "history")}
        self.service.on_event(Event(name, {"task_id": task_id, **fields}, task=task, **seen))

    def client(self, token: Token | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a client that checks every response against the description of the API."""
        app: Any = ControlApi(self.service, self.write_queue, self.stream, max_open_requests=256).app(token)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=BASE, event_hooks={"response": [check_response]}, **options
        )

    def names(self) -> list[str]:
        return [event.name for event in self.events]


async def run_callbacks() -> None:
    """Let the event loop run what is ready, and what that makes ready: a number of turns, because a pause may be one turn."""
    for _ in range(50):
        await asyncio.sleep(0)


def wait_json(sidecar: Sidecar, wait_id: str = "a") -> Any:
    (wait,) = sidecar.service.as_json([sidecar.service.waits[wait_id]])
    return json.loads(json.dumps(wait, default=lambda one: {name: getattr(one, name) for name in one.__struct_fields__}))


def stream_events(sidecar: Sidecar) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, json.loads(event.data)) for event in sidecar.events]


def change_state(sidecar: Sidecar, task: Task, old: str | None = None, **fields: Any) -> None:
    state = {"old": old, "new": str(task.state), "detailed_state": task.detailed_state, "elapsed": 1.0}
    sidecar.send_event("task.state_changed", task.id, task, **state | fields)


def events_in(text: str) -> list[tuple[int, str, Any]]:
    """Return the number, the name and the data of each server-sent event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "id" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def _addresses_in(announcement: str) -> list[str]:
    return [word.rstrip(",") for word in announcement.split() if word.startswith(("http:", "unix:"))]


class RunningSidecar:
    """A whole sidecar in this process, over real HTTP."""

    def __init__(self) -> None:
        self.announcements: list[str] = []
        self.up = asyncio.Event()
        self.control = self.probes = ""

    def announce(self, text: str) -> None:
        self.announcements.append(text)
        self.control, self.probes = _addresses_in(text)
        self.up.set()


@asynccontextmanager
async def running(directory: Path, *task_ids: str, **options: Any) -> AsyncIterator[tuple[RunningSidecar, asyncio.Task[int]]]:
    sidecar, any_port = RunningSidecar(), Address("127.0.0.1:0")
    values = {"listen": any_port, "probe_listen": any_port, "wait": EAGER, **options}
    serving = asyncio.create_task(
        serve(
            SidecarOptions(list(task_ids), state_dir=directory, **values), announce=sidecar.announce, mask_with=lambda _: None
        )
    )
    up = asyncio.create_task(sidecar.up.wait())
    await asyncio.wait([up, serving], return_when=asyncio.FIRST_COMPLETED)
    up.cancel()
    try:
        yield sidecar, serving
    finally:
        if not serving.done():
            os.kill(os.getpid(), 15)
        await asyncio.wait([serving])


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test; one that hangs fails after two minutes."""
    asyncio.run(asyncio.wait_for(test, 120))


class Client(NamedTuple):
    """The client's side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def connected(url: str, *sent: bytes) -> AsyncIterator[list[Client]]:
    """Open a connection for each of ``sent``; all are aborted at the end."""
    parts = urlsplit(url)
    clients = [Client(*await asyncio.open_connection(parts.hostname, parts.port)) for _ in sent]
    for client, content in zip(clients, sent, strict=True):
        client.writer.write(content)
    yield clients
    for client in clients:
        client.writer.transport.abort()
    await run_callbacks()  # the transports call their protocols


class Process:
    """A sidecar in its own process; an eager one polls often and reads no history."""

    def __init__(self, directory: Path, *arguments: str, eager: bool = True, descriptors: int | None = None) -> None:
        command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"] if descriptors else []
        command += [sys.executable, "-m", "waiter", "sidecar", "--state-dir", str(directory)]
        command += ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
        command += ["--interval", "0.05", "--no-learn"] if eager else []
        self.process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        self.output: list[str] = []
        self.control = self.probes = ""

    def wait_until_up(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.output.append(line)
            if "control on" in line:
                self.control, self.probes = _addresses_in(line)
                return
        message = f"the sidecar did not start: {self.output}"
        raise AssertionError(message)

    def end(self) -> tuple[int, str]:
        """Wait for its end and return the exit code and all of its output."""
        rest = self.process.communicate(timeout=60)[1]
        return self.process.returncode, "".join([*self.output, rest])


@contextmanager
def process(directory: Path, *arguments: str, eager: bool = True, descriptors: int | None = None) -> Iterator[Process]:
    sidecar = Process(directory, *arguments, eager=eager, descriptors=descriptors)
    try:
        sidecar.wait_until_up()
        yield sidecar
    finally:
        if sidecar.process.poll() is None:
            sidecar.process.kill()
        sidecar.process.communicate()
