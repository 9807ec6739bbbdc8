"""The life of a wait: accepted once, ended once, deleted, and limited in number."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sidecar_parts import AT, NEW_WAIT, NOW, Sidecar, make_task, run, run_callbacks, stream_events, wait_json

from waiter import errors
from waiter.errors import ConfigurationError
from waiter.outcome import WaitStatus
from waiter.sidecar import model, service
from waiter.sidecar.model import Delivery, RequestLimits, Wait, uptime
from waiter.sidecar.service import InUseError, TooManyWaitsError
from waiter.sidecar.storage.event_log import StoredEvent
from waiter.sidecar.storage.store import Change, Store
from waiter.sidecar.storage.write_queue import StorageError
from waiter.sidecar.webhook.sender import DeliveryError


@asynccontextmanager
async def stalled_disk(sidecar: Sidecar) -> AsyncIterator[None]:
    """Store nothing until the end of the block."""
    release = threading.Event()
    stall = asyncio.create_task(sidecar.write_queue.query(lambda _: release.wait(60)))
    await run_callbacks()
    try:
        yield
    finally:
        release.set()
        await stall


def test_accepted_wait_is_stored_and_runs(sidecar: Sidecar) -> None:
    """Its JSON is complete, and one event reports it."""

    async def test() -> None:
        async with sidecar.open():
            waits = await sidecar.service.accept(["a", "b", "a"])
            assert [wait.id for wait in waits] == ["a", "b"]
            assert wait_json(sidecar) == NEW_WAIT
            assert sidecar.store.waits() == waits
            await sidecar.settle()
            assert sidecar.waiter.waited_for == ["a", "b"]
        data = {"at": AT}
        assert stream_events(sidecar) == [("wait.accepted", {"task_id": one, **data}) for one in "ab"]

    run(test())


def test_wait_is_accepted_once(sidecar: Sidecar) -> None:
    """A second request returns the same wait, also after the task has ended."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            (wait,) = await sidecar.service.accept(["a"])
            assert wait.status == "finished"
            assert sidecar.waiter.waited_for == ["a"]
        assert sidecar.names() == ["wait.accepted", "wait.ended"]

    run(test())


def test_empty_request_writes_nothing(sidecar: Sidecar) -> None:
    """A response without tasks is a no-op."""

    async def test() -> None:
        async with sidecar.open():
            assert await sidecar.service.accept([]) == []

    run(test())


ENDINGS = [
    (errors.TaskError(make_task(state="ERROR")), "failed"),
    (errors.TaskTimeoutError("a", waited=9, last_task=None, last_error=None), "timed_out"),
    (errors.TaskStalledError(make_task(), waited=9), "stalled"),
    (errors.TaskNotFoundError("gone"), "not_found"),
    (errors.AuthenticationError("no"), "refused"),
    (errors.PermissionDeniedError("no"), "refused"),
    (errors.ApiUnavailableError("away"), "unavailable"),
    (errors.InvalidResponseError("garbled"), "unavailable"),
]


@pytest.mark.parametrize(("error", "status"), ENDINGS, ids=[type(error).__name__ for error, _ in ENDINGS])
def test_error_determines_the_status(sidecar: Sidecar, error: Exception, status: str) -> None:
    """The wait keeps the error's text, and one event reports its end."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            sidecar.waiter.fail("a", error)
            await sidecar.settle()
            assert wait_json(sidecar) == NEW_WAIT | {"status": status, "error": str(error), "ended_at": AT}
        end = {"task_id": "a", "at": AT, "status": status, "error": str(error)}
        assert stream_events(sidecar)[1:] == [("wait.ended", end)]

    run(test())


def test_fault_in_waiter_ends_one_wait(sidecar: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    """It is reported on standard error and in the wait."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            sidecar.waiter.fail("a", ZeroDivisionError("oh"))
            await sidecar.settle()
            assert wait_json(sidecar) == NEW_WAIT | {
                "status": "unavailable",
                "error": "a fault in waiter: ZeroDivisionError('oh')",
                "ended_at": AT,
            }

    run(test())
    assert capsys.readouterr().err == "waiter: a fault in waiter ended the wait for task a: ZeroDivisionError('oh')\n"


