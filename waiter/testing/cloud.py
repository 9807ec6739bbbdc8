"""A simulated Gcore Cloud: scripted tasks, scripted faults, and a record of every request."""

from __future__ import annotations

import math
import random
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

import httpx
import msgspec

from waiter.testing.answer import Answer
from waiter.testing.clock import VirtualClock
from waiter.testing.desk import Desk, Door
from waiter.testing.faults import USUAL, Armed, Fault, Target
from waiter.testing.script import Phase, Script
from waiter.testing.server import Server
from waiter.testing.stopwatch import Clocks, Stopwatch
from waiter.testing.task import Tasks
from waiter.testing.transport import SimulatedTransport

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_NAMED = 20  # problems that a message names


class Request(msgspec.Struct, frozen=True):
    """A request that came `at` seconds after the cloud was made; status None: no answer went."""

    at: float
    method: str
    path: str
    task_id: str | None
    status: int | None


class SimulatedCloud(Stopwatch):
    """A Gcore Cloud with the tasks and the faults that it is given.

    `speed` divides every scripted duration; `latency` (seconds) is how late each answer comes;
    `fault_rate` is the share of requests that get one of `usual_faults` by chance, the same
    chance for the same `seed`. `base_url` is the only host that `transport` answers for. When
    not `strict`, `verify` is content with everything. `record=False` keeps no `requests`.
    Further keywords are those of `Stopwatch`: the clocks.
    """

    def __init__(  # noqa: PLR0913 - options, all by name
        self,
        *,
        api_key: str = "simulated$key",
        base_url: str = "https://api.gcore.com",
        speed: float = 1.0,
        latency: float = 0.0,
        fault_rate: float = 0.0,
        usual_faults: Sequence[Fault] = USUAL,
        seed: int = 0,
        strict: bool = True,
        record: bool = True,
        **clocks: Unpack[Clocks],
    ) -> None:
        super().__init__(**clocks)
        self.api_key = api_key
        self.base_url = base_url
        self.speed = speed
        self.latency = latency
        self.fault_rate = fault_rate
        self.usual_faults = usual_faults
        self.strict = strict
        self.record = record
        self.requests: list[Request] = []
        self._surprises: list[str] = []
        self._faults: list[Armed] = []
        self._chance = random.Random(f"{seed} faults")  # noqa: S311 - chance that repeats, not a secret
        self._tasks = Tasks(random.Random(f"{seed} tasks"))  # noqa: S311 - see above
        self._desk = Desk(self, self._tasks)
        self._lock = threading.RLock()

    @classmethod
    def virtual(cls, **options: Any) -> Self:  # noqa: ANN401 - those of the class
        """A cloud with a `VirtualClock` of its own, in which nothing sleeps for real."""
        clock = VirtualClock()
        return cls(clock=clock, sleep=clock.sleep, async_sleep=clock.async_sleep, **options)

    def add(self, script: Script, *, task_id: str | None = None, watched: bool = True) -> str:
        """Add a task, and return its ID, which is made up if none is given.

        If it is `watched`, `verify` complains unless its last phase (or its absence, when it
        vanishes) is answered. Raises ValueError for an ID that is there already.
        """
        with self._lock:
            task = self._tasks.add(script, task_id, self.elapsed, self.speed)
            task.watched = watched
            return task.id

    def add_past(
        self,
        task_type: str,
        durations: Sequence[float],
        *,
        errors: Collection[int] = (),
        every: float = 3600.0,
    ) -> list[str]:
        """Add tasks that ended, and return their IDs, oldest first.

        They took `durations` seconds; the indexes in `errors` ended in ERROR. One ends every
        `every` seconds, the last of them that long ago.
        """
        ids = []
        for index, seconds in enumerate(durations):
            end = "ERROR" if index in errors else "FINISHED"
            script = Script(
                phases=(Phase("RUNNING", seconds), Phase(end)),
                task_type=task_type,
                age=seconds + every * (len(durations) - index),
                error="No valid host was found" if end == "ERROR" else None,
            )
            ids.append(self.add(script, watched=False))
        return ids

    def on_request(self, method: str, pattern: str, *scripts: Script) -> None:
        """Let a request start tasks: the answer is `{"tasks": [...]}` with an ID for each script.

        `pattern` is a path in which `*` stands for anything: "/cloud/v2/instances/*/*".
        """
        self._desk.doors.append(Door(method=method, pattern=pattern, scripts=scripts))

    def fault(self, fault: Fault, *, times: float = 1, task: str | None = None, on: Target | None = None) -> None:
        """Let the next `times` requests get a fault, or the next for `task`, or `on` one endpoint.

        A request gets the first fault that was scripted for it and is not used up.
        """
        self._arm(Armed(fault=fault, times=times, task_id=task, on=on))

    def outage(  # noqa: PLR0913 - what, when and for whom, all but the times by name
        self,
        start: float,
        seconds: float,
        fault: Fault,
        *,
        times: float = math.inf,
        task: str | None = None,
        on: Target | None = None,
    ) -> None:
        """Let every request, or so many, get a fault, from `start` seconds from now on, for so many seconds."""
        begins = self.elapsed + start / self.speed
        ends = begins + seconds / self.speed
        self._arm(Armed(fault=fault, times=times, task_id=task, on=on, begins=begins, ends=ends))

    def _arm(self, armed: Armed) -> None:
        with self._lock:
            self._faults.append(armed)

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """Answer a request for `target` (path and query); names of headers are in lower case."""
        with self._lock:
            now = self.elapsed
            subject = self._desk.subject(target)
            due = self._desk.answer(method, target, headers, now)
            answer = self._spoiled(due, now, *subject)
            if self.latency > answer.pause:
                answer = msgspec.structs.replace(answer, pause=self.latency)
            if answer.arrives and answer.body is due.body:
                self._desk.note_delivery(due, subject[0], now)
            if self.record:
                status = answer.sent_status
                self.requests.append(Request(now, method, target, subject[0], status))
            return answer

    def _spoiled(self, due: Answer, now: float, task_id: str | None, on: Target | None) -> Answer:
        armed = next((armed for armed in self._faults if armed.hits(now, task_id, on)), None)
        if armed:
            armed.used += 1
            return armed.fault.change(due)
        if self.fault_rate and self._chance.random() < self.fault_rate:
            return self._chance.choice(self.usual_faults).change(due)
        return due

    def unexpected(self, what: str) -> None:
        """Note a request that nobody should have sent."""
        self._surprises.append(what)

    def problems(self) -> list[str]:
        """Every request that was not expected, and everything scripted that never came."""
        missed = [task for task in self._tasks if task.watched and not task.met]
        return [
            *(f"not expected: {surprise}" for surprise in self._surprises),
            *(f"never asked to its end: {t.script.task_type} {t.id}" for t in missed),
            *(f"never came: {armed.unused}" for armed in self._faults if armed.unused),
            *(f"never came: {d.method} {d.pattern}" for d in self._desk.doors if not d.used),
        ]

    def verify(self) -> None:
        """Raise AssertionError that names the `problems`, if there are any and it is strict."""
        problems = self.problems()
        if self.strict and problems:
            more = [f"and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
            raise AssertionError("\n".join(["the simulated cloud was let down", *problems[:_NAMED], *more]))

    @cached_property
    def transport(self) -> SimulatedTransport:
        """A transport for an httpx client, sync or async, in process."""
        return SimulatedTransport(self)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> SimulatedServer:
        """A server for real HTTP: `with cloud.serve() as url:`; port 0 takes any free one."""
        return SimulatedServer(self, host, port)

    @cached_property
    def options(self) -> dict[str, Any]:
        """Arguments for waiter's synchronous calls that lead them here."""
        client = httpx.Client(transport=self.transport, trust_env=False)
        return {**self._options, "client": client, "sleep": self.sleep}

    @cached_property
    def async_options(self) -> dict[str, Any]:
        """Like options, for waiter's asynchronous calls."""
        client = httpx.AsyncClient(transport=self.transport, trust_env=False)
        return {**self._options, "client": client, "sleep": self.async_sleep}

    @property
    def _options(self) -> dict[str, Any]:
        return {"api_key": self.api_key, "base_url": self.base_url, "clock": self.clock}


class SimulatedServer(Server):
    """A `Server` that knows its `cloud`."""

    def __init__(self, cloud: SimulatedCloud, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(cloud, host, port)
        self.cloud = cloud
