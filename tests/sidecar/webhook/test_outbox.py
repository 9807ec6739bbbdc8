"""The outbox: retries with back-off, limits, and what remains stored; in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sidecar_parts import NOW, run
from webhook_parts import make_delivery

from waiter.errors import ConfigurationError
from waiter.outcome import WaitStatus
from waiter.sidecar.model import NO_LIMITS, Delivery, Uptime, Wait, new_delivery
from waiter.sidecar.storage.event_log import StoredEvent
from waiter.sidecar.storage.store import Change, Store
from waiter.sidecar.storage.write_queue import WriteQueue
from waiter.sidecar.webhook import outbox as outbox_module
from waiter.sidecar.webhook.outbox import MAX_AGE, MAX_ATTEMPTS_TOGETHER, MAX_RETRY_AFTER, Outbox
from waiter.sidecar.webhook.sender import DeliveryError
from waiter.sidecar.webhook.targets import Origin, Targets
from waiter.testing.virtual_clock import VirtualClock

URL = httpx.URL("https://hooks.example/hook")


class Sender:
    """A sender that gives each of its results once, in order, and the last one for ever; None is success."""

    def __init__(self, clock: VirtualClock, *results: Exception | None, seconds: float = 0.0) -> None:
        self._clock = clock
        self._results = list(results)
        self._seconds = seconds
        self.sent: list[tuple[float, str]] = []
        self.open = self.most_open = 0
        self.is_closed = False

    async def send(self, delivery: Delivery, url: httpx.URL, allow_address: Any = None) -> None:
        assert url == (delivery.url or URL)
        assert (allow_address is None) == (delivery.url is None)
        self.sent.append((self._clock(), delivery.id))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await self._clock.async_sleep(self._seconds)
        finally:
            self.open -= 1
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if result is not None:
            raise result

    async def close(self) -> None:
        self.is_closed = True

    def delays(self) -> list[float]:
        """Return the seconds between attempts."""
        times = [at for at, _ in self.sent]
        return [after - before for before, after in pairwise(times)]


class Lab:
    """An outbox over a store, whose clock advances when everything sleeps."""

    def __init__(self, directory: Path) -> None:
        self.targets = Targets(URL, frozenset([Origin.parse("client.example"), Origin.parse("other.example")]))
        self.store = Store(directory, first_event=0)
        self.clock = VirtualClock()
        self.results: list[str] = []
        self.events: list[StoredEvent] = []
        self.boot_id = "boot"

    @asynccontextmanager
    async def open(self, *results: Exception | None, stored: int = 1, seconds: float = 0.0) -> AsyncIterator[Outbox]:
        self.sender = Sender(self.clock, *results, seconds=seconds)
        self.store.apply([Change(deliveries=[make_delivery(number) for number in range(stored)])])
        async with WriteQueue(self.store, self.events.extend) as self.write_queue:
            outbox = Outbox(
                self.write_queue,
                self.sender,  # type: ignore[arg-type]
                self.targets,
                record=self.results.append,
                now=lambda: NOW + self.clock(),
                uptime=lambda: Uptime(self.boot_id, NOW + self.clock()),
                clock=self.clock,
                sleep=self.clock.async_sleep,
            )
            outbox.start(self.store.deliveries())
            try:
                yield outbox
            finally:
                await outbox.stop()

    async def settle(self, outbox: Outbox) -> None:
        """Wait until nothing is pending and everything is stored."""
        while outbox.pending():
            await self.clock.async_sleep(60.0)
        await self.flush()

    async def flush(self) -> None:
        await self.write_queue.write(Change(), lambda: None)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_stored_delivery_is_sent_and_removed(lab: Lab) -> None:
    """No event reports it."""

    async def test() -> None:
        async with lab.open(None, stored=2) as outbox:
            assert outbox.pending() == 2
            await lab.settle(outbox)
            assert lab.store.deliveries() == []
            assert lab.sender.sent == [(0.0, "msg_0"), (0.0, "msg_1")]
        assert (lab.results, lab.events, lab.sender.is_closed) == (["delivered"] * 2, [], True)

    run(test())


def test_failed_delivery_is_repeated_with_back_off(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same ID; the receiver's failure and its end are reported once."""

    async def test() -> None:
        async with lab.open(*[DeliveryError("it answered 500")] * 12, None) as outbox:
            await lab.settle(outbox)
            assert lab.store.deliveries() == []
        delays = lab.sender.delays()
        assert {sent_id for _, sent_id in lab.sender.sent} == {"msg_0"}
        assert all(1 <= delay <= min(2.0**number, 600) for number, delay in enumerate(delays))
        assert len(delays) == 12
        assert lab.results == ["failed"] * 12 + ["delivered"]

    run(test())
    assert capsys.readouterr().err.splitlines() == [
        "waiter: the webhook receiver https://hooks.example:443 does not accept: it answered 500; retrying",
        "waiter: the webhook receiver https://hooks.example:443 accepts again",
    ]


