"""The plan of the house, from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import waiter

HOUSE = Path(waiter.__file__).parent
# Each room imports only from rooms above it.
ROOMS = [
    "_lazy",
    "_version",
    "task",
    "errors",
    "key",
    "wire",
    "outcome",
    "law",
    "schedule",
    "server_clock",
    "events",
    "api",
    "history",
    "settings",
    "plan",
    "policy",
    "pace",
    "transport",
    "pool",
    "client",
    "toll",
    "alarm",
    "seat",
    "crowd",
    "many",
    "base",
    "aio",
    "wait",
    "__init__",
    "logs",
    "testing",
    "cli",
    "sidecar",
    "__main__",
]


# The sidecar is a subcommand, and loaded when it is the one that was asked for.
DOOR_TO_THE_SIDECAR = HOUSE / "cli" / "sidecar.py"


def files() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_used_by(file: Path) -> set[str]:
    parts = [name.split(".") for name in imports_of(file)]
    named = {part[1] if len(part) > 1 and part[1] in ROOMS else "__init__" for part in parts if part[0] == "waiter"}
    return named - {room_of(file)}


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_room_imports_only_from_rooms_above_it(file: Path) -> None:
    """The data walks straight through."""
    below = {room for room in rooms_used_by(file) if ROOMS.index(room) >= ROOMS.index(room_of(file))}
    assert below == ({"sidecar"} if file == DOOR_TO_THE_SIDECAR else set())


def users_of(*modules: str) -> set[str]:
    return {room_of(file) for file in files() if any(name.split(".")[0] in modules for name in imports_of(file))}


def test_one_room_touches_the_network() -> None:
    """Everything else gets answers, not sockets; the simulation plays the other side."""
    assert users_of("httpx", "httpcore") - {"testing"} == {"client", "transport", "settings", "wire"}


def test_one_room_reads_the_environment() -> None:
    """Nobody looks it up deep inside."""
    readers = {
        room_of(file)
        for file in files()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= {"settings", "cli", "testing"}


def test_one_room_configures_logging() -> None:
    """The library never does."""
    configured = {
        room_of(file)
        for file in files()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"structlog.configure", "logging.basicConfig"}
    }
    assert configured <= {"logs"}
