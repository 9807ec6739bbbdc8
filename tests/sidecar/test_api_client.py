"""The sidecar's client: a refused key is an outage, and waits continue when the key file changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sidecar_parts import EAGER, PLAIN, Report, Sidecar, make_task, run, running, wait_json

from waiter import errors
from waiter.config.settings import resolve
from waiter.http.async_client import AsyncClient
from waiter.outcome import WaitStatus
from waiter.sidecar import service
from waiter.sidecar.api_client import SidecarClient
from waiter.sidecar.model import Wait
from waiter.testing import SimulatedCloud, finishes, never_ends, resources_fail, resources_ready, status


@pytest.fixture
def key_file(served: SimulatedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a key that the cloud refuses; the environment names it."""
    file = tmp_path / "key"
    file.write_text("old$key")
    monkeypatch.delenv("GCORE_API_KEY")
    monkeypatch.setenv("GCORE_API_KEY_FILE", str(file))
    monkeypatch.setattr(service, "MAINTENANCE_INTERVAL", 0.05)
    assert served.api_key != "old$key"
    return file


async def readiness(url: str) -> tuple[int, str]:
    async with httpx.AsyncClient(**PLAIN) as client:
        response = await client.get(f"{url}/readyz")
        return response.status_code, response.text


async def until_ready(url: str, expected: tuple[int, str]) -> None:
    while await readiness(url) != expected:  # noqa: ASYNC110 - over HTTP there is no event
        await asyncio.sleep(0.02)


def test_wait_survives_a_refused_key(served: SimulatedCloud, key_file: Path, tmp_path: Path, report: Report) -> None:
    """/readyz and a metric report the refusal; the wait ends once the file has the new key."""
    task_id = served.add(finishes(0.0, {"instances": 1}))

    async def test() -> None:
        async with running(tmp_path / "state") as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            await client.post("/v1/waits", json=task_id)
            await until_ready(sidecar.probes, (200, "ok\nwarning: the API refuses the key (HTTP 401)\n"))
            assert "waiter_api_key_refused 1.0" in (await client.get(f"{sidecar.probes}/metrics")).text
            assert (await client.get(f"/v1/waits/{task_id}")).json()["status"] == "waiting"
            key_file.write_text(served.api_key)  # noqa: ASYNC240
            ended = (await client.get(f"/v1/waits/{task_id}?wait=10s")).json()
            assert (ended["status"], await readiness(sidecar.probes)) == ("finished", (200, "ok\n"))
            metrics = (await client.get(f"{sidecar.probes}/metrics")).text
            assert "waiter_api_key_refused 0.0" in metrics
            (refused,) = re.findall(r'waiter_polls_total\{result="refused"\} (\d+)', metrics)
            report(f"a rotated key: the wait finished with the new key; polls that were refused before: {refused}")

    run(test())