def test_retry_after_is_obeyed_by_all_deliveries(lab: Lab) -> None:
    """Also by those that are due before."""

    async def test() -> None:
        async with lab.open(DeliveryError("it answered 429", retry_after=90.0), None) as outbox:
            await lab.clock.async_sleep(10.0)
            outbox.add(make_delivery(1))
            await lab.settle(outbox)
        assert [at for at, _ in lab.sender.sent] == [0.0, 90.0, 90.0]

    run(test())


def test_retry_after_is_limited(lab: Lab) -> None:
    """A receiver cannot ask for more than an hour."""

    async def test() -> None:
        async with lab.open(DeliveryError("it answered 503", retry_after=1e9), None) as outbox:
            await lab.settle(outbox)
        assert lab.sender.delays() == [MAX_RETRY_AFTER]

    run(test())


def test_delivery_is_given_up_after_its_maximum_age(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A last attempt is made at that time; an event and one line report it, without the URL."""

    async def test() -> None:
        async with lab.open(DeliveryError("it answered 500")) as outbox:
            await lab.settle(outbox)
            assert lab.store.deliveries() == []
        assert lab.sender.sent[-1][0] == pytest.approx(MAX_AGE)
        assert lab.results[-2:] == ["failed", "given_up"]
        ((number, name, data),) = lab.events
        assert (number, name) == (1, "webhook.given_up")
        assert json.loads(data) == {
            "task_id": "a",
            "webhook_id": "msg_0",
            "reason": "it answered 500",
            "at": "2027-01-16T08:00:00.000Z",
        }

    run(test())
    assert capsys.readouterr().err.splitlines()[1:] == ["waiter: the webhook for task a is given up: it answered 500"]


def test_age_counts_from_the_end_of_the_wait(lab: Lab) -> None:
    """A restart does not extend it; within one boot, a change of the clock does not matter."""

    async def test() -> None:
        async with lab.open(DeliveryError("it answered 500")) as outbox:
            outbox.add(make_delivery(1, ended_at=NOW - MAX_AGE))
            await lab.clock.async_sleep(1e-3)
            assert (outbox.pending(), lab.results[-1]) == (1, "given_up")
            assert outbox.oldest_age() == pytest.approx(lab.clock(), abs=1e-6)

    run(test())


def test_receiver_that_is_gone_ends_the_delivery(lab: Lab) -> None:
    """There is no second attempt."""

    async def test() -> None:
        async with lab.open(DeliveryError("it answered 410", is_final=True)) as outbox:
            await lab.settle(outbox)
        assert (len(lab.sender.sent), lab.results) == (1, ["failed", "given_up"])

    run(test())


def test_attempts_to_a_receiver_are_limited(lab: Lab) -> None:
    """A receiver that hangs occupies few connections."""

    async def test() -> None:
        async with lab.open(None, stored=20, seconds=15.0) as outbox:
            await lab.settle(outbox)
        assert (lab.sender.most_open, len(lab.sender.sent)) == (MAX_ATTEMPTS_TOGETHER, 20)
        assert lab.sender.sent[-1][0] == 15.0 * (20 / MAX_ATTEMPTS_TOGETHER - 1)

    run(test())


def test_number_of_pending_deliveries_is_limited(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The oldest one is given up for a new one."""
    monkeypatch.setattr(outbox_module, "MAX_PENDING", 2)

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    # In virtual time, retries could pass while the writer is busy.
    monkeypatch.setattr(Sender, "send", hang)

    async def test() -> None:
        async with lab.open(stored=3) as outbox:
            await lab.flush()
            assert outbox.pending() == 2
            assert [one.id for one in lab.store.deliveries()] == ["msg_1", "msg_2"]

    run(test())
    assert capsys.readouterr().err.splitlines()[0] == "waiter: the webhook for task a is given up: more than 2 are pending"


def test_pending_delivery_is_sent_by_the_next_process(lab: Lab) -> None:
    """What was cancelled by the end of the process is still stored."""

    async def test() -> None:
        async with lab.open(DeliveryError("it answered 500")):
            await lab.clock.async_sleep(10.0)
        assert len(lab.sender.sent) > 1

    run(test())
    stored = Store(lab.store._path.parent)
    assert stored.deliveries() == [make_delivery(0)]
    stored.close()


def test_fault_is_an_attempt_that_failed(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """It is reported, counted and repeated, and the other deliveries are sent."""

    async def test() -> None:
        async with lab.open(ZeroDivisionError("oh"), None, stored=2) as outbox:
            await lab.settle(outbox)
        assert sorted(one for _, one in lab.sender.sent) == ["msg_0", "msg_0", "msg_1"]
        assert sorted(lab.results) == ["delivered", "delivered", "failed"]

    run(test())
    receiver = "https://hooks.example:443"
    assert capsys.readouterr().err.splitlines() == [
        "waiter: a fault in waiter while a webhook for task a was sent: ZeroDivisionError('oh')",
        f"waiter: the webhook receiver {receiver} does not accept: a fault in waiter (ZeroDivisionError); retrying",
        f"waiter: the webhook receiver {receiver} accepts again",
    ]


def test_delivery_that_had_a_fault_can_be_given_up_for_another_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is pending like any other: adding a delivery at the maximum raised KeyError, which ended the write queue."""
    monkeypatch.setattr(outbox_module, "MAX_PENDING", 1)

    async def test() -> None:
        async with lab.open(ZeroDivisionError("oh"), None) as outbox:
            await lab.clock.async_sleep(0.1)
            outbox.add(make_delivery(1))
            await lab.settle(outbox)
        assert lab.results == ["failed", "given_up", "delivered"]

    run(test())


def test_new_delivery_has_the_key_of_its_acceptance() -> None:
    """The key is the same when the end is found again, and another one for another URL or after the wait was restarted."""
    wait = Wait(id="a", accepted_at=NOW)
    ended = wait.with_end(WaitStatus.TIMED_OUT, NOW + 5)
    restarted = ended.restarted(NOW + 9, Uptime("boot", 9.0), NO_LIMITS)

    def delivery(one: Wait, body: bytes, url: str | None) -> Delivery:
        return new_delivery(one, body, url, now=NOW, uptime=Uptime("boot", NOW))

    first, again = delivery(ended, b"{}", None), delivery(wait.with_end(WaitStatus.FAILED, NOW), b"[]", None)
    assert first == Delivery(id=again.id, wait_id="a", body="{}", ended_at=NOW, ended_uptime=Uptime("boot", NOW))
    assert first.id.startswith("msg_")
    others = [delivery(restarted, b"{}", None), delivery(ended, b"{}", "https://client.example")]
    assert len({first.id, *(other.id for other in others)}) == 3


def to_url(number: int, url: str) -> Delivery:
    return msgspec.structs.replace(make_delivery(number), url=url)


def test_receivers_do_not_delay_each_other(lab: Lab) -> None:
    """Each has its own connections, and its own Retry-After."""
    slow = DeliveryError("it answered 429", retry_after=600.0)

    async def test() -> None:
        async with lab.open(slow, None, stored=0) as outbox:
            outbox.start([to_url(0, "https://client.example/a"), to_url(1, "https://other.example/b")])
            outbox.add(to_url(2, "https://client.example/c"))
            await lab.settle(outbox)
        assert lab.sender.sent == [(0.0, "msg_0"), (0.0, "msg_1"), (0.0, "msg_2"), (600.0, "msg_0")]

    run(test())


@pytest.mark.parametrize(
    ("url", "receiver", "reason"),
    [
        (None, "of --webhook", "--webhook is not given"),
        (
            "https://gone.example/hunter2",
            "https://gone.example:443",
            "webhooks to https://gone.example:443 are not allowed (--webhook-allow)",
        ),
    ],
)
def test_delivery_without_configured_receiver_is_kept(
    lab: Lab, capsys: pytest.CaptureFixture[str], url: str | None, receiver: str, reason: str
) -> None:
    """Nothing is sent, and it is given up after its maximum age, as if the receiver failed."""
    lab.targets = Targets(None)
    delivery = msgspec.structs.replace(make_delivery(), url=url)

    async def test() -> None:
        async with lab.open(None, stored=0) as outbox:
            await lab.write_queue.write(Change(deliveries=[delivery]), lambda: outbox.add(delivery))
            await lab.clock.async_sleep(3600.0)
            assert (lab.sender.sent, lab.store.deliveries()) == ([], [delivery])
            await lab.settle(outbox)
            assert lab.store.deliveries() == []

    run(test())
    assert capsys.readouterr().err.splitlines() == [
        f"waiter: the webhook receiver {receiver} does not accept: {reason}; retrying",
        f"waiter: the webhook for task a is given up: {reason}",
    ]


def test_urls_of_a_wait_are_those_of_the_operator_and_of_its_requests(lab: Lab) -> None:
    """None stands for that of the operator, which may change until the webhook is sent."""
    wait = Wait(id="a", accepted_at=NOW, webhooks=("https://client.example/a",))

    async def test() -> None:
        async with lab.open(None, stored=0) as outbox:
            assert outbox.urls_of(wait) == [None, "https://client.example/a"]
            outbox.check("https://client.example/a")
            with pytest.raises(ConfigurationError):
                outbox.check("https://evil.example/a")
        lab.store = Store(lab.store._path.parent)
        lab.targets = Targets(None)
        async with lab.open(None, stored=0) as outbox:
            assert outbox.urls_of(wait) == ["https://client.example/a"]

    run(test())
