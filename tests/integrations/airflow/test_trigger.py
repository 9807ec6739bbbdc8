"""The trigger on an event loop, without an Airflow around it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from structlog.testing import capture_logs

from waiter.integrations.airflow.trigger import GcoreTaskTrigger, run_in_batch
from waiter.testing import Script, SimulatedServer, fails, finishes, missing, never_ends, refuse

Connect = Callable[..., None]


def trigger_for(*ids: str, timeout: float | None = 60) -> GcoreTaskTrigger:
    return GcoreTaskTrigger(ids, "gcore_default", None if timeout is None else time.time() + timeout)


async def events_of(trigger: GcoreTaskTrigger) -> list[Any]:
    return [event.payload async for event in trigger.run()]


def outcome(*ids: str, timeout: float | None = 60) -> dict[str, Any]:
    """The payload of the one event."""
    [payload] = asyncio.run(events_of(trigger_for(*ids, timeout=timeout)))
    return dict(payload)


def test_key_is_not_serialised() -> None:
    """What is stored in Airflow's database names the connection only."""
    path, arguments = GcoreTaskTrigger(("a", "b"), "gcore_default", 1700000000.0).serialize()
    assert path == "waiter.integrations.airflow.trigger.GcoreTaskTrigger"
    assert arguments == {"task_ids": ["a", "b"], "gcore_conn_id": "gcore_default", "deadline": 1700000000.0}
    assert GcoreTaskTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize("timeout", [60, None])
def test_finished_tasks(timeout: float | None, gcore_server: SimulatedServer, connect: Connect) -> None:
    """What they created is put together."""
    connect()
    ids = [gcore_server.cloud.add(finishes(n, {"instances": [f"i-{n}"]})) for n in (0, 1)]
    assert outcome(*ids, timeout=timeout) == {
        "error": None,
        "is_final": False,
        "has_ended": True,
        "created_resources": {"instances": ["i-0", "i-1"]},
    }


def test_failed_task_does_not_hide_the_others(gcore_server: SimulatedServer, connect: Connect) -> None:
    """All resources are named, since they may need to be deleted."""
    connect()
    good = gcore_server.cloud.add(finishes(1, {"instances": ["i-1"]}))
    bad = gcore_server.cloud.add(fails(0, "No valid host was found", {"volumes": ["v-1"]}))
    ended = outcome(good, bad)
    assert ended.pop("error").startswith("create_vm failed: No valid host was found")
    assert ended == {"is_final": True, "has_ended": True, "created_resources": {"instances": ["i-1"], "volumes": ["v-1"]}}


@pytest.mark.parametrize(
    ("script", "timeout", "message", "has_ended"),
    [(never_ends(), 0, "not ended after", False), (missing(), 60, "404", True)],
)
def test_what_a_retry_would_not_change_is_final(  # noqa: PLR0913, PLR0917 - a table and two fixtures
    script: Script,
    timeout: float,
    message: str,
    has_ended: bool,
    gcore_server: SimulatedServer,
    connect: Connect,
) -> None:
    """A time-out and an unknown task."""
    connect()
    ended = outcome(gcore_server.cloud.add(script), timeout=timeout)
    assert message in ended["error"]
    assert (ended["is_final"], ended["has_ended"]) == (True, has_ended)


def test_key_that_is_not_accepted_is_final(gcore_server: SimulatedServer, connect: Connect) -> None:
    """The task may still be running."""
    connect(key="1$wrong")
    gcore_server.cloud.strict = False
    ended = outcome(gcore_server.cloud.add(never_ends()))
    assert "401" in ended["error"]
    assert (ended["is_final"], ended["has_ended"]) == (True, False)


def test_outage_may_be_retried(gcore_server: SimulatedServer, connect: Connect) -> None:
    """After ``max_outage`` of the connection."""
    connect(max_outage=0)
    gcore_server.cloud.fault(refuse(), times=1000)
    gcore_server.cloud.strict = False
    ended = outcome(gcore_server.cloud.add(never_ends()))
    assert (ended["is_final"], ended["has_ended"]) == (False, False)


