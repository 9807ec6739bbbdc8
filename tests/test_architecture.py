"""The plan of the house, from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import waiter

HOUSE = Path(waiter.__file__).parent
# Each module or package imports only from those above it.
ORDER = [
    "_lazy",
    "_version",
    "task",
    "errors",
    "timing",
    "schedule",
    "events",
    "outcome",
    "api",
    "config",
    "http",
    "ratelimit",
    "polling",
    "batch",
    "session",
    "aio",
    "wait",
    "__init__",
    "testing",
    "console",
    "sidecar",
    "cli",
    "__main__",
]
TESTING = [
    "response",
    "script",
    "templates",
    "virtual_clock",
    "simulation_clock",
    "task",
    "resources",
    "scenarios",
    "faults",
    "listing",
    "endpoints",
    "transport",
    "server",
    "cloud",
    "script_file",
    "__init__",
    "plugin",
]
NETWORK = {"httpx", "httpcore", "httptools", "socket", "open_connection"}


def files() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


@cache
def nodes_of(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def imports_of(file: Path) -> Iterator[str]:
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def used_of(house: str, rooms: list[str], file: Path) -> set[str]:
    inside = [name.removeprefix(f"{house}.") for name in imports_of(file) if name == house or name.startswith(f"{house}.")]
    firsts = {name.partition(".")[0] for name in inside}
    return {first if first in rooms else "__init__" for first in firsts}


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_room_imports_only_from_rooms_above_it(file: Path) -> None:
    """The data walks straight through."""
    used = used_of("waiter", ORDER, file) - {room_of(file)}
    assert {room for room in used if ORDER.index(room) >= ORDER.index(room_of(file))} == set()


@pytest.mark.parametrize("file", sorted((HOUSE / "testing").glob("*.py")), ids=lambda file: file.stem)
def test_the_simulation_has_no_circle(file: Path) -> None:
    """Each of its modules imports only from those above it."""
    above = TESTING[: TESTING.index(file.stem)]
    assert used_of("waiter.testing", TESTING, file) <= set(above)


def touches_the_network(file: Path) -> bool:
    called = {node.attr for node in nodes_of(file) if isinstance(node, ast.Attribute)}
    return not NETWORK.isdisjoint(called.union(name.split(".")[0] for name in imports_of(file)))


def test_few_rooms_touch_the_network() -> None:
    """Everything else gets answers, not sockets; the simulation and the sidecar's listeners play the other side."""
    rooms = {room_of(file) for file in files() if touches_the_network(file)}
    assert rooms - {"testing", "sidecar"} == {"http", "config"}


def test_one_room_reads_the_environment() -> None:
    """Nobody looks it up deep inside."""
    readers = {
        room_of(file)
        for file in files()
        for node in nodes_of(file)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= {"config", "console", "cli", "testing"}


def test_one_room_configures_logging() -> None:
    """The library never does."""
    configured = {
        room_of(file)
        for file in files()
        for node in nodes_of(file)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"structlog.configure", "logging.basicConfig"}
    }
    assert configured <= {"console"}
