"""httpx clients of the user, with scripted responses."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import trio
from single_poll import KEY, TASK, both, poll

from waiter import (
    ApiError,
    ApiUnavailableError,
    AsyncWaiter,
    ConfigurationError,
    InvalidResponseError,
    Waiter,
    aio,
    wait_for_task,
)
from waiter.batch.completion import run_inline
from waiter.config.settings import resolve
from waiter.http.async_client import ThreadedClient
from waiter.http.client import Client
from waiter.http.response_reader import MAX_BODY
from waiter.testing import SimulatedCloud, never_ends


def respond(body: bytes, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers=headers))


@both
def test_oversized_body_is_refused(get: Callable[..., None]) -> None:
    """The limit of 16 MiB holds for the decoded body."""
    bomb = gzip.compress(b" " * (MAX_BODY + 1))
    transport = respond(bomb, **{"content-encoding": "gzip"})
    client = httpx.Client(transport=transport) if get is poll else httpx.AsyncClient(transport=transport)
    with pytest.raises(InvalidResponseError, match="more than 16777216 bytes"):
        get("http://127.0.0.1", client=client)


@both
def test_malformed_content_coding_is_an_invalid_response(get: Callable[..., None]) -> None:
    """Broken compression contradicts the API's description."""
    transport = respond(b"not gzip", **{"content-encoding": "gzip"})
    client = httpx.Client(transport=transport) if get is poll else httpx.AsyncClient(transport=transport)
    with pytest.raises(InvalidResponseError, match="invalid response: DecodingError"):
        get("http://127.0.0.1", client=client)


def test_users_client_is_used_and_left_open() -> None:
    """Its headers and transport count; its auth is not used, and it is not closed."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=TASK)

    mine = httpx.Client(transport=httpx.MockTransport(handle), headers={"X-Mine": "1"}, auth=("me", "secret"))
    wait_for_task("t-1", api_key=KEY, client=mine)
    assert not mine.is_closed
    assert (seen[0].headers["authorization"], seen[0].headers["x-mine"]) == (f"apikey {KEY}", "1")
    assert seen[0].headers["user-agent"].startswith("gcore-waiter/")
    mine.close()


def test_redirects_are_not_followed() -> None:
    """The key is sent to the configured host only, whatever the client's own setting."""
    hosts: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://evil.example/"})

    mine = httpx.Client(transport=httpx.MockTransport(handle), follow_redirects=True)
    with pytest.raises(InvalidResponseError, match=r"it redirects to https://evil\.example/"):
        poll("https://api.gcore.com", client=mine)
    assert hosts == ["api.gcore.com"]


@pytest.mark.parametrize("echo", [KEY, r"1234\u0024abcdef", r"1234\u0024abcde\u0066", "1234%24abcdef", "%31234%24abcde%66"])
def test_echoed_key_is_hidden(echo: str) -> None:
    """Neither in a message of the API nor in headers that messages quote."""
    text = f'{{"message": "Bad token {echo}"}}'
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(400, text=text)))
    with pytest.raises(ApiError, match=r"^the API returned 400: Bad token \*\*\* \(t-1\)$"):
        poll("https://api.gcore.com", client=mine)
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(400, text=f"Bad token {echo}")))
    with pytest.raises(ApiError, match=r"^the API returned 400: 'Bad token \*\*\*' \(t-1\)$"):
        poll("https://api.gcore.com", client=mine)
    location = f"https://evil.example/{echo}"
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": location})))
    with pytest.raises(ApiError, match=r"redirects to https://evil.example/\*\*\*,"):
        poll("https://api.gcore.com", client=mine)


def test_wrong_kind_of_client_is_refused() -> None:
    """A blocking client cannot be awaited, nor the other way round."""
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.Client here"):
        Waiter(api_key=KEY, client=httpx.AsyncClient())
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.AsyncClient here"):
        AsyncWaiter(api_key=KEY, client=httpx.Client())


def test_users_client_works_under_trio() -> None:
    """AnyIO runs under trio too."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=TASK)))

    async def main() -> tuple[str, ...]:
        return (await aio.wait_for_task("t-1", api_key=KEY, client=client)).instances

    assert trio.run(main) == ("i-1",)


def test_users_client_has_a_deadline_between_chunks() -> None:
    """A slow body is abandoned at its next chunk after the deadline."""
    now = 0.0

    def body() -> Iterator[bytes]:
        nonlocal now
        for byte in json.dumps(TASK):
            now += 1
            yield byte.encode()

    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body())))
    with pytest.raises(ApiUnavailableError, match=r"the whole response took too long \(t-1\)"):
        poll("https://api.gcore.com", client=mine, timeout=5, clock=lambda: now)
    assert now == 6


def test_short_key_does_not_change_responses() -> None:
    """A key that occurs in any text is not replaced in responses."""
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=TASK)))
    assert wait_for_task("t-1", api_key="1", client=mine).instances == ("i-1",)


def test_acknowledgement_over_a_blocking_client() -> None:
    """The awaited client over a blocking one acknowledges tasks too."""
    cloud = SimulatedCloud.virtual()
    task_id = cloud.add(never_ends())
    options: Any = {name: value for name, value in cloud.options.items() if name in {"api_key", "base_url", "client"}}
    client = ThreadedClient(Client(resolve(options)), run_inline)
    assert asyncio.run(client.acknowledge(task_id, timeout=30)).acknowledged_at is not None


@both
def test_request_without_time_is_not_sent(get: Callable[..., None]) -> None:
    """A rejected key may be fetched again until no time is left for a second request."""
    transport = httpx.MockTransport(lambda _: pytest.fail("sent"))
    client = httpx.Client(transport=transport) if get is poll else httpx.AsyncClient(transport=transport)
    with pytest.raises(ApiUnavailableError, match="no response: "):
        get("http://127.0.0.1", client=client, timeout=0)
