"""Events of a wait: each transition exactly once, to the log and to ``on_event``."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import subprocess
import sys
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import pytest
import structlog
from drivers import Driver
from structlog.testing import capture_logs

from waiter import (
    AsyncWaiter,
    ConfigurationError,
    Event,
    TaskError,
    TaskStalledError,
    TaskState,
    TaskTimeoutError,
    Waiter,
    WaiterError,
    wait_for_task,
)
from waiter.polling import reporter
from waiter.testing import (
    Fault,
    Phase,
    Script,
    SimulatedCloud,
    ended,
    fails,
    finishes,
    missing,
    never_ends,
    resources_ready,
    status,
)

PHASES = (Phase("NEW", 10), Phase("RUNNING", 10), Phase("RUNNING", 10, "NETWORK"), Phase("FINISHED"))


def test_every_transition_is_one_event(on: Driver, cloud: SimulatedCloud) -> None:
    """State or detailed state, the first snapshot included, as whole events of structlog."""
    script = Script(phases=PHASES, task_type="create_vm", created_resources={"instances": ["i-1"]})
    task_id = cloud.add(script)
    with capture_logs() as logs:
        on.wait(cloud, task_id, learn=False)
    started, *logs, finished = logs
    assert (started["event"], finished["event"]) == ("wait.started", "wait.ended")
    elapsed = [log.pop("elapsed") for log in logs]
    context = {"task_id": task_id, "task_type": "create_vm", "log_level": "info"}
    changed = {"event": "task.state_changed", **context}
    assert logs == [
        changed | {"old": None, "new": "NEW", "detailed_state": None},
        changed | {"old": "NEW", "new": "RUNNING", "detailed_state": None},
        changed | {"old": "RUNNING", "new": "RUNNING", "detailed_state": "NETWORK"},
        changed | {"old": "RUNNING", "new": "FINISHED", "detailed_state": None},
        {"event": "task.finished", "error": None, "created_resources": {"instances": ["i-1"]}, **context},
    ]
    assert elapsed == sorted(elapsed)


def test_each_end_has_its_event_and_level(on: Driver) -> None:
    """A failed task is an error, a time-out and a stall are warnings."""
    levels = {}
    for script, options in (
        (fails(1, "No"), {}),
        (never_ends(), {"timeout": 1}),
        (never_ends(), {"stall_timeout": 1}),
    ):
        cloud = SimulatedCloud.virtual(strict=False)
        with capture_logs() as logs, pytest.raises(Exception, match=r"fail|not ended|no change"):
            on.wait(cloud, cloud.add(script), **options)
        levels[logs[-2]["event"]] = logs[-2]["log_level"]
    assert levels == {"task.failed": "error", "task.timed_out": "warning", "task.stalled": "warning"}


def test_failed_poll_is_a_warning(cloud: SimulatedCloud) -> None:
    """``poll.failed`` is a warning, ``poll.recovered`` an information."""
    task_id = cloud.add(finishes(5))
    cloud.fault(status(500))
    with capture_logs() as logs:
        wait_for_task(task_id, **cloud.options)
    assert [(log["event"], log["log_level"]) for log in logs[1:3]] == [("poll.failed", "warning"), ("poll.recovered", "info")]


def test_on_event_is_given_each_event_with_the_task(on: Driver, cloud: SimulatedCloud, events: list[Event]) -> None:
    """``on_event`` gets what the log gets, and the task as last seen."""
    task_id = cloud.add(finishes(5))
    on.wait(cloud, task_id, on_event=events.append)
    assert [(event.name, event.task_id, event.task and event.task.state) for event in events] == [
        ("wait.started", task_id, None),
        ("task.state_changed", task_id, TaskState.RUNNING),
        ("history.learned", task_id, TaskState.RUNNING),
        ("task.state_changed", task_id, TaskState.FINISHED),
        ("task.finished", task_id, TaskState.FINISHED),
        ("wait.ended", task_id, TaskState.FINISHED),
    ]
    assert [event.age is not None for event in events] == [False, True, True, True, True, True]


def test_exception_of_on_event_does_not_end_the_wait(
    on: Driver, cloud: SimulatedCloud, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the task is still awaited."""

    def broken(_: Event) -> None:
        message = "my own bug"
        raise RuntimeError(message)

    task_id = cloud.add(finishes(5))
    assert on.wait(cloud, task_id, on_event=broken).ended
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "on_event raised at wait.started",
        "on_event raised at task.state_changed",
        "on_event raised at history.learned",
        "on_event raised at task.state_changed",
        "on_event raised at task.finished",
        "on_event raised at wait.ended",
    ]


