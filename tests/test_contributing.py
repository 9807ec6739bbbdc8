"""CONTRIBUTING.md: its map agrees with the repository, and the hooks need no network."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest
import yaml

import waiter

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return CONTRIBUTING.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> list[str]:
    return re.findall(r"^\| (`.*?`|\w.*?) \|", section(heading), re.MULTILINE)[1:]


def mapped() -> list[str]:
    return [path for row in rows("The tree") for path in re.findall(r"`([^`]+)`", row)]


def test_every_path_exists() -> None:
    """A folder ends with a slash, a file does not."""
    paths = re.findall(r"`((?:waiter|tests|examples|\.ci)/[^`\s]*)`", CONTRIBUTING)
    assert len(paths) > 40
    wrong = [path for path in paths if not (ROOT / path).exists() or (ROOT / path).is_dir() != path.endswith("/")]
    assert wrong == []


def test_each_folder_and_module_of_the_package_has_a_line() -> None:
    """Except modules whose name begins with an underscore."""
    package = Path(waiter.__file__).parent
    folders = {f"waiter/{path.parent.name}/" for path in package.glob("*/__init__.py")}
    modules = {f"waiter/{path.name}" for path in package.glob("[a-z]*.py")}
    assert {path for path in mapped() if path.startswith("waiter/")} == folders | modules


def test_the_tree_is_in_the_order_of_imports() -> None:
    """The order is that of tests/test_architecture.py."""
    order = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["ORDER"]
    names = [path.removeprefix("waiter/").removesuffix(".py").strip("/") for path in mapped() if path.startswith("waiter/")]
    assert names == [name for name in order if name in names]


@pytest.mark.parametrize("term", rows("Glossary"))
def test_glossary_explains_terms_that_are_used(term: str) -> None:
    """Each term stands in the code, the tests or another page, in this or another form."""
    stem = re.sub(r"[- ]", "[-_ ]?", term.rstrip("y"))
    sources = (path for pattern in ("waiter/**/*.py", "examples/*/*.md") for path in ROOT.glob(pattern))
    assert any(re.search(stem, path.read_text(encoding="utf-8"), re.IGNORECASE) for path in sources)


def test_code_that_is_named_exists() -> None:
    """Each class and method of the two sequences is defined in the package."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(waiter.__file__).parent.rglob("*.py"))
    text = section("One poll, blocking") + section("One listing, for many waits")
    names = {name.rpartition(".")[2] for name in re.findall(r"`([A-Za-z_.]+)`", text)}
    assert {name for name in names if not re.search(rf"\b(class|def|import) {name}\b", source)} == set()


def test_commands_are_executable() -> None:
    """The commands of the first block that lie in the repository."""
    commands = re.findall(r"^(\.ci/\S+)", CONTRIBUTING, re.MULTILINE)
    assert commands
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def test_parts_of_the_whole_run_are_executable() -> None:
    """All checks but those of a release and those that another one starts."""
    (parts,) = re.findall(r"^for part in (.*); do$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    executables = {path.name for path in (ROOT / ".ci").iterdir() if path.is_file() and os.access(path, os.X_OK)}
    assert set(parts.split()) == executables - {"run", "fast", "lint", "lock", "lowest", "release", "sbom", "vulnerabilities"}


def test_hooks_need_no_network() -> None:
    """All hooks are local and use the installed tools."""
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system"}
