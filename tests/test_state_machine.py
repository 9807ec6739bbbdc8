"""Any interleaving of states, faults, clock jumps, cancellations and limits, on the three drivers in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from typing import Any

import msgspec
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tenacity import wait_fixed

from waiter import AsyncWaiter, Task, Waiter, errors
from waiter.testing import (
    SimulatedCloud,
    VirtualClock,
    empty,
    half_body,
    hang,
    html,
    other_task,
    redirect,
    refuse,
    reset,
    status,
    truncated,
    wrong_types,
)
from waiter.testing.faults import Fault
from waiter.testing.script import Phase, Script

START = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST_TIMEOUT = 10.0
SHORTEST_BACKOFF = 0.375
SURVIVED = [
    status(408),
    status(429),
    status(429, 4),
    status(500),
    status(503, 7),
    html(),
    html(200),
    empty(),
    truncated(),
    wrong_types(),
    other_task(),
    redirect("https://elsewhere.example"),
    hang(),
    hang(3),
    reset(),
    refuse(),
    half_body(),
]
FINAL: dict[str, tuple[Fault, type[errors.ApiError]]] = {
    "refused": (status(401), errors.AuthenticationError),
    "forbidden": (status(403), errors.PermissionDeniedError),
    "odd": (status(418), errors.ApiError),
}


class Scenario(msgspec.Struct):
    """What happens to one task and to one wait for it; times are seconds from the start of the wait."""

    phases: list[Phase] = []
    end: str = "FINISHED"
    hidden_for: float = 0.0
    gone_after: float = inf
    faults: list[tuple[float, float, Fault]] = []
    final_faults: dict[str, float] = {}
    jumps: list[tuple[float, float]] = []
    cancel_at: float = inf
    timeout: float = 60.0
    max_outage: float = 30.0
    stall_timeout: float | None = None
    interval: float = 3.0

    @property
    def ends_at(self) -> float:
        return sum(phase.seconds for phase in self.phases)

    @property
    def is_undisturbed(self) -> bool:
        is_known = self.hidden_for == 0 and self.gone_after == inf
        return is_known and not (self.faults or self.final_faults or self.jumps) and self.cancel_at == inf

    @property
    def overshoot(self) -> float:
        return sum(by for _, by in self.jumps)


class JumpingClock(VirtualClock):
    """A clock that runs ahead of the sleeps at some times, and cancels the wait at another."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self._jumps = sorted(scenario.jumps)
        self._cancel_at = scenario.cancel_at
        self.cancel: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        while self._jumps and self._jumps[0][0] <= self():
            super().sleep(self._jumps.pop(0)[1])
        if self() >= self._cancel_at:
            self._cancel_at = inf
            self.cancel()


class Observation(msgspec.Struct):
    """What one driver made of a scenario."""

    outcome: str
    lasted: float
    events: list[tuple[str, Any]] = []
    requests: list[tuple[float, int | None]] = []


CANCELLED = "cancelled"


def blocking(cloud: SimulatedCloud, clock: JumpingClock, task_id: str, options: dict[str, Any]) -> Task | None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.cancel = interrupt
    with Waiter(**cloud.options | options) as waiter:
        try:
            return waiter.wait(task_id)
        except KeyboardInterrupt:
            return None


def under_asyncio(cloud: SimulatedCloud, clock: JumpingClock, task_id: str, options: dict[str, Any]) -> Task | None:
    async def main() -> Task | None:
        async with AsyncWaiter(**cloud.async_options | options) as waiter:
            waiting = asyncio.ensure_future(waiter.wait(task_id))
            clock.cancel = waiting.cancel
            try:
                return await waiting
            except asyncio.CancelledError:
                return None

    return asyncio.run(main())


def under_trio(cloud: SimulatedCloud, clock: JumpingClock, task_id: str, options: dict[str, Any]) -> Task | None:
    async def main() -> Task | None:
        async with AsyncWaiter(**cloud.async_options | options) as waiter:
            with trio.CancelScope() as scope:
                clock.cancel = scope.cancel
                return await waiter.wait(task_id)
        return None

    return trio.run(main)


def observe(scenario: Scenario, driver: Callable[..., Task | None]) -> Observation:
    """Run a scenario on one driver, with the same random numbers each time."""
    random.seed(7)
    clock = JumpingClock(scenario)

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        await (asyncio if driver is under_asyncio else trio).sleep(0)

    # Error texts quote the server's dates: from the current time, they could differ by a second between two runs.
    cloud = SimulatedCloud(clock=clock, sleep=clock.sleep, async_sleep=sleep, start=START, strict=False)
    script = Script(
        phases=(*scenario.phases, Phase(scenario.end)), hidden_for=scenario.hidden_for, gone_after=scenario.gone_after
    )
    task_id = cloud.add(script)
    for start, seconds, fault in scenario.faults:
        cloud.outage(start, seconds, fault)
    for name, start in scenario.final_faults.items():
        cloud.outage(start, inf, FINAL[name][0])
    events: list[tuple[str, Any]] = []
    options = {
        "timeout": scenario.timeout,
        "max_outage": scenario.max_outage,
        "stall_timeout": scenario.stall_timeout,
        "wait": wait_fixed(scenario.interval),
        "on_event": lambda event: events.append((event.name, event.fields)),
    }
    try:
        task = driver(cloud, clock, task_id, options)
        outcome = CANCELLED if task is None else str(task.state)
    except errors.WaiterError as error:
        outcome = type(error).__name__
    return Observation(outcome, clock(), events, [(request.at, request.status) for request in cloud.requests])


