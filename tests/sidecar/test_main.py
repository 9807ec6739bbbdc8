"""The whole sidecar over real HTTP, against the simulated cloud."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from sidecar_parts import EAGER, PLAIN, events_in, run, running
from webhook_parts import SECRET, answer, make_delivery, receiving, write_secrets

from waiter.errors import ConfigurationError
from waiter.sidecar import listeners
from waiter.sidecar.address import Address
from waiter.sidecar.model import Wait
from waiter.sidecar.options import WebhookOptions
from waiter.sidecar.storage.store import Change, Store
from waiter.sidecar.storage.write_queue import WriteQueue
from waiter.sidecar.web.access_control import Token
from waiter.sidecar.webhook.signature import SecretFile
from waiter.sidecar.webhook.targets import Origin, Targets
from waiter.testing import SimulatedCloud, fails, finishes, never_ends


async def code(url: str) -> int:
    async with httpx.AsyncClient(**PLAIN) as client:
        return (await client.get(url)).status_code


def test_waits_are_reported_by_every_interface(served: SimulatedCloud, tmp_path: Path) -> None:
    """The long poll, the event stream, the metrics and the exit code report the same waits."""
    good, bad = (
        served.add(finishes(0.3, {"instances": 1}, starts_when_seen=True)),
        served.add(fails(0.3, "no host", starts_when_seen=True)),
    )

    async def test() -> None:
        async with running(tmp_path) as (sidecar, serving), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            accepted = await client.post("/v1/waits", json={"tasks": [good, bad]})
            assert accepted.status_code == 202
            waits = (await client.get("/v1/waits?wait=10s")).json()["waits"]
            assert {wait["id"]: wait["status"] for wait in waits} == {good: "finished", bad: "failed"}
            assert len(waits[0]["created_resources"]["instances"]) == 1
            assert [step["state"] for step in waits[0]["transitions"]] == ["RUNNING", "FINISHED"]
            reset, *events = await first_events(client, 11)
            assert reset[1] == "stream.reset"  # earlier databases may have had other events
            assert [number - reset[0] for number, *_ in events] == list(range(1, 11))
            assert {name for number, name, _ in events} == {
                "wait.accepted", "task.state_changed", "task.finished", "task.failed", "wait.ended"
            }  # fmt: skip
            metrics = (await client.get(f"{sidecar.probes}/metrics")).text
            assert 'waiter_task_seconds_count{state="finished",task_type="create_vm"} 1.0' in metrics
            assert 'waiter_polls_total{result="ok"}' in metrics
            assert "waiter_detection_delay_seconds_count 2.0" in metrics
            assert "waiter_max_waits 2000.0" in metrics
            names = (
                "lost_waits",
                "lost_events",
                "lost_webhooks",
                "storage_failing",
                "api_key_refused",
                "open_long_polls",
                "open_streams",
            )
            assert all(f"waiter_{name} 0.0" in metrics for name in names)
            assert good not in metrics
        assert await serving == 0
        assert sidecar.announcements == [f"control on {sidecar.control}, probes on {sidecar.probes}"]

    run(test())


async def first_events(client: httpx.AsyncClient, count: int) -> list[tuple[int, str, object]]:
    text = ""
    async with client.stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as stream:
        async for part in stream.aiter_text():
            text += part
            if len(events_in(text)) >= count:
                break
    return events_in(text)


def test_probes_report_the_tasks_of_the_command_line(served: SimulatedCloud, tmp_path: Path) -> None:
    """Live immediately; started and ready once the task is FINISHED and its result is written."""
    task_id = served.add(finishes(0.3, {"instances": 1}, starts_when_seen=True))
    file = tmp_path / "result.json"

    async def test() -> None:
        async with running(tmp_path, task_id, result_file=file) as (sidecar, _):
            before = [await code(f"{sidecar.probes}/{probe}") for probe in ("livez", "readyz", "startupz")]
            async with httpx.AsyncClient(**PLAIN) as client:
                await client.get(f"{sidecar.control}/v1/waits/{task_id}?wait=10s")
            await asyncio.sleep(0.1)
            after = [await code(f"{sidecar.probes}/{probe}") for probe in ("livez", "readyz", "startupz")]
            assert (before, after) == ([200, 503, 503], [200, 200, 200])
            assert [task["id"] for task in json.loads(file.read_text())["tasks"]] == [task_id]

    run(test())


@pytest.mark.parametrize(("exits", "expected"), [(True, 1), (False, 0)])
def test_failed_task_of_the_command_line_ends_the_sidecar_if_asked(
    served: SimulatedCloud, tmp_path: Path, exits: bool, expected: int
) -> None:
    """The exit code is that of ``waiter wait``; otherwise the sidecar continues and is never ready."""
    task_id = served.add(fails(0.0, "no host"))

    async def test() -> None:
        async with running(tmp_path, task_id, exits_on_error=exits) as (sidecar, serving):
            if exits:
                assert await serving == 1
            else:
                async with httpx.AsyncClient(**PLAIN) as client:
                    waits = await client.get(f"{sidecar.control}/v1/waits?wait=5s")
                assert waits.json()["waits"][0]["status"] == "failed"
                assert await code(f"{sidecar.probes}/readyz") == 503
        assert await serving == expected

    run(test())


def test_restart_does_not_extend_a_deadline(served: SimulatedCloud, tmp_path: Path) -> None:
    """The time since the acceptance counts towards the time-out."""
    task_id = served.add(never_ends())
    store = Store(tmp_path)
    store.apply([Change(waits=[Wait(id=task_id, accepted_at=time.time() - 60)])])
    store.close()

    async def test() -> None:
        async with running(tmp_path, task_id, wait=EAGER | {"timeout": 60.2}) as (_, serving):
            assert await serving == 124

    run(test())


def test_sigterm_closes_open_connections(served: SimulatedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and long polls are answered; incomplete requests are aborted, whatever their own deadline is.

    Two pauses are limited by ``SHUTDOWN_TIMEOUT``, and the sidecar ends in less than a second.
    """
    assert 2 * listeners.SHUTDOWN_TIMEOUT < 1
    for timeout in ("HEAD_TIMEOUT", "BODY_TIMEOUT"):
        monkeypatch.setattr(listeners, timeout, 3600)
    task_id = served.add(never_ends())

    async def test() -> None:
        async with (
            running(tmp_path, task_id) as (sidecar, serving),
            httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client,
        ):
            long_poll = asyncio.create_task(client.get(f"/v1/waits/{task_id}?wait=1m"))
            subscription = asyncio.create_task(client.get("/v1/events"))
            host, port = sidecar.control.removeprefix("http://").split(":")
            incomplete = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
            head = b"POST /v1/waits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            incomplete[0][1].write(head)
            incomplete[1][1].write(head + b"Content-Length: 9\r\n\r\n[")
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await serving == 0
            assert ((await long_poll).json()["status"], (await subscription).status_code) == ("waiting", 200)
            for _, writer in incomplete:
                writer.close()

    run(test())


