"""The architecture, read from the code: which package imports which, and who may touch the network and the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import waiter

ROOT = Path(waiter.__file__).parent
TESTS = Path(__file__).parent
# Each module or package imports only from those above it. CONTRIBUTING.md describes them.
ORDER = [
    "_lazy",
    "_version",
    "timing",
    "task",
    "errors",
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
    "integrations",
    "__main__",
]
NETWORK = {"httpx", "httpcore", "httptools", "socket", "open_connection"}
# Modules without a test module of their name, and where their tests are.
TESTED_ELSEWHERE = {
    "__main__": "cli",
    "_lazy": "test_package.py",
    "_version": "test_package.py",
    "outcome": "batch/test_completion.py",
    "session": "test_wait.py",
    "sidecar/model": "sidecar/test_service.py",
    "sidecar/web/probes": "sidecar/test_main.py",
    "timing": "polling/test_wait_state.py",
    "cli/commands/sidecar": "sidecar/test_options.py",
    "cli/options": "cli/test_parser.py",
    "cli/progress/model": "cli/progress",
    "config/options": "config/test_settings.py",
    "console/result_json": "cli/output",
    "http/network_errors": "http/test_response_reader.py",
    "http/resolver": "http/test_blocking_pool.py",
    "http/route": "http/test_blocking_pool.py",
    "integrations/otel": "integrations/opentelemetry/test_otel.py",
    "integrations/otel_command": "integrations/opentelemetry/test_otel_command.py",
    "integrations/temporal": "integrations/temporal/test_temporal.py",
    "polling/limits": "polling/test_wait_state.py",
    "polling/outage": "polling/test_outages.py",
    "polling/poll_state": "polling/test_wait_state.py",
    "polling/reporter": "test_events.py",
    "polling/tenacity_hooks": "test_wait.py",
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(file: Path) -> str:
    """Return the dotted name of a module: ``waiter.api.requests``."""
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(file: Path) -> str:
    """Return the entry of ORDER that a module belongs to."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def nodes_of(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def imports_of(file: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, in functions and for type checking too."""
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(file: Path, names: set[str]) -> set[str]:
    """Return the modules of waiter that a module imports."""
    found = set()
    for name in imports_of(file):
        while name not in names and "." in name:
            name = name.rpartition(".")[0]  # noqa: PLW2901 - from the attribute to its module
        if name in names:
            found.add(name)
    return found


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_packages_import_only_from_those_above_them(file: Path) -> None:
    """The order is that of the list above."""
    used = {name.split(".")[1] for name in imports_of(file) if name.startswith("waiter.")}
    used = {part if part in ORDER else "__init__" for part in used} - {part_of(file)}
    assert {part for part in used if ORDER.index(part) >= ORDER.index(part_of(file))} == set()


@pytest.mark.parametrize("part", [part for part in ORDER if (ROOT / part).is_dir()])
def test_package_has_no_import_cycle(part: str) -> None:
    """The modules of a package have an order too. A package's own module, which is empty or lazy, does not count."""
    names = {name_of(file) for file in (ROOT / part).rglob("*.py") if file.name != "__init__.py"}
    graph = {name_of(file): imported_modules(file, names) for file in modules() if name_of(file) in names}
    assert set(TopologicalSorter(graph).static_order()) == names


def test_no_private_attribute_of_another_module_is_read() -> None:
    """Ruff's SLF001 finds them; a line may disable it within a class, and where argparse leaves no other way."""
    disabled = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in modules()
        for line in file.read_text().splitlines()
        if "SLF001" in line and not line.endswith(("of this class", "argparse has no accessor"))
    ]
    assert disabled == []


def test_only_http_opens_sockets() -> None:
    """Configuration checks URLs and clients; the simulation and the sidecar's listeners are servers."""
    parts = {
        part_of(file)
        for file in modules()
        if not NETWORK.isdisjoint(
            {node.attr for node in nodes_of(file) if isinstance(node, ast.Attribute)}.union(
                name.split(".")[0] for name in imports_of(file)
            )
        )
    }
    assert parts - {"testing", "sidecar", "integrations"} == {"http", "config"}


def test_only_config_reads_the_environment() -> None:
    """The command is given the environment; the simulation sets it for others; integrations read that of their platform."""
    readers = {
        part_of(file)
        for file in modules()
        for node in nodes_of(file)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= {"config", "console", "cli", "testing", "integrations"}


def test_only_the_command_configures_logging() -> None:
    """The library never does."""
    parts = {
        part_of(file)
        for file in modules()
        for node in nodes_of(file)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"structlog.configure", "logging.basicConfig"}
    }
    assert parts <= {"console"}


def test_tests_mirror_the_packages() -> None:
    """The test of ``waiter/x/y.py`` is ``tests/x/test_y.py``, except for those listed above."""
    missing = []
    for file in modules():
        path = file.relative_to(ROOT)
        if path.name == "__init__.py" or str(path.with_suffix("")) in TESTED_ELSEWHERE:
            continue
        if not (TESTS / path.parent / f"test_{path.name}").exists():
            missing.append(str(path))
    assert missing == []
    assert [place for place in TESTED_ELSEWHERE.values() if not (TESTS / place).exists()] == []
