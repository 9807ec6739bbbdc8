"""Waits as activities of Temporal, on its test server and on its development server, which are real servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import deployment
import pytest
from deployment import QUEUE, Deployment, worker
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from waiter import AsyncWaiter
from waiter.integrations.temporal import MARGIN, GcoreActivities
from waiter.testing import SimulatedServer, ended, fails, finishes, missing, never_ends, refuse

BIN = Path(sys.executable).parent
Environment = Callable[[], Any]


def test_server() -> Any:
    return WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(BIN / "temporal-test-server"))


test_server.__test__ = False  # type: ignore[attr-defined]


def development_server() -> Any:
    return WorkflowEnvironment.start_local(dev_server_existing_path=str(BIN / "temporal"))


@asynccontextmanager
async def serving(environment: Environment, **options: Any) -> AsyncIterator[Client]:
    """A server with one worker in this process."""
    async with await environment() as server, GcoreActivities(**options) as gcore, worker(server.client, gcore):
        yield server.client


def start(client: Client, ids: list[str], heartbeat: float = 1.0) -> Awaitable[WorkflowHandle[Any, dict[str, Any]]]:
    return client.start_workflow(Deployment.run, args=[{"tasks": ids}, 300.0, heartbeat], id=str(uuid4()), task_queue=QUEUE)


async def failure(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """The error of the activity that a workflow failed with."""
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    return failed.value.cause.cause


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - the state is the server's
            await asyncio.sleep(0.05)


async def pending(handle: WorkflowHandle[Any, Any]) -> Any:
    """The activity of a workflow that is under way, or None."""
    described = await handle.describe()
    return next(iter(described.raw_description.pending_activities), None)


@pytest.mark.parametrize("environment", [test_server, development_server])
def test_workflow_returns_what_its_tasks_created(environment: Environment, gcore_server: SimulatedServer) -> None:
    """The answer of the API is taken as it is, and its tasks are awaited together."""
    ids = [gcore_server.cloud.add(finishes(1, {"instances": ["i-1"]})), gcore_server.cloud.add(ended({"volumes": ["v-1"]}))]

    async def run() -> dict[str, Any]:
        async with serving(environment) as client:
            return await (await start(client, ids)).result()

    assert asyncio.run(run()) == {"instances": ["i-1"], "volumes": ["v-1"]}


@pytest.mark.parametrize("environment", [test_server, development_server])
def test_failed_task_fails_the_workflow_once(environment: Environment, gcore_server: SimulatedServer) -> None:
    """No attempt follows, and the details name what the task has left behind."""
    task_id = gcore_server.cloud.add(fails(0.5, "No valid host was found", {"volumes": ["v-1"]}))

    async def run() -> ApplicationError:
        async with serving(environment) as client:
            return await failure(await start(client, [task_id]))

    error = asyncio.run(run())
    assert (error.type, error.non_retryable) == ("TaskError", True)
    assert error.details[0] == {
        "id": task_id,
        "task_type": "create_vm",
        "state": "ERROR",
        "detailed_state": None,
        "error": "No valid host was found",
        "created_resources": {"volumes": ["v-1"]},
    }


async def attempt(task_id: str, deadline: timedelta = timedelta(hours=1), **options: Any) -> Any:
    """One attempt of the activity, scheduled now, without a server."""
    environment = ActivityEnvironment()
    environment.info = replace(
        environment.default_info(), scheduled_time=datetime.now(UTC), schedule_to_close_timeout=deadline + MARGIN
    )
    async with GcoreActivities(**options) as gcore:
        return await environment.run(gcore.wait, task_id)


@pytest.mark.parametrize(("key", "kind"), [("1$wrong", "AuthenticationError"), (None, "TaskNotFoundError")])
def test_refusal_is_not_retried(key: str | None, kind: str, gcore_server: SimulatedServer) -> None:
    """A key that is not accepted, or a task that does not exist, will be neither in the next attempt."""
    gcore_server.cloud.strict = False
    with pytest.raises(ApplicationError) as raised:
        asyncio.run(attempt(gcore_server.cloud.add(missing()), api_key=key))
    assert (raised.value.type, raised.value.non_retryable) == (kind, True)


def test_outage_is_retried(gcore_server: SimulatedServer) -> None:
    """Temporal's attempts go on where ``max_outage`` ends one of them."""
    gcore_server.cloud.fault(refuse(), times=1000)
    gcore_server.cloud.strict = False
    with pytest.raises(ApplicationError) as raised:
        asyncio.run(attempt(gcore_server.cloud.add(never_ends()), max_outage=0))
    assert (raised.value.type, raised.value.non_retryable) == ("ApiUnavailableError", False)