@pytest.mark.parametrize("status", ["timed_out", "stalled", "not_found", "refused", "unavailable"])
def test_wait_that_ended_before_its_task_can_be_restarted(sidecar: Sidecar, status: str) -> None:
    """A second request with the same ID restarts it."""

    async def test() -> None:
        async with sidecar.open():
            sidecar.service.waits["a"] = Wait(id="a", accepted_at=1.0, status=WaitStatus(status), error="x", ended_at=2.0)
            await sidecar.service.accept(["a"])
            assert (wait_json(sidecar), sidecar.service.waits["a"].accepted_at) == (NEW_WAIT, NOW)

    run(test())


def test_deleted_wait_is_removed(sidecar: Sidecar) -> None:
    """It is removed from disk and can be accepted again."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            await sidecar.service.delete("a")
            assert (sidecar.service.waits, sidecar.store.waits()) == ({}, [])
            with pytest.raises(KeyError):
                await sidecar.service.delete("a")
            await sidecar.service.accept(["a"])
            assert sidecar.names() == ["wait.accepted", "wait.deleted", "wait.accepted"]

    run(test())


def test_wait_of_the_command_line_cannot_be_deleted(sidecar: Sidecar) -> None:
    """Readiness depends on it."""

    async def test() -> None:
        async with sidecar.open(startup_ids=["a"]):
            assert sidecar.waiter.waited_for == ["a"]
            with pytest.raises(InUseError, match="the task was given on the command line: a"):
                await sidecar.service.delete("a")
            assert sidecar.service.is_ready is False
            sidecar.waiter.finish("a")
            await sidecar.settle()
            assert sidecar.service.is_ready is True

    run(test())


@pytest.mark.parametrize("ended", [False, True])
def test_failed_deletion_resumes_the_wait(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """When the disk rejects the deletion, nothing changes."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            if ended:
                sidecar.waiter.finish("a")
                await sidecar.settle()

            async def fail(*_: object) -> None:
                raise StorageError

            monkeypatch.setattr(sidecar.write_queue, "write", fail)
            with pytest.raises(StorageError):
                await sidecar.service.delete("a")
            await sidecar.settle()
            assert sidecar.waiter.waited_for == (["a"] if ended else ["a", "a"])
            assert list(sidecar.service.waits) == ["a"]

    run(test())


def test_failed_deletion_of_a_wait_that_is_ending_starts_it_no_more(sidecar: Sidecar) -> None:
    """The end is kept in memory, and the wait does not run again."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            await sidecar.write_queue.query(lambda store: store._database.execute("PRAGMA query_only = ON"))
            async with stalled_disk(sidecar):
                sidecar.waiter.finish("a")
                await run_callbacks()
                deletion = asyncio.create_task(sidecar.service.delete("a"))
                await run_callbacks()
            with pytest.raises(StorageError):
                await deletion
            await run_callbacks()
            assert (wait_json(sidecar)["status"], sidecar.waiter.waited_for) == ("finished", ["a"])

    run(test())


def test_number_of_waits_is_limited(sidecar: Sidecar) -> None:
    """Ended waits are evicted after an hour, the oldest first; running waits never are."""

    async def test() -> None:
        async with sidecar.open(startup_ids=["g"], max_waits=3):
            await sidecar.service.accept(["a"])
            await sidecar.service.accept(["b"])
            await sidecar.settle()
            for wait_id in ("g", "b", "a"):
                sidecar.waiter.finish(wait_id)
                sidecar.now += 1
                await sidecar.settle()
            sidecar.now += 3590
            with pytest.raises(TooManyWaitsError) as caught:
                await sidecar.service.accept(["c"])
            assert str(caught.value) == "too many waits: 1 more would exceed the maximum of 3; delete some that have ended"
            sidecar.now += 20
            await sidecar.service.accept(["c"])
            assert list(sidecar.service.waits) == ["g", "a", "c"]
            assert sidecar.names()[-2:] == ["wait.accepted", "wait.deleted"]
            with pytest.raises(TooManyWaitsError):
                await sidecar.service.accept(["d", "e"])

    run(test())


def test_requests_for_different_waits_are_stored_together(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one transaction, because each takes as long as the disk needs to make it durable."""
    transactions: list[list[str]] = []
    apply = Store.apply

    def record(store: Store, changes: list[Change]) -> list[list[StoredEvent]]:
        transactions.append([event.name for change in changes for event in change.events])
        return apply(store, changes)

    monkeypatch.setattr(Store, "apply", record)

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            requests = [sidecar.service.accept([wait_id]) for wait_id in "bcd"]
            await asyncio.gather(*requests, sidecar.service.delete("a"))
            assert (transactions, list(sidecar.service.waits)) == (
                [["wait.accepted"], ["wait.accepted"] * 3 + ["wait.deleted"]],
                ["b", "c", "d"],
            )

    run(test())


