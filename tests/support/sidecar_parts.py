"""The rooms of the sidecar, put together for tests: over a waiter that does what it is told, or as a whole."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import httpx
from tenacity import wait_fixed

from waiter.config.settings import Options
from waiter.events import Event
from waiter.sidecar.address import Address
from waiter.sidecar.control import Control
from waiter.sidecar.guard import Token
from waiter.sidecar.journal import Journal
from waiter.sidecar.main import serve
from waiter.sidecar.options import SidecarOptions
from waiter.sidecar.service import Service
from waiter.sidecar.store import Store, StoredEvent
from waiter.sidecar.stream import Stream
from waiter.task import Task

NOW = 1_800_000_000.0
BASE = "http://127.0.0.1:8080"
# Tests with real time look all the time; the usual gaps are seconds.
EAGER: Options = {"wait": wait_fixed(0.05), "learn": False}
# What a client does without, where there is no TLS: reading the certificates costs more than most of these tests.
PLAIN: dict[str, Any] = {"verify": False, "trust_env": False}
AT = "2027-01-15T08:00:00.000Z"
NEW: dict[str, Any] = {
    "id": "a",
    "status": "waiting",
    "task": None,
    "created_resources": {},
    "transitions": [],
    "error": None,
}
TOLD: dict[str, Any] = {
    "id": "a",
    "task_type": "create_vm",
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


class Puppet:
    """A waiter whose waits end when the test says so."""

    def __init__(self) -> None:
        self.timeout = inf
        self.asked: list[str] = []
        self._ends: dict[str, asyncio.Future[Task]] = {}

    async def wait(self, task_id: str, /, *, timeout: float) -> Task:  # noqa: ASYNC109 - as it is there
        assert timeout > 0
        self.asked.append(task_id)
        self._ends[task_id] = asyncio.get_running_loop().create_future()
        return await self._ends[task_id]

    def finish(self, task_id: str, **fields: Any) -> None:
        self._ends[task_id].set_result(make_task(task_id, "FINISHED", **fields))

    def fail(self, task_id: str, error: Exception) -> None:
        self._ends[task_id].set_exception(error)


class House:
    """Everything below HTTP, in one state directory, at a time that stands still."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = NOW
        self.told: list[StoredEvent] = []
        self.measured: list[tuple[str, float | None]] = []

    @asynccontextmanager
    async def open(self, given: Sequence[str] = (), **options: Any) -> AsyncIterator[House]:
        self.store = Store(self.directory)
        self.stream = Stream(self.store.bounds()[1])
        self.puppet = Puppet()
        waits = {wait.id: wait for wait in self.store.waits()}
        async with Journal(self.store, self._publish) as self.journal:
            self.service = Service(
                self.journal,
                waits,
                given=given,
                on_ended=lambda task, delay: self.measured.append((task.id, delay)),
                now=lambda: self.now,
                **options,
            )
            await self.service.start(self.puppet)
            await self.settle()
            try:
                yield self
            finally:
                self.stream.close()
                await self.service.stop()

    def _publish(self, events: Sequence[StoredEvent]) -> None:
        self.told += events
        self.stream.publish(events)

    async def settle(self) -> None:
        """Let everything happen that is under way."""
        for _ in range(3):
            await asyncio.sleep(0.001)
            await self.journal.ask(lambda _: None)
        await asyncio.sleep(0.001)

    def hear(self, name: str, task_id: str = "a", task: Task | None = None, **fields: Any) -> None:
        seen = {name: fields.pop(name, None) for name in ("age", "history")}
        self.service.hear(Event(name, {"task_id": task_id, **fields}, task=task, **seen))

    def client(self, token: Token | None = None, **options: Any) -> httpx.AsyncClient:
        app: Any = Control(self.service, self.journal, self.stream).app(token)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, **options)

    def names(self) -> list[str]:
        return [event.name for event in self.told]


def shown(house: House, wait_id: str = "a") -> Any:
    (wait,) = house.service.show([house.service.waits[wait_id]])
    return json.loads(json.dumps(wait, default=lambda one: {name: getattr(one, name) for name in one.__struct_fields__}))


def told(house: House) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, json.loads(event.data)) for event in house.told]


def changed(house: House, task: Task, old: str | None = None, **fields: Any) -> None:
    state = {"old": old, "new": str(task.state), "detailed_state": task.detailed_state, "elapsed": 1.0}
    house.hear("task.state_changed", task.id, task, **state | fields)


def events_in(text: str) -> list[tuple[int, str, Any]]:
    """Read server-sent events: number, name and data of each."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "id" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


class Running:
    """A sidecar as a whole, in this process, over real HTTP."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.up = asyncio.Event()
        self.control = self.probes = ""

    def announce(self, text: str) -> None:
        self.said.append(text)
        self.control, self.probes = (word.rstrip(",") for word in text.split() if word.startswith("http"))
        self.up.set()


@asynccontextmanager
async def running(directory: Path, *task_ids: str, **options: Any) -> AsyncIterator[tuple[Running, asyncio.Task[int]]]:
    sidecar, anywhere = Running(), Address("127.0.0.1:0")
    told = {"listen": anywhere, "probe_listen": anywhere, "wait": EAGER, **options}
    serving = asyncio.create_task(serve(SidecarOptions(list(task_ids), state_dir=directory, **told), announce=sidecar.announce))
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
    """Run a test, which takes seconds at most."""
    asyncio.run(asyncio.wait_for(test, 20))


class Process:
    """A sidecar in a process of its own; an eager one looks all the time, and learns nothing."""

    def __init__(self, directory: Path, *arguments: str, eager: bool = True) -> None:
        command = [sys.executable, "-m", "waiter", "sidecar", "--state-dir", str(directory)]
        command += ["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
        command += ["--interval", "0.05", "--no-learn"] if eager else []
        self.process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self.control = self.probes = ""

    def come_up(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if "control on" in line:
                self.control, self.probes = (word.rstrip(",") for word in line.split() if word.startswith("http"))
                return
        message = f"it did not come up: {self.said}"
        raise AssertionError(message)

    def end(self) -> tuple[int, str]:
        """Wait for its end; give its code and all that it said."""
        rest = self.process.communicate(timeout=10)[1]
        return self.process.returncode, "".join([*self.said, rest])


@contextmanager
def process(directory: Path, *arguments: str, eager: bool = True) -> Iterator[Process]:
    sidecar = Process(directory, *arguments, eager=eager)
    try:
        sidecar.come_up()
        yield sidecar
    finally:
        if sidecar.process.poll() is None:
            sidecar.process.kill()
        sidecar.process.communicate()
