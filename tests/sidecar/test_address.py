"""The address of a listener: a Unix socket in the place of a port."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import httpx
import pytest
from sidecar_parts import PLAIN, process, run, running

from waiter.errors import ConfigurationError
from waiter.sidecar import address as address_module
from waiter.sidecar.address import Address, UnixAddress, parse_listen


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("text", "shown"), [("unix:/run/waiter.sock", "unix:/run/waiter.sock"), ("localhost:80", "localhost:80")]
)
def test_control_listener_is_a_port_or_a_socket(text: str, shown: str) -> None:
    """Neither needs a token on this machine."""
    address = parse_listen(text)
    assert (str(address), address.is_private, isinstance(address, Address)) == (shown, True, text == shown[:12])


@pytest.mark.parametrize("text", ["unix:", "unix:/run/waiter.sock,mode=888", "/run/waiter.sock", "unix"])
def test_invalid_socket_is_refused(text: str) -> None:
    """A path needs the prefix."""
    with pytest.raises(ValueError, match=r"^not (unix:PATH or unix:PATH,mode=660|HOST:PORT): "):
        parse_listen(text)


@pytest.mark.parametrize(("suffix", "mode"), [("", 0o600), (",mode=660", 0o660), (",mode=0666", 0o666)])
def test_socket_has_its_permissions_and_is_removed(tmp_path: Path, suffix: str, mode: int) -> None:
    """Only its owner can connect, unless a mode is given; whatever the umask is."""
    path = tmp_path / "waiter.sock"
    umask = os.umask(0o027)
    try:
        with UnixAddress(f"unix:{path}{suffix}").listening():
            assert mode_of(path) == mode
    finally:
        os.umask(umask)
    assert not path.exists()


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """The one of a process that was killed."""
    path = tmp_path / "waiter.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with UnixAddress(f"unix:{path}").listening(), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_socket_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when its queue of connections is full; it stays in its place."""
    monkeypatch.setattr(address_module, "BACKLOG", 0)
    path = tmp_path / "waiter.sock"
    with UnixAddress(f"unix:{path}").listening(), socket.socket(socket.AF_UNIX) as client:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"^cannot listen on unix:.*/waiter\.sock: it is in use$"):
                UnixAddress(f"unix:{path}").listening().__enter__()
        client.setblocking(False)
        client.connect_ex(str(path))
        with pytest.raises(ConfigurationError, match="it is in use"):
            UnixAddress(f"unix:{path}").listening().__enter__()
        assert path.is_socket()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("file", "the file exists and is not a socket"),
        ("no/such", "No such file or directory"),
        ("x" * 200, "AF_UNIX path too long"),
    ],
)
def test_unusable_path_is_named(tmp_path: Path, name: str, problem: str) -> None:
    """No file is replaced."""
    (tmp_path / "file").write_text("content")
    with pytest.raises(ConfigurationError) as caught:
        UnixAddress(f"unix:{tmp_path / name}").listening().__enter__()
    assert str(caught.value) == f"cannot listen on unix:{tmp_path / name}: {problem}"
    assert (tmp_path / "file").read_text() == "content"


def test_socket_of_another_process_is_not_removed(tmp_path: Path) -> None:
    """Someone has replaced it meanwhile."""
    path = tmp_path / "waiter.sock"
    with UnixAddress(f"unix:{path}").listening():
        path.unlink()
        path.touch()
    assert path.exists()


@pytest.mark.usefixtures("served")
def test_requests_are_answered_over_the_socket(tmp_path: Path) -> None:
    """Without a token, on one connection for several requests."""
    path = tmp_path / "waiter.sock"

    async def test() -> None:
        async with running(tmp_path, listen=UnixAddress(f"unix:{path}")) as (sidecar, serving):
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", **PLAIN) as client:
                assert (await client.post("/v1/waits", json="a")).status_code == 202
                assert [wait["id"] for wait in (await client.get("/v1/waits")).json()["waits"]] == ["a"]
                assert (await client.get("/v1/waits", headers={"Host": "attacker.example"})).status_code == 421
        assert await serving == 0
        assert sidecar.announcements == [f"control on unix:{path}, probes on {sidecar.probes}"]
        assert not path.exists()

    run(test())


@pytest.mark.usefixtures("served")
def test_second_sidecar_on_a_socket_exits_2(tmp_path: Path) -> None:
    """A killed one leaves its socket, which the next replaces; SIGTERM removes it."""
    listen = ("--listen", f"unix:{tmp_path / 'waiter.sock'}")
    with process(tmp_path / "a", *listen) as first:
        second = type(first)(tmp_path / "b", *listen)
        code, output = second.end()
        assert (code, output) == (2, f"waiter: cannot listen on unix:{tmp_path / 'waiter.sock'}: it is in use\n")
        first.process.kill()
    with process(tmp_path / "a", *listen) as third:
        third.process.terminate()
        assert third.end()[0] == 0
    assert not (tmp_path / "waiter.sock").exists()