def test_requests_for_one_wait_are_handled_one_after_the_other(sidecar: Sidecar) -> None:
    """Each is answered when the wait is stored, and the later one sees the change of the earlier one."""

    async def test() -> None:
        async with sidecar.open():
            async with stalled_disk(sidecar):
                requests = [
                    asyncio.create_task(request)
                    for request in (
                        sidecar.service.accept(["a", "b"]),
                        sidecar.service.accept(["b", "c"]),
                        sidecar.service.delete("b"),
                        sidecar.service.accept(["b"]),
                    )
                ]
                await run_callbacks()
                assert ([request.done() for request in requests], sidecar.service.waits) == ([False] * 4, {})
            await asyncio.gather(*requests)
            assert [[wait.id for wait in request.result() or ()] for request in requests] == [["a", "b"], ["b", "c"], [], ["b"]]
            assert [(name, data["task_id"]) for name, data in stream_events(sidecar)] == [
                ("wait.accepted", "a"),
                ("wait.accepted", "b"),
                ("wait.accepted", "c"),
                ("wait.deleted", "b"),
                ("wait.accepted", "b"),
            ]
            assert sorted(sidecar.service.waits) == ["a", "b", "c"]

    run(test())


def test_limit_includes_waits_that_are_being_stored(sidecar: Sidecar) -> None:
    """Requests together cannot exceed it; what the disk rejects leaves its place free."""

    async def test() -> None:
        async with sidecar.open(max_waits=2):
            results = await asyncio.gather(*(sidecar.service.accept([one]) for one in "abc"), return_exceptions=True)
            assert [type(result) for result in results] == [list, list, TooManyWaitsError]
            await asyncio.gather(sidecar.service.delete("a"), sidecar.service.accept(["c"]))
            assert list(sidecar.service.waits) == ["b", "c"]
            await sidecar.service.delete("c")
            await sidecar.write_queue.query(lambda store: store._database.execute("PRAGMA query_only = ON"))
            with pytest.raises(StorageError):
                await sidecar.service.accept(["d"])
            await sidecar.write_queue.query(lambda store: store._database.execute("PRAGMA query_only = OFF"))
            await sidecar.service.accept(["a"])
            with pytest.raises(TooManyWaitsError):
                await sidecar.service.accept(["e"])

    run(test())


def test_limit_counts_each_wait_once_while_it_is_stored(sidecar: Sidecar) -> None:
    """One that is restarted exists already; one that was deleted is gone before its request is answered."""

    async def accept_in_turn(*requests: list[str]) -> None:
        for ids in requests:
            await sidecar.service.accept(ids)

    async def test() -> None:
        async with sidecar.open(max_waits=2):
            sidecar.service.waits["a"] = Wait(id="a", accepted_at=1.0, status=WaitStatus.TIMED_OUT, error="x", ended_at=2.0)
            await asyncio.gather(sidecar.service.accept(["a"]), sidecar.service.accept(["b"]))
            await sidecar.service.delete("b")
            with pytest.raises(TooManyWaitsError):
                await asyncio.gather(accept_in_turn(["c"], ["d", "e"]), sidecar.service.delete("a"))
            assert list(sidecar.service.waits) == ["c"]

    run(test())


def test_wait_is_evicted_for_one_request(sidecar: Sidecar) -> None:
    """Each of two requests evicts another wait; a request for an evicted one is handled after its deletion."""

    async def test() -> None:
        async with sidecar.open(max_waits=3):
            await sidecar.service.accept(["a", "b", "c"])
            await sidecar.settle()
            for wait_id in "abc":
                sidecar.waiter.finish(wait_id)
                sidecar.now += 1
                await sidecar.settle()
            sidecar.now += 4000
            async with stalled_disk(sidecar):
                requests = [asyncio.create_task(sidecar.service.accept([wait_id])) for wait_id in "dea"]
                await run_callbacks()
                assert list(sidecar.service.waits) == ["a", "b", "c"]
            await asyncio.gather(*requests)
            assert list(sidecar.service.waits) == ["d", "e", "a"]
            assert not sidecar.service.waits["a"].has_ended

    run(test())


