"""The health check of the image."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from container_parts import ROOT
from ports import reserved_port

WAITER = ["/opt/waiter/bin/python", "/opt/waiter/bin/waiter"]


def load() -> Any:
    spec = util.spec_from_file_location("livez", ROOT / ".ci" / "container" / "livez.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def livez(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with an own directory of processes; the checking process is in the mount namespace ``here``."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = load()
    monkeypatch.setattr(module, "PROC", tmp_path)
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "mnt").symlink_to("here")
    return module


def add_process(proc: Path, number: int, *args: str, namespace: str = "here", **environ: str) -> None:
    (proc / f"{number}" / "ns").mkdir(parents=True)
    (proc / f"{number}" / "ns" / "mnt").symlink_to(namespace)
    (proc / f"{number}" / "cmdline").write_bytes("".join(f"{arg}\0" for arg in args).encode())
    (proc / f"{number}" / "environ").write_bytes("".join(f"{name}={value}\0" for name, value in environ.items()).encode())


@pytest.mark.parametrize(
    ("args", "environ", "address"),
    [
        ([], {}, ("127.0.0.1", 8081)),
        (["--probe-listen", "0.0.0.0:9000"], {}, ("127.0.0.1", 9000)),
        (["--probe-listen=[::]:9000"], {"WAITER_PROBE_LISTEN": "10.0.0.1:1"}, ("::1", 9000)),
        ([], {"WAITER_PROBE_LISTEN": "10.0.0.1:9001"}, ("10.0.0.1", 9001)),
    ],
)
def test_listener_is_that_of_the_options(
    livez: Any, tmp_path: Path, args: list[str], environ: dict[str, str], address: tuple[str, int]
) -> None:
    """The sidecar may be process 1 or not."""
    (tmp_path / "1").mkdir()  # a process that has ended
    add_process(tmp_path, 7, *WAITER, "sidecar", *args, **environ)
    assert livez.find_listener() == address


def test_other_containers_and_commands_are_ignored(livez: Any, tmp_path: Path) -> None:
    """Without a sidecar in this container, the check passes."""
    add_process(tmp_path, 1, *WAITER, "sidecar", namespace="another")
    add_process(tmp_path, 2, *WAITER, "wait", "sidecar")
    assert livez.find_listener() is None
    assert livez.is_alive() is True


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    ("response", "expected"), [(b"HTTP/1.1 200 OK\r\n", True), (b"HTTP/1.1 503 No\r\n", False), (b"", False)]
)
def test_sidecar_is_alive_when_it_answers_200(
    livez: Any, tmp_path: Path, bound: socket.socket, response: bytes, expected: bool
) -> None:
    """Any other answer, or none, fails the check."""
    add_process(tmp_path, 1, *WAITER, "sidecar", f"--probe-listen=127.0.0.1:{bound.getsockname()[1]}")

    def answer() -> None:
        connection, _ = bound.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(response)

    thread = threading.Thread(target=answer)
    thread.start()
    assert livez.is_alive() is expected
    thread.join()


def test_sidecar_that_does_not_listen_is_not_alive(livez: Any, tmp_path: Path) -> None:
    """The connection is refused."""
    with reserved_port() as port:
        add_process(tmp_path, 1, *WAITER, "sidecar", f"--probe-listen=127.0.0.1:{port}")
        assert livez.is_alive() is False