def test_token_is_required_and_the_api_key_is_never_shown(served: SimulatedCloud, tmp_path: Path) -> None:
    """The key is in no response and in no message."""
    (tmp_path / "token").write_text("0123456789abcdef")
    task_id = served.add(fails(0.0, f"echo {served.api_key}"))

    async def test() -> None:
        async with running(tmp_path, token=Token(tmp_path / "token")) as (sidecar, _):
            assert await code(f"{sidecar.control}/v1/waits") == 401
            authorized = {"Authorization": "Bearer 0123456789abcdef"}
            async with httpx.AsyncClient(base_url=sidecar.control, headers=authorized, **PLAIN) as client:
                await client.post("/v1/waits", json=task_id)
                paths = ["/v1/waits?wait=5s", f"/v1/waits/{task_id}", "/", f"{sidecar.probes}/metrics"]
                responses = [(await client.get(path)).text for path in paths]
                responses.append(str(await first_events(client, 3)))
            assert "echo ***" in responses[0]
            assert served.api_key not in "".join([*responses, *sidecar.announcements])

    run(test())


@pytest.mark.usefixtures("served")
def test_damaged_database_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sidecar starts without it."""
    (tmp_path / "waits.sqlite3").write_bytes(b"not a database" * 1000)

    async def test() -> None:
        async with running(tmp_path) as (sidecar, _):
            assert await code(f"{sidecar.probes}/livez") == 200

    run(test())
    assert "waits.sqlite3.damaged-1; 0 waits, 0 events and 0 webhooks were recovered" in capsys.readouterr().err


def test_ends_of_waits_are_sent_to_the_webhook(
    served: SimulatedCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are pending stay stored while there is no webhook, and are sent by the next sidecar with one."""
    task_id = served.add(finishes(0.0, {"instances": 1}))
    (tmp_path / "state").mkdir()
    store = Store(tmp_path / "state")
    store.apply([Change(deliveries=[make_delivery(1)])])
    store.close()

    async def test() -> None:
        async with running(tmp_path / "state") as (sidecar, _):
            assert await code(f"{sidecar.probes}/livez") == 200
        async with receiving() as receiver:
            webhook = WebhookOptions(Targets(httpx.URL(receiver.url)), SecretFile(write_secrets(tmp_path / "secret")))
            async with (
                running(tmp_path / "state", webhook=webhook) as (sidecar, _),
                httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client,
            ):
                await client.post("/v1/waits", json=task_id)
                wait = (await client.get(f"/v1/waits/{task_id}?wait=10s")).json()
                while "waiter_webhooks_pending 0.0" not in (metrics := (await client.get(f"{sidecar.probes}/metrics")).text):
                    pass
                assert 'waiter_webhook_attempts_total{result="delivered"} 2.0' in metrics
                assert "waiter_webhook_oldest_pending_seconds 0.0" in metrics
        stored, sent = receiver.requests
        assert (stored.id, sent.json(), sent.is_signed_with(SECRET)) == ("msg_1", wait, True)

    run(test())
    output = capsys.readouterr().err
    assert output == "waiter: 1 webhooks are pending: they stay stored until the sidecar is started with --webhook\n"