def documented_outcomes(scenario: Scenario) -> set[str]:
    """Return every outcome that the contract allows for a scenario."""
    allowed = {"TaskTimeoutError"}
    if scenario.end == "ERROR":
        allowed.add("TaskError")
    if scenario.end == "FINISHED":
        allowed.add("FINISHED")
    if scenario.stall_timeout is not None:
        allowed.add("TaskStalledError")
    if scenario.faults:
        allowed.add("ApiUnavailableError")
    if scenario.hidden_for or scenario.gone_after < inf:
        allowed |= {"TaskNotFoundError", "ApiUnavailableError"}
    if scenario.cancel_at < inf:
        allowed.add(CANCELLED)
    return allowed | {FINAL[name][1].__name__ for name in scenario.final_faults}


def check_outcome(scenario: Scenario, seen: Observation) -> None:
    """The outcome is the endpoint's last word or a documented error, and never early."""
    assert seen.outcome in documented_outcomes(scenario)
    if seen.outcome in {"FINISHED", "TaskError"}:
        assert seen.lasted >= scenario.ends_at
    if seen.outcome == "TaskTimeoutError":
        assert seen.lasted >= scenario.timeout - 0.001
    if scenario.is_undisturbed and scenario.stall_timeout is None and scenario.end in {"FINISHED", "ERROR"}:
        ended = "FINISHED" if scenario.end == "FINISHED" else "TaskError"
        assert seen.outcome == (ended if scenario.ends_at <= scenario.timeout else "TaskTimeoutError")


def check_time(scenario: Scenario, seen: Observation) -> None:
    """No wait lasts longer than a request time-out beyond its deadline, but for the jumps of the clock."""
    assert seen.lasted <= scenario.timeout + REQUEST_TIMEOUT + scenario.overshoot + 0.001


def check_transitions(scenario: Scenario, seen: Observation) -> None:
    """Each transition is reported once, in the order of the phases, and each begins where the one before ended."""
    changes = [fields for name, fields in seen.events if name == "task.state_changed"]
    assert [one["old"] for one in changes] == [None, *(one["new"] for one in changes)][: len(changes)]
    order = [(phase.state, phase.detailed_state) for phase in (*scenario.phases, Phase(scenario.end))]
    place = 0
    for one in changes:
        place = order.index((one["new"], one["detailed_state"]), place) + 1
    told = [(one["new"], one["detailed_state"]) for one in changes]
    assert all(earlier != later for earlier, later in pairwise(told))


def check_requests(scenario: Scenario, seen: Observation) -> None:
    """Polls are an interval apart, or a back-off after a failure; only the final poll may come sooner.

    A poll at the end of ``max_outage`` is not the final one if it fails in another way, with a limit of its own.
    """
    times = [at for at, _ in seen.requests]
    shortest = min(scenario.interval, SHORTEST_BACKOFF) - 0.001
    failures = [fields for name, fields in seen.events if name == "poll.failed"]
    until_limit = [one["retry_in"] for one in failures if one["retry_in"] == one["gives_up_in"]]
    for earlier, later in pairwise(times[:-1]):
        assert later - earlier >= shortest or any(abs(later - earlier - seconds) < 0.002 for seconds in until_limit)


SECONDS = st.floats(0, 90).map(lambda seconds: round(seconds, 2))
SHORT = st.floats(0.1, 25).map(lambda seconds: round(seconds, 2))


class OneWait(RuleBasedStateMachine):
    """Each step adds something to the scenario, which is then run on every driver."""

    def __init__(self) -> None:
        super().__init__()
        self.scenario = Scenario()

    @rule(
        state=st.sampled_from(["NEW", "RUNNING", "PAUSED"]),
        seconds=SHORT,
        detailed_state=st.sampled_from([None, "NETWORK", "STORAGE"]),
    )
    def add_phase(self, state: str, seconds: float, detailed_state: str | None) -> None:
        self.scenario.phases.append(Phase(state, seconds, detailed_state))

    @rule(end=st.sampled_from(["FINISHED", "ERROR", "RUNNING", "CANCELLED_BY_ALIENS"]))
    def set_end(self, end: str) -> None:
        self.scenario.end = end

    @rule(start=SECONDS, seconds=SHORT, fault=st.sampled_from(SURVIVED))
    def add_fault(self, start: float, seconds: float, fault: Fault) -> None:
        self.scenario.faults.append((start, seconds, fault))

    @rule(start=SECONDS, name=st.sampled_from(sorted(FINAL)))
    def add_final_fault(self, start: float, name: str) -> None:
        self.scenario.final_faults[name] = start

    @rule(at=SECONDS, by=SHORT)
    def add_jump(self, at: float, by: float) -> None:
        self.scenario.jumps.append((at, by))

    @rule(at=SECONDS)
    def set_cancellation(self, at: float) -> None:
        self.scenario.cancel_at = at

    @rule(seconds=SHORT)
    def hide(self, seconds: float) -> None:
        self.scenario.hidden_for = seconds

    @rule(after=SECONDS)
    def vanish(self, after: float) -> None:
        self.scenario.gone_after = after

    @rule(timeout=SECONDS, max_outage=SHORT, stall_timeout=st.none() | SHORT, interval=st.floats(0.5, 20))
    def set_limits(self, timeout: float, max_outage: float, stall_timeout: float | None, interval: float) -> None:
        one = self.scenario
        one.timeout, one.max_outage, one.stall_timeout, one.interval = timeout, max_outage, stall_timeout, interval

    @invariant()
    def every_driver_keeps_the_contract(self) -> None:
        seen = observe(self.scenario, blocking)
        check_outcome(self.scenario, seen)
        check_time(self.scenario, seen)
        check_transitions(self.scenario, seen)
        check_requests(self.scenario, seen)
        assert observe(self.scenario, under_asyncio) == seen
        assert observe(self.scenario, under_trio) == seen


OneWait.TestCase.settings = settings(stateful_step_count=8)
TestOneWait = OneWait.TestCase