@pytest.mark.parametrize("connection", ["{}", '{"conn_type": "gcore", "password": "1$a", "extra": "{"}'])
def test_fault_of_the_connection_is_an_event(connection: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger that raises would be retried by Airflow."""
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_GCORE_DEFAULT", connection)
    ended = outcome("a")
    assert ended["error"]
    assert not ended["has_ended"]


def test_unexpected_fault_is_an_event(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a defect of waiter's own."""
    connect()

    async def broken(*_: object, **__: object) -> None:
        message = "defect"
        raise RuntimeError(message)

    monkeypatch.setattr("waiter.AsyncWaiter.wait", broken)
    assert outcome("a")["error"] == "RuntimeError: defect"


def test_log_names_the_task_of_gcore(gcore_server: SimulatedServer, connect: Connect) -> None:
    """``task_id`` is that of the task in the DAG."""
    connect()
    task_id = gcore_server.cloud.add(finishes(0.5))
    with capture_logs() as logs:
        outcome(task_id)
    mine = [log for log in logs if "gcore_task_id" in log]
    assert [log["new"] for log in mine if log["event"] == "task.state_changed"] == ["RUNNING", "FINISHED"]
    assert {log["gcore_task_id"] for log in mine} == {task_id}
    assert not any("task_id" in log for log in logs)


def test_log_of_a_trigger_is_written_in_its_context_before_it_ends(
    gcore_server: SimulatedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow finds the file by the context, and closes it when the trigger ends. A thread writes it, in order."""
    connect()
    ids = [gcore_server.cloud.add(finishes(n / 10)) for n in range(5)]
    trigger_id: ContextVar[str] = ContextVar("trigger_id")
    written: dict[str, list[str]] = {task_id: [] for task_id in ids}
    threads = set()

    class Log:
        def log(self, _: int, name: str, **fields: Any) -> None:
            assert fields["gcore_task_id"] == trigger_id.get()
            written[trigger_id.get()].append(name)
            threads.add(threading.current_thread().name)

    async def run(task_id: str) -> tuple[str, str]:
        trigger_id.set(task_id)
        await events_of(trigger_for(task_id))
        return written[task_id][0], written[task_id][-1]

    async def run_all() -> list[tuple[str, str]]:
        return await asyncio.gather(*map(run, ids))

    monkeypatch.setattr(GcoreTaskTrigger, "log", Log())
    assert asyncio.run(run_all()) == 5 * [("wait.started", "wait.ended")]
    assert threads == {"gcore-log_0"}


def test_entries_of_several_triggers_are_written_together() -> None:
    """One that is cancelled takes the entries of no other with it."""
    written: list[int] = []

    async def write(number: int) -> asyncio.Task[None]:
        writing = run_in_batch(partial(written.append, number))
        await asyncio.wait({writing})
        return writing

    async def run() -> None:
        first, *others = [asyncio.create_task(write(number)) for number in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        assert len(set(await asyncio.gather(*others))) == 1

    asyncio.run(run())
    assert written == [0, 1, 2]


def test_failure_of_the_log_does_not_change_the_outcome(
    gcore_server: SimulatedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is not what the wait is for."""
    connect()

    class Broken:
        def log(self, *_: object, **__: object) -> None:
            raise OSError

    monkeypatch.setattr(GcoreTaskTrigger, "log", Broken())
    assert outcome(gcore_server.cloud.add(finishes(0.5)))["error"] is None


def test_cancelled_trigger_stops_polling(gcore_server: SimulatedServer, connect: Connect) -> None:
    """And yields nothing: another triggerer takes over."""
    connect()
    task_id = gcore_server.cloud.add(never_ends())

    async def run() -> list[TriggerEvent]:
        waiting = asyncio.create_task(events_of(trigger_for(task_id)))
        while not gcore_server.cloud.requests:  # noqa: ASYNC110 - the server has no event to await
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # that write the log
        polls = len(gcore_server.cloud.requests)
        await asyncio.sleep(3)
        assert len(gcore_server.cloud.requests) == polls
        return []

    asyncio.run(run())
    assert {request.method for request in gcore_server.cloud.requests} == {"GET"}


def test_log_names_what_continues_when_the_task_is_ended() -> None:
    """Nothing is cancelled at Gcore."""
    with capture_logs() as logs:
        asyncio.run(trigger_for("a").on_kill())
    assert [(log["event"], log["gcore_task_ids"]) for log in logs] == [("the tasks continue at Gcore", ["a"])]