@pytest.mark.parametrize("wait_id", ["a", "b"])
def test_wait_that_is_being_deleted_as_expired_makes_place(sidecar: Sidecar, wait_id: str) -> None:
    """For another wait, and for a new wait with its ID."""

    async def test() -> None:
        async with sidecar.open(keep_ended=60.0, max_waits=1):
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            sidecar.now += 61
            await asyncio.gather(sidecar.service.delete_expired(), sidecar.service.accept([wait_id]))
            assert [(wait.id, wait.status) for wait in sidecar.service.waits.values()] == [(wait_id, "waiting")]
            assert sidecar.names()[-2:] == ["wait.deleted", "wait.accepted"]

    run(test())


def test_uptime_is_of_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of one boot agree; without a boot ID, each process has its own."""
    first, second = uptime(), uptime()
    assert (first.boot_id == second.boot_id, second.seconds >= first.seconds) == (True, True)

    def fail(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    model._boot_id.cache_clear()
    assert uptime().boot_id == f"process {os.getpid()}"


def test_ended_waits_expire(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are deleted after the given time, except for those of the command line; running waits stay."""
    monkeypatch.setattr(service, "MAINTENANCE_INTERVAL", 0.0)

    async def test() -> None:
        async with sidecar.open(startup_ids=["g"], keep_ended=60.0, max_waits=4):
            await sidecar.service.accept(["a", "b", "c"])
            await sidecar.settle()
            for wait_id in ("g", "b", "a"):
                sidecar.waiter.finish(wait_id)
                await sidecar.settle()
            sidecar.now += 59
            await sidecar.settle()
            assert list(sidecar.service.waits) == ["g", "a", "b", "c"]
            sidecar.now += 2
            await sidecar.settle()
            assert list(sidecar.service.waits) == ["g", "c"]
            assert [wait.id for wait in sidecar.store.waits()] == ["g", "c"]
            assert sidecar.names()[-2:] == ["wait.deleted", "wait.deleted"]

    run(test())


class Sender:
    """Accepts every webhook, unless the test makes it fail."""

    def __init__(self) -> None:
        self.sent: list[Delivery] = []
        self.error: DeliveryError | None = None

    async def send(self, delivery: Delivery, *_: object) -> None:
        self.sent.append(delivery)
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        pass


def test_end_of_a_wait_is_sent_as_the_api_shows_it(sidecar: Sidecar) -> None:
    """Once for each end, with the JSON of the wait."""
    sidecar.sender = sender = Sender()

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a", "b"])
            await sidecar.settle()
            assert sender.sent == []
            sidecar.waiter.finish("a", created_resources={"instances": ["i"]})
            sidecar.waiter.fail("b", errors.TaskNotFoundError("gone"))
            await sidecar.settle()
            first, second = sender.sent
            assert (json.loads(first.body), json.loads(second.body)) == (wait_json(sidecar, "a"), wait_json(sidecar, "b"))
            assert [json.loads(one.body)["status"] for one in sender.sent] == ["finished", "not_found"]
            assert (first.wait_id, second.wait_id, sidecar.store.deliveries()) == ("a", "b", [])

    run(test())


def test_webhook_is_stored_with_the_end_and_survives_its_wait(sidecar: Sidecar) -> None:
    """Until it is delivered, whatever happens to the wait."""
    sidecar.sender = sender = Sender()
    sender.error = DeliveryError("it answered 500")

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            await sidecar.service.delete("a")
            assert (sidecar.store.deliveries(), sidecar.store.waits()) == (sender.sent, [])

    run(test())


def test_webhook_is_sent_while_the_disk_is_full(sidecar: Sidecar) -> None:
    """With the key that it would have after a restart, because the end was not stored."""
    sidecar.sender = sender = Sender()

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            await sidecar.write_queue.query(lambda store: store._database.execute("PRAGMA query_only = ON"))
            sidecar.waiter.finish("a")
            await sidecar.settle()
            assert sidecar.service.waits["a"].status == "finished"
        async with sidecar.open():
            sidecar.waiter.finish("a")
            await sidecar.settle()
        first, second = sender.sent
        assert first.id == second.id

    run(test())


CLIENT = RequestLimits(webhook="https://client.example/a")
CLIENTS = [None, "https://client.example/a", "https://client.example/b"]


