"""httpx clients of the user's own, which answer what they are told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
import trio
from single_poll import KEY, TASK, both, look

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
from waiter.http.exchange import LARGEST_BODY


def respond(body: bytes, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers=headers))


@both
def test_an_endless_answer_is_cut_off(get: Callable[..., None]) -> None:
    """Sixteen mebibytes of a task, compressed or not, are not a task."""
    bomb = gzip.compress(b" " * (LARGEST_BODY + 1))
    transport = respond(bomb, **{"content-encoding": "gzip"})
    client = httpx.Client(transport=transport) if get is look else httpx.AsyncClient(transport=transport)
    with pytest.raises(InvalidResponseError, match="more than 16777216 bytes"):
        get("http://127.0.0.1", client=client)


@both
def test_a_coding_that_cannot_be_decoded(get: Callable[..., None]) -> None:
    """Broken compression is an answer that is not what the API describes."""
    transport = respond(b"not gzip", **{"content-encoding": "gzip"})
    client = httpx.Client(transport=transport) if get is look else httpx.AsyncClient(transport=transport)
    with pytest.raises(InvalidResponseError, match="not what the API describes: DecodingError"):
        get("http://127.0.0.1", client=client)


def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    """Its headers and transport count; its auth, redirects and closing are not touched."""
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


def test_redirects_are_not_followed_even_by_a_client_that_would() -> None:
    """The key goes to the configured host only."""
    hosts: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://evil.example/"})

    mine = httpx.Client(transport=httpx.MockTransport(handle), follow_redirects=True)
    with pytest.raises(InvalidResponseError, match=r"it redirects to https://evil\.example/"):
        look("https://api.gcore.com", client=mine)
    assert hosts == ["api.gcore.com"]


@pytest.mark.parametrize("echo", [KEY, r"1234\u0024abcdef", r"1234\u0024abcde\u0066", "1234%24abcdef", "%31234%24abcde%66"])
def test_a_key_that_the_server_echoes_is_not_shown(echo: str) -> None:
    """Not in the message, whatever the API says, and not in the headers that messages are made of."""
    text = f'{{"message": "Bad token {echo}"}}'
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(400, text=text)))
    with pytest.raises(ApiError, match=r"^the API answers 400: Bad token \*\*\* \(t-1\)$"):
        look("https://api.gcore.com", client=mine)
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(400, text=f"Bad token {echo}")))
    with pytest.raises(ApiError, match=r"^the API answers 400: 'Bad token \*\*\*' \(t-1\)$"):
        look("https://api.gcore.com", client=mine)
    location = f"https://evil.example/{echo}"
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": location})))
    with pytest.raises(ApiError, match=r"redirects to https://evil.example/\*\*\*,"):
        look("https://api.gcore.com", client=mine)


def test_the_wrong_kind_of_client_is_refused() -> None:
    """A blocking client cannot be awaited, nor the other way round."""
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.Client here"):
        Waiter(api_key=KEY, client=httpx.AsyncClient())
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.AsyncClient here"):
        AsyncWaiter(api_key=KEY, client=httpx.Client())


def test_it_can_be_awaited_under_trio() -> None:
    """AnyIO carries the awaited driver, so trio does too."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=TASK)))

    async def main() -> tuple[str, ...]:
        return (await aio.wait_for_task("t-1", api_key=KEY, client=client)).instances

    assert trio.run(main) == ("i-1",)


def test_a_client_of_ones_own_has_the_deadline_between_chunks() -> None:
    """Where waiter does not own the connection, a slow body is given up at its next chunk."""
    now = 0.0

    def body() -> Iterator[bytes]:
        nonlocal now
        for byte in json.dumps(TASK):
            now += 1
            yield byte.encode()

    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body())))
    with pytest.raises(ApiUnavailableError, match=r"the whole answer took too long \(t-1\)"):
        look("https://api.gcore.com", client=mine, clock=lambda: now)
    assert now == 6


def test_a_key_that_may_stand_in_any_text_changes_no_answer() -> None:
    """What is hidden is a token, not each letter that looks like it."""
    mine = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=TASK)))
    assert wait_for_task("t-1", api_key="1", client=mine).instances == ("i-1",)
