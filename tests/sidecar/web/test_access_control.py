"""Access control: Host, Origin, token and size limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sidecar_parts import Sidecar, run

from waiter.errors import ConfigurationError
from waiter.sidecar.web import access_control
from waiter.sidecar.web.access_control import Token

SECRET = "0123456789abcdef"
LOCAL = {"Host": "127.0.0.1:8080"}


@pytest.fixture
def token(tmp_path: Path) -> Token:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    return Token(tmp_path / "token")


async def code(sidecar: Sidecar, headers: dict[str, str], path: str = "/v1/waits", token: Token | None = None) -> int:
    async with sidecar.client(token) as client:
        return (await client.get(path, headers=headers)).status_code


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LOCALHOST:9", 200),
        ("waiter.localhost:8080", 200),
        ("[::1]:8080", 200),
        ("10.1.2.3:8080", 200),
        ("attacker.example:8080", 421),
        ("127.0.0.1.attacker.example", 421),
        ("localhost.attacker.example", 421),
        ("localhost@attacker.example", 421),
        ("localhost:8080:8080", 421),
        ("", 421),
    ],
)
def test_host_must_be_local(sidecar: Sidecar, host: str, expected: int) -> None:
    """A foreign name that resolves to this machine is refused (DNS rebinding)."""

    async def test() -> None:
        async with sidecar.open():
            assert await code(sidecar, {"Host": host}) == expected

    run(test())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Origin": "http://127.0.0.1:9090"}, 403),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
    ],
)
def test_other_sites_are_refused(sidecar: Sidecar, headers: dict[str, str], expected: int) -> None:
    """Requests that a foreign page makes a browser send are refused."""

    async def test() -> None:
        async with sidecar.open():
            assert await code(sidecar, LOCAL | headers) == expected

    run(test())


def test_page_can_be_linked_but_not_fetched(sidecar: Sidecar) -> None:
    """Navigation from another site is permitted; a fetch by its script is not."""

    async def test() -> None:
        async with sidecar.open():
            link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
            assert await code(sidecar, LOCAL | link, "/") == 200
            assert await code(sidecar, LOCAL | link | {"Sec-Fetch-Mode": "no-cors"}, "/") == 403

    run(test())


def test_form_of_another_site_cannot_post(sidecar: Sidecar) -> None:
    """Only JSON is accepted, which a form cannot send; a refusal has the security headers too."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", data={"tasks": "a"})
            assert (response.status_code, response.json()) == (415, {"error": "Content-Type must be application/json"})
            assert response.headers["x-content-type-options"] == "nosniff"
            assert sidecar.service.waits == {}

    run(test())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Bearer {SECRET}", 200),
        (f"bearer {SECRET}", 200),
        ("Bearer wrong", 401),
        ("Bearer é", 401),
        (f"Basic {SECRET}", 401),
        (SECRET, 401),
        ("", 401),
    ],
)
def test_token_is_required(sidecar: Sidecar, token: Token, header: str, expected: int) -> None:
    """Only the page, which contains no data, is served without it."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client(token) as client:
            response = await client.get("/v1/waits", headers=[(b"Authorization", header.encode())])
            assert response.status_code == expected
            assert response.headers.get("www-authenticate") == (None if expected == 200 else "Bearer")
            assert (await client.get("/")).status_code == 200

    run(test())


def test_token_permits_any_host(sidecar: Sidecar, token: Token) -> None:
    """A service name is accepted with the token; a page with a rebound name has no token."""

    async def test() -> None:
        async with sidecar.open():
            named = {"Host": "waiter.default.svc:8080"}
            authorized = {"Authorization": f"Bearer {SECRET}"}
            assert await code(sidecar, named | authorized, token=token) == 200
            assert await code(sidecar, named, "/", token=token) == 421

    run(test())


def test_changed_token_file_is_read_again(sidecar: Sidecar, token: Token, tmp_path: Path) -> None:
    """The new token is accepted and the old one refused; without the file, no new token is accepted."""

    async def test() -> None:
        async with sidecar.open():
            new = {"Authorization": "Bearer fedcba9876543210"}
            (tmp_path / "token").write_text("fedcba9876543210")
            assert await code(sidecar, LOCAL | new, token=token) == 200
            (tmp_path / "token").unlink()
            assert await code(sidecar, LOCAL | {"Authorization": f"Bearer {SECRET}"}, token=token) == 401

    run(test())


@pytest.mark.parametrize("content", ["", "short", "with spaces in it", "non-ascii-é-0123456789"])
def test_weak_token_is_refused(tmp_path: Path, content: str) -> None:
    """The error states the rule and does not contain the token."""
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Token(file)
    assert str(caught.value) == f"the token in {file} must have at least 16 ASCII characters and no spaces"


def test_large_body_is_refused(sidecar: Sidecar) -> None:
    """The response is 413, and the rest is not read."""

    async def test() -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 65536

        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", content=endless(), headers={"Content-Type": "application/json"})
            assert (response.status_code, response.headers["connection"]) == (413, "close")

    run(test())


def test_large_bodies_are_limited_together(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further one is refused with 503, a small one is read; a body that is complete does not count."""
    monkeypatch.setattr(access_control, "MAX_BODIES_SIZE", 100_000)

    async def test() -> None:
        is_read, may_end = asyncio.Event(), asyncio.Event()

        async def incomplete() -> AsyncIterator[bytes]:
            yield b" " * 90_000
            is_read.set()
            await may_end.wait()
            yield b'"a"'

        async with sidecar.open(), sidecar.client(headers={"Content-Type": "application/json"}) as client:
            first = asyncio.create_task(client.post("/v1/waits", content=incomplete()))
            await is_read.wait()
            large = b" " * 20_000 + b'"b"'
            refused = await client.post("/v1/waits", content=large)
            assert (refused.status_code, refused.json()) == (503, {"error": "too many large bodies are being sent"})
            assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
            assert (await client.post("/v1/waits", content=b'"c"')).status_code == 202
            may_end.set()
            assert (await first).status_code == 202
            assert (await client.post("/v1/waits", content=large)).status_code == 202
            assert list(sidecar.service.waits) == ["c", "a", "b"]

    run(test())


def test_slow_body_is_refused(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response is 408, and the connection is closed."""
    monkeypatch.setattr(access_control, "BODY_TIMEOUT", 0.02)

    async def test() -> None:
        async def slow() -> AsyncIterator[bytes]:
            yield b"["
            await asyncio.sleep(5)

        async with sidecar.open(), sidecar.client() as client:
            response = await client.post("/v1/waits", content=slow(), headers={"Content-Type": "application/json"})
            assert (response.status_code, response.json()) == (408, {"error": "the body took too long"})

    run(test())
