"""The guard: who may ask, from where, and how much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sidecar_parts import House, run

from waiter.errors import ConfigurationError
from waiter.sidecar import guard as room
from waiter.sidecar.guard import Token

SECRET = "0123456789abcdef"
OWN = {"Host": "127.0.0.1:8080"}


@pytest.fixture
def token(tmp_path: Path) -> Token:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    return Token(tmp_path / "token")


async def code(house: House, headers: dict[str, str], path: str = "/v1/waits", token: Token | None = None) -> int:
    async with house.client(token) as client:
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
def test_host_must_be_this_machine(house: House, host: str, expected: int) -> None:
    """A foreign name that was made to lead here is refused: DNS rebinding."""

    async def test() -> None:
        async with house.open():
            assert await code(house, {"Host": host}) == expected

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
def test_other_sites_are_refused(house: House, headers: dict[str, str], expected: int) -> None:
    """Whatever a foreign page makes a browser send."""

    async def test() -> None:
        async with house.open():
            assert await code(house, OWN | headers) == expected

    run(test())


def test_the_page_may_be_linked_to_but_not_fetched(house: House) -> None:
    """Who follows a link wants to see it; a script that fetches it does not."""

    async def test() -> None:
        async with house.open():
            link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
            assert await code(house, OWN | link, "/") == 200
            assert await code(house, OWN | link | {"Sec-Fetch-Mode": "no-cors"}, "/") == 403

    run(test())


def test_a_form_of_another_site_cannot_post(house: House) -> None:
    """JSON only, which no form can send; and a refusal is protected like everything else."""

    async def test() -> None:
        async with house.open(), house.client() as client:
            answer = await client.post("/v1/waits", data={"tasks": "a"})
            assert (answer.status_code, answer.json()) == (415, {"error": "Content-Type must be application/json"})
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert house.service.waits == {}

    run(test())


@pytest.mark.parametrize(
    ("shown", "expected"),
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
def test_a_token_must_be_shown(house: House, token: Token, shown: str, expected: int) -> None:
    """Everywhere but on the page, which holds nothing."""

    async def test() -> None:
        async with house.open(), house.client(token) as client:
            answer = await client.get("/v1/waits", headers=[(b"Authorization", shown.encode())])
            assert answer.status_code == expected
            assert answer.headers.get("www-authenticate") == (None if expected == 200 else "Bearer")
            assert (await client.get("/")).status_code == 200

    run(test())


def test_who_shows_the_token_may_use_any_host(house: House, token: Token) -> None:
    """A service's name, for one; a page that rebinds a name has no token."""

    async def test() -> None:
        async with house.open():
            named = {"Host": "waiter.default.svc:8080"}
            shown = {"Authorization": f"Bearer {SECRET}"}
            assert await code(house, named | shown, token=token) == 200
            assert await code(house, named, "/", token=token) == 421

    run(test())


def test_a_token_that_was_changed_is_read_again(house: House, token: Token, tmp_path: Path) -> None:
    """The new one is accepted, the old one no longer; a file that is gone lets nobody new in."""

    async def test() -> None:
        async with house.open():
            new = {"Authorization": "Bearer fedcba9876543210"}
            (tmp_path / "token").write_text("fedcba9876543210")
            assert await code(house, OWN | new, token=token) == 200
            (tmp_path / "token").unlink()
            assert await code(house, OWN | {"Authorization": f"Bearer {SECRET}"}, token=token) == 401

    run(test())


@pytest.mark.parametrize("content", ["", "short", "with spaces in it", "non-ascii-é-0123456789"])
def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path, content: str) -> None:
    """It says what is wrong with it, and does not show it."""
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Token(file)
    assert str(caught.value) == f"the token in {file} must be 16 characters or more, without spaces"


def test_a_body_is_not_endless(house: House) -> None:
    """413, without reading the rest."""

    async def test() -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 65536

        async with house.open(), house.client() as client:
            answer = await client.post("/v1/waits", content=endless(), headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.headers["connection"]) == (413, "close")

    run(test())


def test_a_body_does_not_take_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """408, and the connection is given up."""
    monkeypatch.setattr(room, "LONGEST_UPLOAD", 0.02)

    async def test() -> None:
        async def slow() -> AsyncIterator[bytes]:
            yield b"["
            await asyncio.sleep(5)

        async with house.open(), house.client() as client:
            answer = await client.post("/v1/waits", content=slow(), headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()) == (408, {"error": "the body took too long"})

    run(test())
