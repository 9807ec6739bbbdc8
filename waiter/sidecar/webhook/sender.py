"""One attempt to deliver a webhook: a POST to a checked address, without redirects, within a deadline."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

import httpx

from waiter.api.responses import read_retry_after
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError
from waiter.http.exchange import HEADERS, NETWORK_ERRORS
from waiter.http.resolver import start_lookup
from waiter.sidecar.model import Delivery
from waiter.sidecar.webhook.signature import SecretFile
from waiter.sidecar.webhook.targets import Origin

# Seconds for one attempt, from the lookup of the host to the head of the response. The specification advises 15 to 30.
ATTEMPT_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0


class DeliveryError(Exception):
    """The receiver did not accept a webhook.

    ``retry_after`` are the seconds that it asks for, or None. ``is_final`` is whether it will never accept any.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, is_final: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.is_final = is_final


class Sender:
    """Sends signed webhooks. ``now`` returns seconds since the epoch. Raises ConfigurationError."""

    def __init__(self, secrets: SecretFile, *, now: Callable[[], float] = time.time) -> None:
        self._secrets = secrets
        self._now = now
        # Each webhook has its own connection: the end of a task is rare, and a kept connection may be stale.
        self._client = httpx.AsyncClient(
            verify=_ssl_context(),
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=httpx.Timeout(ATTEMPT_TIMEOUT, connect=CONNECT_TIMEOUT),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def send(self, delivery: Delivery, url: httpx.URL, allow_address: Callable[[str], bool] = lambda _: True) -> None:
        """Return once the receiver, at an allowed address, has accepted the webhook. Raises DeliveryError."""
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                addresses = list(filter(allow_address, await _addresses(url)))
                if not addresses:
                    message = "its host has no address that is allowed"
                    raise DeliveryError(message)
                status, headers = await self._post(addresses, delivery, url)
        except NETWORK_ERRORS as error:
            raise DeliveryError(_reason(error)) from error
        if status == HTTPStatus.GONE:
            message = "it answered 410: it wants no more webhooks"
            raise DeliveryError(message, is_final=True)
        if not 200 <= status < 300:  # noqa: PLR2004 - a class of RFC 9110, section 15
            message = f"it answered {status}"
            raise DeliveryError(message, retry_after=read_retry_after(headers))

    async def _post(self, addresses: Sequence[str], delivery: Delivery, url: httpx.URL) -> tuple[int, httpx.Headers]:
        *others, last = addresses
        for address in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent
                return await self._post_to(address, delivery, url)
        return await self._post_to(last, delivery, url)

    async def _post_to(self, address: str, delivery: Delivery, url: httpx.URL) -> tuple[int, httpx.Headers]:
        body = delivery.body.encode()
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={
                "Host": url.netloc.decode("ascii"),
                "Content-Type": "application/json",
                "User-Agent": HEADERS["User-Agent"],
                "Connection": "close",
                **self._secrets.headers(delivery.id, int(self._now()), body),
            },
            # The certificate must be that of the host, not of the address.
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await self._client.send(request, stream=True)
        # The status decides; the body is not read.
        await response.aclose()
        return response.status_code, response.headers


async def _addresses(url: httpx.URL) -> Sequence[str]:
    origin = Origin.of(url)
    lookup = asyncio.wrap_future(start_lookup(origin.host, origin.port))
    return list(dict.fromkeys(target[0] for *_, target in await asyncio.shield(lookup)))


def _ssl_context() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        message = f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {error.strerror or error}"
        raise ConfigurationError(message) from error


def _reason(error: Exception) -> str:
    """Return the cause in a few words, without anything that the receiver sent."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, httpx.ConnectError | OSError):
        return printable(str(error))
    return f"it did not answer with HTTP ({type(error).__name__})"
