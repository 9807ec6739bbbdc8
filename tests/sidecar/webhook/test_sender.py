"""One attempt to deliver a webhook, over real HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from ports import reserved_port
from sidecar_parts import NOW, run
from webhook_parts import OK, SECRET, answer, make_delivery, receiving, write_secrets

from waiter.errors import ConfigurationError
from waiter.sidecar.webhook import sender as sender_module
from waiter.sidecar.webhook.sender import DeliveryError, Sender
from waiter.sidecar.webhook.signature import SecretFile


@asynccontextmanager
async def sending(directory: Path) -> AsyncIterator[Sender]:
    sender = Sender(SecretFile(write_secrets(directory / "secret")), now=lambda: NOW)
    try:
        yield sender
    finally:
        await sender.close()


async def failure(sender: Sender, url: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sender.send(make_delivery(), httpx.URL(url))
    return caught.value


def test_webhook_is_a_signed_post(tmp_path: Path) -> None:
    """The body is sent as it was stored, with the time of the attempt."""

    async def test() -> None:
        async with receiving() as receiver, sending(tmp_path) as sender:
            await sender.send(make_delivery(body='{"id": "\u00e4"}'), httpx.URL(f"{receiver.url}?key=1"))
        (request,) = receiver.requests
        assert request.line == "POST /hook?key=1 HTTP/1.1"
        assert request.body == '{"id": "\u00e4"}'.encode()
        assert request.is_signed_with(SECRET)
        own = {name: request.headers[name] for name in ("host", "content-type", "webhook-id", "webhook-timestamp")}
        assert own == {
            "host": httpx.URL(receiver.url).netloc.decode(),
            "content-type": "application/json",
            "webhook-id": "msg_0",
            "webhook-timestamp": str(int(NOW)),
        }

    run(test())


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_status_of_success_is_a_delivery(tmp_path: Path, status: int) -> None:
    """The body of the response is not read, so that it may never end."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        await writer.drain()
        await asyncio.sleep(10)

    async def test() -> None:
        async with receiving(drip) as receiver, sending(tmp_path) as sender:
            await asyncio.wait_for(sender.send(make_delivery(), httpx.URL(receiver.url)), 5)

    run(test())


@pytest.mark.parametrize(
    ("response", "reason", "retry_after", "is_final"),
    [
        (answer(500), "it answered 500", None, False),
        (answer(429, Retry_After="7"), "it answered 429", 7.0, False),
        (
            answer(503, Retry_After="Wed, 25 Nov 2026 00:00:09 GMT", Date="Wed, 25 Nov 2026 00:00:00 GMT"),
            "it answered 503",
            9.0,
            False,
        ),
        (answer(400), "it answered 400", None, False),
        (answer(410, Retry_After="7"), "it answered 410: it wants no more webhooks", None, True),
        (b"SSH-2.0-OpenSSH\r\n", "it did not answer with HTTP (RemoteProtocolError)", None, False),
        (b"", "it did not answer with HTTP (RemoteProtocolError)", None, False),
    ],
)
def test_other_answer_is_a_failure(
    tmp_path: Path, response: bytes, reason: str, retry_after: float | None, is_final: bool
) -> None:
    """Only 410 is final; nothing of what the receiver sent is quoted."""

    async def test() -> None:
        async with receiving(response) as receiver, sending(tmp_path) as sender:
            error = await failure(sender, receiver.url)
        assert (str(error), error.retry_after, error.is_final) == (reason, retry_after, is_final)

    run(test())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(tmp_path: Path, status: int) -> None:
    """Its target receives nothing."""

    async def test() -> None:
        async with (
            receiving() as target,
            receiving(answer(status, Location=target.url)) as receiver,
            sending(tmp_path) as sender,
        ):
            assert str(await failure(sender, receiver.url)) == f"it answered {status}"
            assert (len(receiver.requests), target.requests) == (1, [])

    run(test())


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 X\r\nA: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answering", [hang, drip_head])
def test_attempt_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answering: Any) -> None:
    """Bytes of an incomplete head do not extend it."""
    monkeypatch.setattr(sender_module, "ATTEMPT_TIMEOUT", 0.2)

    async def test() -> None:
        async with receiving(answering) as receiver, sending(tmp_path) as sender:
            assert str(await failure(sender, receiver.url)) == "it did not answer in time"

    run(test())


def test_host_that_cannot_be_reached_is_a_failure(tmp_path: Path) -> None:
    """The reason says what failed."""

    async def test() -> None:
        async with sending(tmp_path) as sender:
            with reserved_port() as port:
                assert str(await failure(sender, f"http://127.0.0.1:{port}")) == "All connection attempts failed"
            assert str(await failure(sender, "http://nowhere.invalid")).startswith("cannot resolve nowhere.invalid")

    run(test())


def test_next_address_of_a_host_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no connection could be opened to the one before."""

    async def addresses(_: httpx.URL) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(sender_module, "_addresses", addresses)

    async def test() -> None:
        async with receiving() as receiver, sending(tmp_path) as sender:
            await sender.send(make_delivery(), httpx.URL(receiver.url.replace("127.0.0.1", "receiver.example")))
        assert receiver.requests[0].headers["host"] == httpx.URL(receiver.url).netloc.decode().replace(
            "127.0.0.1", "receiver.example"
        )

    run(test())


def test_connection_is_opened_to_allowed_addresses_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose addresses are all refused receives nothing."""

    async def addresses(_: httpx.URL) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(sender_module, "_addresses", addresses)

    async def test() -> None:
        async with receiving() as receiver, sending(tmp_path) as sender:
            url = httpx.URL(receiver.url)
            await sender.send(make_delivery(), url, lambda address: address == "127.0.0.1")
            for allow in (lambda address: address == "127.0.0.2", lambda _: False):
                with pytest.raises(DeliveryError) as caught:
                    await sender.send(make_delivery(), url, allow)
            assert str(caught.value) == "its host has no address that is allowed"
            assert len(receiver.requests) == 1

    run(test())


@pytest.mark.parametrize("name", ["localhost", "other.example"])
def test_certificate_is_that_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is verified although the connection is opened to an address; the authority is the one of SSL_CERT_FILE."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)

    async def test() -> None:
        async with receiving(OK, ssl=context) as receiver, sending(tmp_path) as sender:
            url = receiver.url.replace("127.0.0.1", "localhost")
            if name == "localhost":
                await sender.send(make_delivery(), httpx.URL(url))
                assert receiver.requests[0].is_signed_with(SECRET)
            else:
                assert "certificate verify failed: Hostname mismatch" in str(await failure(sender, url))
                assert receiver.requests == []

    run(test())


def test_unreadable_certificates_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and not at the first webhook."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    with pytest.raises(ConfigurationError, match="the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read"):
        Sender(SecretFile(write_secrets(tmp_path / "secret")))
