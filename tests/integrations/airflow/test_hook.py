"""The connection type, its form and test button, and the waiter that the triggers of a process share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import airflow
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseHook, Connection

from waiter import AsyncWaiter
from waiter.integrations.airflow.hook import GcoreHook, options_of, shared_waiter
from waiter.testing import SimulatedServer, ended, refuse

Connect = Callable[..., None]
UNKNOWN = "00000000-0000-0000-0000-000000000000"


def test_connection_type_is_registered_with_its_form() -> None:
    """Airflow finds it by the entry point of the package."""
    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call, unused-ignore]
    assert "gcore-waiter" in manager.providers
    hook = manager.hooks["gcore"]
    assert (hook.hook_name, hook.connection_id_attribute_name) == ("Gcore", "gcore_conn_id")
    if airflow.__version__.startswith("3.1."):
        # It knows no fields that a provider describes.
        return
    assert manager.field_behaviours["gcore"]["relabeling"]["password"] == "Permanent API token"
    assert {name for name in manager.connection_form_widgets if name.startswith("extra__gcore__")} == {
        "extra__gcore__max_rps",
        "extra__gcore__processes",
        "extra__gcore__max_outage",
    }


def test_button_accepts_a_key(gcore_server: SimulatedServer, connect: Connect) -> None:
    """It polls a task that does not exist."""
    connect()
    gcore_server.cloud.strict = False
    assert GcoreHook().test_connection() == (True, "The API accepts the key.")


def test_button_accepts_a_key_whatever_the_api_answers(gcore_server: SimulatedServer, connect: Connect) -> None:
    """Should there ever be a task with this ID."""
    connect()
    gcore_server.cloud.add(ended(), task_id=UNKNOWN)
    assert GcoreHook().test_connection()[0]


def test_button_refuses_a_key(gcore_server: SimulatedServer, connect: Connect) -> None:
    """The message is waiter's."""
    connect(key="1$wrong")
    gcore_server.cloud.strict = False
    accepted, message = GcoreHook().test_connection()
    assert not accepted
    assert "401" in message


def test_button_names_an_outage(gcore_server: SimulatedServer, connect: Connect) -> None:
    """The API could not be reached."""
    connect()
    gcore_server.cloud.fault(refuse())
    gcore_server.cloud.strict = False
    assert not GcoreHook().test_connection()[0]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {}),
        ({"max_rps": None}, {}),
        ({"max_rps": 30, "processes": 3}, {"max_rps": 10}),
        ({"processes": 4}, {"max_rps": 25}),
        ({"max_outage": 60, "allow_http": True}, {"max_outage": 60, "allow_http": True}),
    ],
)
def test_rate_is_divided_by_the_processes_that_share_it(extra: dict[str, Any], expected: dict[str, Any]) -> None:
    """``max_rps`` holds for one process; an empty field of the form is null."""
    connection = Connection(conn_id="c", conn_type="gcore", host="https://h", password="1$a", extra=json.dumps(extra))
    assert options_of(connection) == {"api_key": "1$a", "base_url": "https://h", **expected}


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The IDs of the connections that were fetched, in order."""
    fetched = []
    fetch = BaseHook.aget_connection

    async def counted(conn_id: str) -> Connection:
        fetched.append(conn_id)
        await asyncio.sleep(0.01)
        return await fetch(conn_id)

    monkeypatch.setattr(BaseHook, "aget_connection", counted)
    return fetched


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[AsyncWaiter]:
    """The waiters that were closed."""
    closed = []
    close = AsyncWaiter.close

    async def counted(self: AsyncWaiter) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(AsyncWaiter, "close", counted)
    return closed


async def use(until: asyncio.Event) -> AsyncWaiter:
    async with shared_waiter("gcore_default") as waiter:
        await until.wait()
        return waiter


def test_waiter_is_shared_until_the_last_has_left(connect: Connect, fetched: list[str], closed: list[AsyncWaiter]) -> None:
    """The connection is fetched once, however many start together."""
    connect()

    async def run() -> None:
        first, last = asyncio.Event(), asyncio.Event()
        users = [asyncio.create_task(use(first)), asyncio.create_task(use(first)), asyncio.create_task(use(last))]
        await asyncio.sleep(0.1)
        first.set()
        waiters = await asyncio.gather(*users[:2])
        assert closed == []
        last.set()
        waiters.append(await users[2])
        assert len(set(map(id, waiters))) == 1
        assert closed == waiters[:1]
        assert fetched == ["gcore_default"]

    asyncio.run(run())


def test_next_user_opens_a_waiter_of_its_own(connect: Connect, fetched: list[str]) -> None:
    """An unused waiter is not kept, so that a changed connection is read again."""
    connect()

    async def run() -> None:
        done = asyncio.Event()
        done.set()
        assert await use(done) is not await use(done)

    asyncio.run(run())
    assert len(fetched) == 2


def test_connection_that_cannot_be_fetched_is_an_error_for_all(
    connect: Connect, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later callers try again."""
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_GCORE_DEFAULT", "{}")

    async def run() -> None:
        both = await asyncio.gather(use(asyncio.Event()), use(asyncio.Event()), return_exceptions=True)
        assert [isinstance(error, Exception) for error in both] == [True, True]

    asyncio.run(run())
    assert fetched == ["gcore_default"]


def test_cancelled_while_the_connection_is_fetched(connect: Connect, fetched: list[str], closed: list[AsyncWaiter]) -> None:
    """The others are not affected; the last one leaves nothing behind."""
    connect()

    async def run() -> None:
        done = asyncio.Event()
        done.set()
        cancelled, other = asyncio.create_task(use(done)), asyncio.create_task(use(done))
        await asyncio.sleep(0)
        cancelled.cancel()
        await other
        alone = asyncio.create_task(use(done))
        await asyncio.sleep(0)
        alone.cancel()
        await asyncio.gather(cancelled, alone, return_exceptions=True)
        assert (cancelled.cancelled(), alone.cancelled()) == (True, True)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert (len(fetched), len(closed)) == (2, 1)
