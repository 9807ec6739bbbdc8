"""A simulated Gcore Cloud: scripted tasks, scripted faults, and a record of every request."""

from __future__ import annotations

import math
import random
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

import httpx
import msgspec

from waiter.testing.endpoints import TASK_IDS, CreateRoute, Endpoints
from waiter.testing.faults import USUAL_FAULTS, Fault, ScheduledFault, Target
from waiter.testing.response import SimulatedResponse
from waiter.testing.script import Phase, Script
from waiter.testing.server import Server
from waiter.testing.simulation_clock import ClockOptions, SimulationClock
from waiter.testing.task import SimulatedTask, TaskStore
from waiter.testing.transport import SimulatedTransport
from waiter.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_MAX_PROBLEMS = 20  # that a message names


class Request(msgspec.Struct, frozen=True):
    """A request, received `at` seconds after the cloud was made; status None if no response was sent."""

    at: float
    method: str
    path: str
    task_id: str | None
    status: int | None


class SimulatedCloud(SimulationClock):
    """A Gcore Cloud with scripted tasks and faults.

    `speed` divides every scripted duration. `latency` (seconds) delays each response.
    `fault_rate` is the share of requests that get a random one of `usual_faults`, the same ones
    for the same `seed`. `base_url` is the only host that `transport` responds for. `verify`
    raises only if `strict`. `record=False` keeps no `requests`. With `all_kinds`, every ended task
    that created something shows the kinds that it did not create as empty lists. Further keywords
    are those of `SimulationClock`.
    """

    def __init__(  # noqa: PLR0913 - options, all by name
        self,
        *,
        api_key: str = "simulated$key",
        base_url: str = "https://api.gcore.com",
        speed: float = 1.0,
        latency: float = 0.0,
        fault_rate: float = 0.0,
        usual_faults: Sequence[Fault] = USUAL_FAULTS,
        seed: int = 0,
        strict: bool = True,
        record: bool = True,
        all_kinds: bool = False,
        **clocks: Unpack[ClockOptions],
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
        self._unexpected: list[str] = []
        self._faults: list[ScheduledFault] = []
        self._rng = random.Random(f"{seed} faults")  # noqa: S311 - numbers that repeat, not secrets
        self._tasks = TaskStore(random.Random(f"{seed} tasks"), all_kinds=all_kinds)  # noqa: S311 - see above
        self._endpoints = Endpoints(self, self._tasks)
        self._lock = threading.RLock()

    @classmethod
    def virtual(cls, **options: Any) -> Self:  # noqa: ANN401 - options of the class
        """Return a cloud on a new `VirtualClock`, in which nothing sleeps for real."""
        clock = VirtualClock()
        return cls(clock=clock, sleep=clock.sleep, async_sleep=clock.async_sleep, **options)

    def add(self, script: Script, *, task_id: str | None = None, watched: bool = True) -> str:
        """Add a task, and return its ID, which is generated if none is given.

        If it is `watched`, `verify` requires that a client received its last phase (or the 404
        of a task that vanishes). Raises ValueError for an ID that is in use.
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
        """Add tasks that have ended, and return their IDs, oldest first.

        They took `durations` seconds; those with an index in `errors` ended in ERROR. One ended
        every `every` seconds, the last one `every` seconds ago.
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

    def on_request(self, method: str, pattern: str, *scripts: Script, json: object = TASK_IDS, status: int = 200) -> None:
        """Start tasks by a request, or respond to it with JSON of your own.

        `pattern` is a path in which `*` matches any text and `{name}` captures one segment:
        "/cloud/v2/instances/*/*", "/cloud/v1/projects/{id}". Each request starts a task for each
        script. The response is `{"tasks": [...]}` with their IDs by default, or `json`, in which
        these placeholders are filled in, in any string:

        - "{tasks}", "{tasks[0]}": the IDs of the tasks that this request started;
        - "{instances}", "{volumes[0]}" and so on for every kind: the IDs of what these tasks
          create; of a request that starts none, what all tasks have created so far (404 for an
          index beyond it);
        - "{name}": the segment of the path.

        A string that is one placeholder without an index becomes the list itself. `json=None` sends
        no body, with a `status` of 204 for example. A request is for the first route that matches.
        Raises ValueError for a placeholder without a value, and for a status that does not exist.
        """
        route = CreateRoute(method=method, pattern=pattern, scripts=scripts, json=json, status=status)
        self._endpoints.routes.append(route)

    def fault(self, fault: Fault, *, times: float = 1, task: str | None = None, on: Target | None = None) -> None:
        """Schedule a fault for the next `times` requests, for one `task` or `on` one endpoint if given.

        A request gets the first scheduled fault that applies to it and is not used up.
        """
        self._schedule(ScheduledFault(fault=fault, times=times, task_id=task, on=on))

    def outage(  # noqa: PLR0913 - the restrictions by name
        self,
        start: float,
        seconds: float,
        fault: Fault,
        *,
        times: float = math.inf,
        task: str | None = None,
        on: Target | None = None,
    ) -> None:
        """Schedule a fault for all requests, or `times` of them, for `seconds`, beginning `start` seconds from now."""
        begins = self.elapsed + start / self.speed
        ends = begins + seconds / self.speed
        self._schedule(ScheduledFault(fault=fault, times=times, task_id=task, on=on, begins=begins, ends=ends))

    def _schedule(self, fault: ScheduledFault) -> None:
        with self._lock:
            self._faults.append(fault)

    def respond(self, method: str, target: str, headers: Mapping[str, str]) -> SimulatedResponse:
        """Return the response to a request for `target` (path and query); names of headers are in lower case."""
        with self._lock:
            now = self.elapsed
            task_id, endpoint = self._endpoints.identify(target)
            regular = self._endpoints.respond(method, target, headers, now)
            response = self._apply_fault(regular, now, task_id, endpoint)
            if self.latency > response.pause:
                response = msgspec.structs.replace(response, pause=self.latency)
            if response.arrives and response.body is regular.body:
                self._endpoints.record_delivery(regular, task_id, now)
            if self.record:
                self.requests.append(Request(now, method, target, task_id, response.sent_status))
            return response

    def _apply_fault(
        self, regular: SimulatedResponse, now: float, task_id: str | None, endpoint: Target | None
    ) -> SimulatedResponse:
        scheduled = next((fault for fault in self._faults if fault.applies_to(now, task_id, endpoint)), None)
        if scheduled:
            scheduled.used += 1
            return scheduled.fault.change(regular)
        if self.fault_rate and self._rng.random() < self.fault_rate:
            return self._rng.choice(self.usual_faults).change(regular)
        return regular

    def record_unexpected(self, description: str) -> None:
        """Record a request that a correct client does not send."""
        self._unexpected.append(description)

    def problems(self) -> list[str]:
        """Return all unexpected requests, and everything scripted that was not used."""
        return [
            *(f"unexpected request: {description}" for description in self._unexpected),
            *(f"not polled until its end: {task.script.task_type} {task.id}" for task in self._unfinished()),
            *(f"unused fault: {fault.unused}" for fault in self._faults if fault.unused),
            *(f"not requested: {route.method} {route.pattern}" for route in self._endpoints.routes if not route.used),
        ]

    def _unfinished(self) -> list[SimulatedTask]:
        return [task for task in self._tasks if task.watched and not task.end_delivered]

    def verify(self) -> None:
        """Raise AssertionError that names the `problems`, if there are any and the cloud is strict."""
        problems = self.problems()
        if self.strict and problems:
            lines = ["the simulated cloud was not used as scripted", *problems[:_MAX_PROBLEMS]]
            if len(problems) > _MAX_PROBLEMS:
                lines.append(f"and {len(problems) - _MAX_PROBLEMS} more")
            if self._unfinished():
                lines.append("(in a test that expects a time-out, use never_ends() or add(..., watched=False))")
            raise AssertionError("\n".join(lines))

    @cached_property
    def transport(self) -> SimulatedTransport:
        """Return a transport for an httpx client, sync or async, in process."""
        return SimulatedTransport(self)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> SimulatedServer:
        """Return a server for real HTTP: `with cloud.serve() as url:`; port 0 chooses a free one."""
        return SimulatedServer(self, host, port)

    @cached_property
    def options(self) -> dict[str, Any]:
        """Return arguments that direct waiter's synchronous calls to this cloud."""
        client = httpx.Client(transport=self.transport, trust_env=False)
        return {**self._options, "client": client, "sleep": self.sleep}

    @cached_property
    def async_options(self) -> dict[str, Any]:
        """Return arguments that direct waiter's asynchronous calls to this cloud."""
        client = httpx.AsyncClient(transport=self.transport, trust_env=False)
        return {**self._options, "client": client, "sleep": self.async_sleep}

    @property
    def _options(self) -> dict[str, Any]:
        return {"api_key": self.api_key, "base_url": self.base_url, "clock": self.clock}


class SimulatedServer(Server):
    """A `Server` with its `cloud`.

    It has the methods of the cloud, so that tests of both read alike. `options` and
    `async_options` direct waiter's calls to the server; they are complete once it has started.
    """

    def __init__(self, cloud: SimulatedCloud, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(cloud, host, port)
        self.cloud = cloud
        self.requests = cloud.requests
        self.add = cloud.add
        self.add_past = cloud.add_past
        self.on_request = cloud.on_request
        self.fault = cloud.fault
        self.outage = cloud.outage
        self.problems = cloud.problems
        self.verify = cloud.verify

    @property
    def api_key(self) -> str:
        """Return the key that is accepted."""
        return self.cloud.api_key

    @property
    def options(self) -> dict[str, Any]:
        """Return arguments that direct waiter's synchronous calls to this server."""
        return {"api_key": self.cloud.api_key, "base_url": self.url}

    @property
    def async_options(self) -> dict[str, Any]:
        """Return arguments that direct waiter's asynchronous calls to this server."""
        return self.options