def test_request_may_name_a_webhook_of_an_allowed_host(served: SimulatedCloud, tmp_path: Path) -> None:
    """Its URL is in no answer."""
    task_id = served.add(finishes(0.0))

    async def test() -> None:
        async with receiving() as receiver:
            targets = Targets(None, frozenset([Origin.parse(receiver.url.removesuffix("/hook"))]), allows_private=True)
            webhook = WebhookOptions(targets, SecretFile(write_secrets(tmp_path / "secret")))
            async with (
                running(tmp_path / "state", webhook=webhook) as (sidecar, _),
                httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client,
            ):
                request = {"tasks": [task_id], "webhook": f"{receiver.url}?hunter2"}
                assert (await client.post("/v1/waits", json=request)).status_code == 202
                refused = await client.post("/v1/waits", json=request | {"webhook": "https://other.example/"})
                assert (refused.status_code, refused.json()["error"]) == (
                    400,
                    "webhooks to https://other.example:443 are not allowed (--webhook-allow)",
                )
                wait = await client.get(f"/v1/waits/{task_id}?wait=10s")
                while not receiver.requests:
                    await client.get(f"{sidecar.probes}/livez")
        assert (receiver.requests[0].json(), receiver.requests[0].line) == (wait.json(), "POST /hook?hunter2 HTTP/1.1")
        assert "hunter2" not in wait.text

    run(test())


def test_sidecar_that_a_failed_task_ends_sends_its_webhook_before(served: SimulatedCloud, tmp_path: Path) -> None:
    """The next start may be far away."""
    task_id = served.add(fails(0.0, "no host"))

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(answer(200))

    async def test() -> None:
        async with receiving(slow) as receiver:
            webhook = WebhookOptions(Targets(httpx.URL(receiver.url)), SecretFile(write_secrets(tmp_path / "secret")))
            async with running(tmp_path / "state", task_id, webhook=webhook) as (_, serving):
                assert await serving == 1
        assert [request.json()["status"] for request in receiver.requests] == ["failed"]
        store = Store(tmp_path / "state")
        assert store.deliveries() == []
        store.close()

    run(test())


def test_sidecar_whose_directory_another_one_took_accepts_no_waits(served: SimulatedCloud, tmp_path: Path) -> None:
    """A probe says why, a metric shows it, and its waits continue; once the directory is free, it is restored."""
    before, refused = served.add(finishes(0.5, starts_when_seen=True)), served.add(never_ends())
    directory = tmp_path / "state"

    async def test() -> None:
        async with running(directory) as (sidecar, _), httpx.AsyncClient(base_url=sidecar.control, **PLAIN) as client:
            assert (await client.post("/v1/waits", json=before)).status_code == 202
            other = Store(tmp_path / "other")
            (tmp_path / "other" / "lock").replace(directory / "lock")
            assert (await client.post("/v1/waits", json=refused)).status_code == 503
            warned = (await client.get(f"{sidecar.probes}/readyz")).text
            assert warned.startswith("ok\nwarning: the state directory was deleted or replaced; no waits are accepted")
            assert "waiter_storage_lost 1.0" in (await client.get(f"{sidecar.probes}/metrics")).text
            assert (await client.get(f"/v1/waits/{before}?wait=10s")).json()["status"] == "finished"
            other.close()
            assert (await client.post("/v1/waits", json=refused)).status_code == 202
            assert (await client.get(f"{sidecar.probes}/readyz")).text == "ok\n"
            metrics = (await client.get(f"{sidecar.probes}/metrics")).text
            assert "waiter_storage_lost 0.0\n" in metrics
            assert "waiter_storage_restores 1.0\n" in metrics
        store = Store(directory)
        assert {wait.id: wait.status for wait in store.waits()} == {before: "finished", refused: "waiting"}
        store.close()

    run(test())


@pytest.mark.usefixtures("served")
def test_port_in_use_is_an_error(tmp_path: Path) -> None:
    """Everything that was opened is closed."""

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            async with running(tmp_path, probe_listen=Address.of(taken)) as (_, serving):
                with pytest.raises(ConfigurationError, match="cannot listen on"):
                    await serving

    run(test())


@pytest.mark.usefixtures("served")
def test_fault_in_the_write_queue_ends_the_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not store anything, so the process fails and is restarted by the platform."""

    async def fail(_: WriteQueue) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(WriteQueue, "_flush", fail)

    async def test() -> None:
        async with running(tmp_path) as (sidecar, serving):
            async with httpx.AsyncClient(**PLAIN) as client:
                with pytest.raises(httpx.HTTPError):
                    await client.post(f"{sidecar.control}/v1/waits", json="a")
            with pytest.raises(ZeroDivisionError):
                await serving

    run(test())