def test_events_go_to_the_standard_logger_unless_structlog_is_configured(
    cloud: SimulatedCloud, caplog: pytest.LogCaptureFixture
) -> None:
    """An application without structlog gets one line for each event at its level."""
    caplog.set_level(logging.WARNING, logger="waiter")
    task_id = cloud.add(fails(5, "No", task_type="create_vm"))
    with pytest.raises(TaskError):
        wait_for_task(task_id, **cloud.options)
    ours = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "waiter"]
    assert [(level, text.rpartition(" elapsed=")[0]) for level, text in ours] == [
        (
            "ERROR",
            f"event='task.failed' task_id='{task_id}' task_type='create_vm' error='No' created_resources={{}}",
        )
    ]


def test_configured_structlog_gets_the_events(cloud: SimulatedCloud) -> None:
    """They are rendered as the application configured it."""
    stream = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(sort_keys=True)],
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    with pytest.raises(TaskTimeoutError):
        wait_for_task(cloud.add(never_ends(), task_id="t-1"), timeout=0, **cloud.options)
    assert stream.getvalue().splitlines()[-2] == (
        '{"event": "task.timed_out", "level": "warning", "task_id": "t-1", "task_type": "create_vm", "waited": 0.0}'
    )


QUIET = """
import httpx, sys, waiter
answer = {"id": "t", "state": "ERROR", "task_type": "create_vm", "error": "No"}
client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)))
try:
    waiter.wait_for_task("t", api_key="1$a", client=client)
except waiter.TaskError:
    print("structlog" in sys.modules)
"""


def test_library_writes_nothing_unless_logging_is_configured() -> None:
    """Nothing on either stream, and structlog is not imported."""
    ran = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("False\n", "")


def test_every_event_has_the_id_and_the_type(cloud: SimulatedCloud) -> None:
    """The type from the first response on."""
    task_id = cloud.add(finishes(5, task_type="create_fip"))
    cloud.fault(status(500))
    seen: list[Any] = []
    wait_for_task(task_id, **cloud.options, on_event=lambda event: seen.append(dict(event.fields)))
    assert [(fields["task_id"], fields.get("task_type")) for fields in seen] == [(task_id, None)] * 3 + [
        (task_id, "create_fip")
    ] * 5


def test_structlog_that_another_thread_imports_is_not_used_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """During the import the module exists without its functions."""
    monkeypatch.setitem(sys.modules, "structlog", ModuleType("structlog"))
    assert reporter._structlog_is_configured() is False


ENDS: list[tuple[str, Any, dict[str, Any], Fault | None]] = [
    ("finished", finishes(5), {}, None),
    ("failed", fails(5, "No"), {}, None),
    ("timed_out", never_ends(), {"timeout": 5}, None),
    ("stalled", never_ends(), {"stall_timeout": 5}, None),
    ("not_found", missing(), {}, None),
    ("refused", never_ends(), {}, status(401)),
    ("unavailable", never_ends(), {"max_outage": 5}, status(503)),
    ("error", never_ends(), {"wait": lambda _: -1.0}, None),
]


@pytest.mark.parametrize("end", ENDS, ids=[end[0] for end in ENDS])
def test_every_wait_has_a_begin_and_an_end(on: Driver, events: list[Event], end: Any) -> None:
    """``wait.ended`` says how it ended, and how long it took."""
    outcome, script, options, fault = end
    cloud = SimulatedCloud.virtual(strict=False)
    task_id = cloud.add(script)
    if fault:
        cloud.fault(fault, times=math.inf)
    with nullcontext() if outcome == "finished" else pytest.raises(WaiterError):
        on.wait(cloud, task_id, on_event=events.append, **options)
    assert [event.name for event in events if event.name.startswith("wait.")] == ["wait.started", "wait.ended"]
    assert (events[0].name, events[-1].fields["outcome"], events[-1].fields["waited"]) == (
        "wait.started",
        outcome,
        pytest.approx(cloud.elapsed, abs=0.01),
    )


def test_cancelled_wait_has_an_end(cloud: SimulatedCloud, events: list[Event]) -> None:
    """The task is still running."""
    task_id = cloud.add(never_ends(), watched=False)

    async def main() -> None:
        async with AsyncWaiter(**cloud.async_options, on_event=events.append) as waiter:
            wait = asyncio.ensure_future(waiter.wait(task_id))
            await cloud.async_sleep(5)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)

    asyncio.run(main())
    assert (events[-1].name, events[-1].fields["outcome"]) == ("wait.ended", "cancelled")