@asynccontextmanager
async def used(directory: Path, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run a sidecar and yield a client of it."""
    async with running(directory, **options) as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
        yield client


@pytest.mark.parametrize("is_restarted", [False, True])
def test_refused_wait_is_restarted_when_the_key_changes(
    served: SimulatedCloud, key_file: Path, tmp_path: Path, is_restarted: bool, report: Report
) -> None:
    """After ``max_outage`` it ends as refused; another key restarts it, also after a restart of the sidecar."""
    task_id = served.add(finishes(0.0))
    options = {"wait": EAGER | {"max_outage": 0.2}}

    async def test() -> None:
        async with used(tmp_path / "state", **options) as client:
            await client.post("/v1/waits", json=task_id)
            ended = (await client.get(f"/v1/waits/{task_id}?wait=10s")).json()
            assert ended["status"] == "refused"
            assert re.match(r"no usable answer for \d+ s: the API key was rejected", ended["error"])
            if not is_restarted:
                await finishes_with_the_new_key(client)
        if is_restarted:
            async with used(tmp_path / "state", **options) as client:
                assert (await client.get(f"/v1/waits/{task_id}")).json()["status"] == "refused"
            async with used(tmp_path / "state", **options) as client:
                await finishes_with_the_new_key(client)

    async def finishes_with_the_new_key(client: httpx.AsyncClient) -> None:
        key_file.write_text(served.api_key)  # noqa: ASYNC240
        while (await client.get(f"/v1/waits/{task_id}?wait=10s")).json()["status"] != "finished":  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    run(test())
    report(f"a rotated key: the wait that ended as refused finished{' after a restart' if is_restarted else ''}")


@pytest.mark.usefixtures("key_file")
def test_permission_and_missing_task_are_distinguished(served: SimulatedCloud, tmp_path: Path) -> None:
    """A 404 shows that the key is accepted."""
    task_id = served.add(never_ends())

    async def test() -> None:
        async with running(tmp_path / "state") as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            await client.post("/v1/waits", json=[task_id])
            await until_ready(sidecar.probes, (200, "ok\nwarning: the API refuses the key (HTTP 401)\n"))
            (tmp_path / "key").write_text(served.api_key)
            await client.delete(f"/v1/waits/{task_id}")
            await client.post("/v1/waits", json=["unknown"])
            await until_ready(sidecar.probes, (200, "ok\n"))

    run(test())


@pytest.mark.usefixtures("served")
def test_key_file_is_read_again_after_403(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next poll has the new key."""
    file = tmp_path / "key"
    file.write_text("old$key")

    async def refuse(*_: object, **__: object) -> None:
        raise errors.PermissionDeniedError("403", status=403)  # noqa: EM101

    monkeypatch.setattr(AsyncClient, "get_task", refuse)

    async def test() -> None:
        async with SidecarClient(resolve({"api_key": file}), lambda *_: None) as client:
            file.write_text("new$key")
            with pytest.raises(errors.ApiUnavailableError):
                await client.get_task("a", timeout=1)
            assert (client.settings.api_key.header, client.refused_with) == ("apikey new$key", 403)

    run(test())


@pytest.mark.usefixtures("served")
def test_age_of_the_key_begins_with_a_new_one(tmp_path: Path) -> None:
    """Reading the same key again does not make it younger."""
    file = tmp_path / "key"
    file.write_text("old$key")
    client = SidecarClient(resolve({"api_key": file}), lambda *_: None)
    client.settings.api_key.changed_at -= 60
    client.key_fingerprint()
    assert client.key_age() > 60
    file.write_text("new$key")
    client.key_fingerprint()
    assert client.key_age() < 60


@pytest.mark.usefixtures("served")
def test_outage_lasts_from_the_first_to_the_last_poll_without_an_answer() -> None:
    """A 404 is an answer; when nothing is polled, an outage does not grow."""
    recorded: list[tuple[float, int | None]] = []
    now = 0.0
    client = SidecarClient(resolve({}), lambda *exchange: recorded.append(exchange))
    client.settings = msgspec.structs.replace(client.settings, clock=lambda: now)
    found = []
    for moment, answer in ((0, 200), (10, None), (20, 503), (50, 429), (60, 404), (70, 500), (90, 200)):
        now = float(moment)
        client._record_exchange(0.1, answer)
        found.append(client.outage())
    assert found == [0, 0, 10, 40, 0, 0, 0]
    assert [answer for _, answer in recorded] == [200, None, 503, 429, 404, 500, 200]


@pytest.mark.parametrize("is_deleted_first", [False, True])
def test_refused_wait_that_is_deleted_meanwhile_is_not_restarted(sidecar: Sidecar, is_deleted_first: bool) -> None:
    """Whether its deletion is under way already or begins while another one is restarted."""

    async def test() -> None:
        async with sidecar.open():
            for wait_id in "ab":
                refused = Wait(id=wait_id, accepted_at=1.0, status=WaitStatus.REFUSED, ended_at=2.0, refused_key="old")
                sidecar.service.waits[wait_id] = refused
            changes = [sidecar.service.restart_refused(), sidecar.service.delete("b")]
            await asyncio.gather(*(reversed(changes) if is_deleted_first else changes))
            assert {wait.id: wait.status for wait in sidecar.service.waits.values()} == {"a": "waiting"}

    run(test())


def test_only_refused_waits_of_another_key_are_restarted(sidecar: Sidecar) -> None:
    """The same key would be refused again."""

    async def test() -> None:
        async with sidecar.open():
            for wait_id, key in (("a", "fingerprint"), ("b", "old")):
                refused = Wait(
                    id=wait_id, accepted_at=1.0, status=WaitStatus.REFUSED, ended_at=2.0, refused_key=key, timeout=9.0
                )
                sidecar.service.waits[wait_id] = refused
            await sidecar.service.restart_refused()
            assert {wait.id: wait.status for wait in sidecar.service.waits.values()} == {"a": "refused", "b": "waiting"}
            await sidecar.settle()
            assert sidecar.waiter.limits["b"]["timeout"] == 9.0
            sidecar.waiter.fail("b", errors.ApiUnavailableError("no usable answer", status=403))
            await sidecar.settle()
            assert wait_json(sidecar, "b")["status"] == "refused"
            assert sidecar.service.waits["b"].refused_key == "fingerprint"
            sidecar.key = "new"
            await sidecar.service.restart_refused()
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            assert (
                sidecar.service.waits["a"].task
                == sidecar.service.waits["a"].with_task(make_task("a", "FINISHED"), None, 0).task
            )

    run(test())


def test_wait_may_last_until_resources_are_ready(served: SimulatedCloud, tmp_path: Path) -> None:
    """By the request or by the command line; a refused key is an outage at the endpoints of resources too."""
    ready = served.add(resources_ready(0.3, finishes(0.0, {"images": ["m-1"]})))
    failed = served.add(resources_fail(0.0, finishes(0.0, {"images": ["m-2"]})))
    refused = served.add(finishes(0.0, {"volumes": ["v-1"]}))

    async def test() -> None:
        async with used(tmp_path / "state", wait=EAGER | {"max_outage": 0.3}) as client:
            await client.post("/v1/waits", json={"tasks": [ready, failed], "ready": True})
            ended = [(await client.get(f"/v1/waits/{task_id}?wait=10s")).json() for task_id in (ready, failed)]
            assert [one["status"] for one in ended] == ["finished", "failed"]
            assert ended[1]["error"] == f"images m-2 failed: deactivated; the task is FINISHED ({failed})"
        async with used(tmp_path / "other", wait=EAGER | {"max_outage": 0.3, "ready": True}) as client:
            served.outage(0, 1000, status(403), on="resource")
            await client.post("/v1/waits", json=refused)
            ended = [(await client.get(f"/v1/waits/{refused}?wait=10s")).json()]
            assert (ended[0]["status"], "volumes v-1" in ended[0]["error"]) == ("refused", True)

    run(test())