@pytest.mark.parametrize("moment", ["before", "while it is stored", "after"])
def test_end_is_sent_to_the_webhook_of_each_request(sidecar: Sidecar, moment: str) -> None:
    """Before and after the end of the wait; a repeated request changes nothing."""
    sidecar.sender = sender = Sender()

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"], CLIENT)
            await sidecar.settle()
            if moment != "before":
                sidecar.waiter.finish("a")
                for _ in range(2 if moment == "while it is stored" else 0):
                    await asyncio.sleep(0)
                if moment == "after":
                    await sidecar.settle()
            for _ in range(2):
                await sidecar.service.accept(["a"], RequestLimits(webhook=CLIENTS[2]))
            await sidecar.service.accept(["a"])
            if moment == "before":
                sidecar.waiter.finish("a")
            await sidecar.settle()
            assert [delivery.url for delivery in sender.sent] == CLIENTS
            assert len({delivery.body for delivery in sender.sent}) == 1
            (wait,) = sidecar.store.waits()
            assert (wait.webhooks, wait.status, sidecar.service.waits["a"]) == (tuple(CLIENTS[1:]), "finished", wait)

    run(test())


def test_webhook_that_was_not_stored_can_be_requested_again(sidecar: Sidecar) -> None:
    """Both for a wait that is waiting and for one that has ended."""
    sidecar.sender = sender = Sender()

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a", "b"])
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            await sidecar.write_queue.query(lambda store: store._database.execute("PRAGMA query_only = ON"))
            with pytest.raises(StorageError):
                await sidecar.service.accept(["a", "b"], CLIENT)
            await sidecar.write_queue.query(lambda store: store._database.execute("PRAGMA query_only = OFF"))
            await sidecar.service.accept(["a", "b"], CLIENT)
            sidecar.waiter.finish("b")
            await sidecar.settle()
        sent = [(delivery.wait_id, delivery.url) for delivery in sender.sent]
        assert sent == [("a", None), ("a", CLIENTS[1]), ("b", None), ("b", CLIENTS[1])]

    run(test())


def test_webhooks_of_requests_are_restricted(sidecar: Sidecar) -> None:
    """To allowed hosts, and in number; without the options there are none."""

    async def refusal(webhook: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            await sidecar.service.accept(["a"], RequestLimits(webhook=webhook))
        return str(caught.value)

    async def test() -> None:
        async with sidecar.open():
            reason = "webhooks are not allowed: the sidecar was started without --webhook-allow"
            assert await refusal("https://client.example") == reason
        sidecar.sender = Sender()
        async with sidecar.open():
            assert (await refusal("https://evil.example")).startswith("webhooks to https://evil.example:443 are not allowed")
            assert "a" not in sidecar.service.waits
            for number in range(service.MAX_WEBHOOKS):
                await sidecar.service.accept(["a"], RequestLimits(webhook=f"https://client.example/{number}"))
            assert await refusal("https://client.example/more") == "a wait can have at most 10 webhooks"

    run(test())


def test_restarted_wait_keeps_its_webhooks(sidecar: Sidecar) -> None:
    """Each end is sent to all of them, with a key of its own."""
    sidecar.sender = sender = Sender()

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"], CLIENT)
            await sidecar.settle()
            sidecar.waiter.fail("a", errors.TaskStalledError(make_task(), waited=9))
            await sidecar.settle()
            sidecar.now += 1
            await sidecar.service.accept(["a"], RequestLimits(webhook=CLIENTS[2]))
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
        assert [delivery.url for delivery in sender.sent] == [None, CLIENTS[1], *CLIENTS]
        assert len({delivery.id for delivery in sender.sent}) == 5

    run(test())


def test_webhook_of_a_request_is_stored_by_a_process_without_webhooks(sidecar: Sidecar) -> None:
    """The next process that sends webhooks finds it in the outbox."""
    sidecar.sender = Sender()

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"], CLIENT)
            await sidecar.settle()
        sidecar.sender = None
        async with sidecar.open():
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            assert [delivery.url for delivery in sidecar.store.deliveries()] == [CLIENTS[1]]

    run(test())


def test_wait_of_a_request_is_not_deleted_for_another_one(sidecar: Sidecar) -> None:
    """An ended wait makes place for new ones, but not for those of the same request."""

    async def test() -> None:
        async with sidecar.open(max_waits=2):
            await sidecar.service.accept(["a", "b"])
            await sidecar.settle()
            sidecar.waiter.finish("a")
            await sidecar.settle()
            sidecar.now += 2 * service.MIN_RETENTION
            with pytest.raises(TooManyWaitsError):
                await sidecar.service.accept(["a", "c"])
            assert {wait.id for wait in await sidecar.service.accept(["b", "c"])} == {"b", "c"}

    run(test())