def test_one_wait_may_have_its_own_on_event(cloud: SimulatedCloud, events: list[Event]) -> None:
    """It replaces that of the waiter; None is none."""
    ids = [cloud.add(ended()) for _ in range(3)]
    own: list[Event] = []
    with Waiter(**cloud.options, on_event=events.append) as waiter:
        waiter.wait(ids[0], on_event=own.append)
        waiter.wait(ids[1])
        waiter.wait(ids[2], on_event=None)
        with pytest.raises(ConfigurationError, match="on_event must be a function of an Event"):
            waiter.wait(ids[0], on_event="print")  # type: ignore[arg-type]
    assert ({event.task_id for event in own}, {event.task_id for event in events}) == ({ids[0]}, {ids[1]})


def test_log_false_keeps_events_out_of_the_log(cloud: SimulatedCloud, events: list[Event]) -> None:
    """``on_event`` is still called."""
    with capture_logs() as logs:
        wait_for_task(cloud.add(finishes(5)), **cloud.options, on_event=events.append, log=False)
    assert (logs, len(events)) == ([], 6)


def test_change_within_a_state_is_no_event(cloud: SimulatedCloud, events: list[Event]) -> None:
    """Only a new state or detailed state is a transition."""
    task_id = cloud.add(Script(phases=(Phase("RUNNING", 10), Phase("RUNNING", 10), Phase("FINISHED"))))
    wait_for_task(task_id, **cloud.options, on_event=events.append)
    states = [event.fields["new"] for event in events if event.name == "task.state_changed"]
    assert states == ["RUNNING", "FINISHED"]


def test_events_are_not_collected_without_a_listener(cloud: SimulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait whose events reach neither a log nor ``on_event`` computes nothing for them."""
    reported: list[object] = []
    monkeypatch.setattr(reporter.Reporter, "report", lambda *args: reported.append(args))
    wait_for_task(cloud.add(finishes(5)), **cloud.options, log=False)
    assert reported == []
    wait_for_task(cloud.add(finishes(5)), **cloud.options)
    assert len(reported) == 6


def test_unknown_state_is_reported_once(on: Driver, cloud: SimulatedCloud, events: list[Any]) -> None:
    """However often its details change."""
    phases = (Phase("PAUSED", 10), Phase("PAUSED", 10, "NETWORK"), Phase("FINISHED"))
    on.wait(cloud, cloud.add(Script(phases=phases)), learn=False, on_event=events.append)
    assert [event.fields["state"] for event in events if event.name == "task.state_unknown"] == ["PAUSED"]


def test_seconds_in_events_have_three_decimals(on: Driver, events: list[Any]) -> None:
    """Whatever the clock says."""
    cloud = SimulatedCloud.virtual(latency=0.0123456)
    task_id = cloud.add(never_ends())
    cloud.fault(status(503), task=task_id)
    with pytest.raises(TaskTimeoutError):
        on.wait(cloud, task_id, timeout=7.1234567, learn=False, on_event=events.append)
    image = cloud.add(resources_ready(99, ended({"images": ["m-1"]})))
    with pytest.raises(TaskTimeoutError) as caught:
        on.wait(cloud, image, timeout=7.1234567, learn=False, on_event=events.append, ready=True)
    assert caught.value.waited == pytest.approx(7.1, abs=1)
    for one in (task_id, image):
        with pytest.raises(TaskStalledError) as stalled:
            on.wait(cloud, one, stall_timeout=3.1234567, learn=False, on_event=events.append, ready=True)
        assert stalled.value.waited == pytest.approx(3.1, abs=1)
    assert [event.name for event in events].count("task.stalled") == 2
    seconds = [value for event in events for value in event.fields.values() if isinstance(value, float)]
    assert len(seconds) > 4
    assert seconds == [round(value, 3) for value in seconds]


def test_elapsed_counts_from_the_start_of_the_wait(on: Driver) -> None:
    """Whenever that was: the task's, and its resources' too."""
    cloud = SimulatedCloud.virtual()
    cloud.options["sleep"](1000.0)
    task_id = cloud.add(resources_ready(20, finishes(10, {"images": ["m-1"]}, task_type="create_image")))
    began = cloud.clock()
    told: list[tuple[float, float]] = []

    def record(event: Any) -> None:
        if "elapsed" in event.fields:
            told.append((event.fields["elapsed"], round(cloud.clock() - began, 3)))

    on.wait(cloud, task_id, ready=True, on_event=record)
    assert len(told) > 4
    assert [elapsed for elapsed, _ in told] == pytest.approx([since for _, since in told], abs=0.002)