def test_wait_ends_before_the_time_out_of_the_activity(gcore_server: SimulatedServer) -> None:
    """Its own error says more than Temporal's, and no attempt follows."""
    task_id = gcore_server.cloud.add(never_ends())
    with pytest.raises(ApplicationError) as raised:
        asyncio.run(attempt(task_id, timedelta()))
    assert (raised.value.type, raised.value.non_retryable) == ("TaskTimeoutError", True)
    assert raised.value.details[0]["state"] == "RUNNING"


def test_invalid_id_is_not_retried(gcore_server: SimulatedServer) -> None:
    """No request is sent for it."""
    with pytest.raises(ApplicationError, match="not a task ID") as raised:
        asyncio.run(attempt("a/b"))
    assert raised.value.non_retryable
    assert gcore_server.cloud.requests == []


def test_cancelled_workflow_waits_for_its_activity(gcore_server: SimulatedServer) -> None:
    """The wait has ended when the workflow is cancelled; the task itself continues."""
    task_id = gcore_server.cloud.add(never_ends())

    async def run() -> int:
        async with serving(development_server) as client:
            handle = await start(client, [task_id])
            await until(lambda: polled(gcore_server))
            await handle.cancel()
            with pytest.raises(WorkflowFailureError) as failed:
                await handle.result()
            assert isinstance(failed.value.cause, CancelledError | ActivityError)
            polls = len(gcore_server.cloud.requests)
            await asyncio.sleep(1)
            return len(gcore_server.cloud.requests) - polls

    assert asyncio.run(run()) == 0


async def polled(server: SimulatedServer) -> bool:
    return bool(server.cloud.requests)


def test_wait_of_a_killed_worker_is_taken_over(gcore_server: SimulatedServer) -> None:
    """The next attempt starts with the task as the killed worker saw it last, which its heartbeats carried."""
    task_id = gcore_server.cloud.add(finishes(6, {"instances": ["i-1"]}))

    async def run() -> tuple[Any, dict[str, Any]]:
        async with await development_server() as server:
            first = start_worker(server.client)
            try:
                handle = await start(server.client, [task_id])
                await until(lambda: has_heartbeat(handle))
            finally:
                first.kill()
                first.wait()
            async with GcoreActivities() as gcore, worker(server.client, gcore):
                await until(lambda: is_attempt(handle, 2))
                return await pending(handle), await handle.result()

    taken_over, created = asyncio.run(run())
    assert b'"state":"RUNNING"' in taken_over.heartbeat_details.payloads[0].data
    assert created == {"instances": ["i-1"]}


def start_worker(client: Client) -> subprocess.Popen[bytes]:
    """Run the example as a process of its own, so that it can be killed."""
    address = client.service_client.config.target_host
    command = [sys.executable, deployment.__file__, "worker"]
    return subprocess.Popen(command, env=os.environ | {"TEMPORAL_ADDRESS": address})


async def has_heartbeat(handle: WorkflowHandle[Any, Any]) -> bool:
    activity = await pending(handle)
    return bool(activity) and any(b"RUNNING" in payload.data for payload in activity.heartbeat_details.payloads)


async def is_attempt(handle: WorkflowHandle[Any, Any], number: int) -> bool:
    activity = await pending(handle)
    return bool(activity) and activity.attempt >= number


def test_two_thousand_waits_share_one_worker(gcore_server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are under way together, when the worker allows as many activities."""
    ids = [gcore_server.cloud.add(finishes(5, {"instances": [f"i-{n}"]})) for n in range(2000)]
    under_way = 0
    all_under_way = asyncio.Event()
    wait = AsyncWaiter.wait

    async def held(self: AsyncWaiter, task_id: Any, **limits: Any) -> Any:
        """Wait, and return when all others have begun, however slow the machine is."""
        nonlocal under_way
        under_way += 1
        if under_way == len(ids):
            all_under_way.set()
        task = await wait(self, task_id, **limits)
        await all_under_way.wait()
        return task

    monkeypatch.setattr(AsyncWaiter, "wait", held)

    async def run() -> list[str]:
        async with (
            await development_server() as server,
            GcoreActivities() as gcore,
            worker(server.client, gcore, waits=2000),
        ):
            handles = [await start(server.client, ids[n::20], 60.0) for n in range(20)]
            results = await asyncio.gather(*(handle.result() for handle in handles))
        return [instance for result in results for instance in result["instances"]]

    assert sorted(asyncio.run(run())) == sorted(f"i-{n}" for n in range(2000))


def test_key_is_not_in_the_history(gcore_server: SimulatedServer) -> None:
    """Neither in an argument nor in a result."""
    task_id = gcore_server.cloud.add(ended())

    async def run() -> str:
        async with serving(test_server) as client:
            handle = await start(client, [task_id])
            await handle.result()
            return (await handle.fetch_history()).to_json()

    history = asyncio.run(run())
    assert task_id in history or QUEUE in history
    assert gcore_server.cloud.api_key not in history
