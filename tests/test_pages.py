"""README.md and the pages under examples/: their code runs, and what they name exists."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import waiter
from waiter import testing
from waiter.cli.registry import COMMANDS, load_command, top_parser
from waiter.testing import SimulatedCloud, ended

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for pattern in ("README.md", "CHANGELOG.md", "examples/*/*.md", ".github/*.md")
    for path in sorted(ROOT.glob(pattern))
}
# The code of these pages needs what only its own tests have.
TESTED_ELSEWHERE = {"airflow", "ansible", "opentelemetry", "temporal"}
TASK_IDS = ("26986bc0-748a-4448-b836-0a2aa465eb06", "id-1", "id-2")
# Options of other programs.
FOREIGN_OPTIONS = {"--bound", "--durations", "--processes", "--tag", "--tasks"}
# Options that the pages say do not exist.
ABSENT_OPTIONS = {"--api-key"}
FOREIGN_ERRORS = {"APIStatusError", "ApplicationError", "CancelledError"}
PARSERS = {name: load_command(name).make_parser() for name in COMMANDS}
OPTIONS = {
    option for parser in (top_parser(), *PARSERS.values()) for action in parser._actions for option in action.option_strings
}

parametrized = pytest.mark.parametrize("page", PAGES)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def python_blocks() -> list[object]:
    return [
        pytest.param(code, id=f"{page}:{number}")
        for page in PAGES
        if not TESTED_ELSEWHERE & set(Path(page).parts)
        for number, code in enumerate(blocks(page, "python"), 1)
    ]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCloud]:
    """A simulated cloud over HTTP, which has the tasks of the pages and to which the environment points."""
    cloud = SimulatedCloud(strict=False)
    for task_id in TASK_IDS:
        cloud.add(ended({"instances": ["i-1"]}), task_id=task_id)
    with cloud.serve() as url:
        monkeypatch.setenv("GCORE_BASE_URL", url)
        monkeypatch.setenv("GCORE_API_KEY", cloud.api_key)
        yield cloud


@pytest.mark.parametrize("code", python_blocks())
def test_python_of_the_pages_runs(code: str, cloud: SimulatedCloud, pytester: pytest.Pytester) -> None:
    """Each block runs unchanged against the simulation; a block with tests is run by pytest."""
    if "def test_" in code:
        pytester.makepyfile(code)
        pytester.runpytest_inprocess("-q").assert_outcomes(passed=code.count("def test_"))
    else:
        exec(compile(code, "page", "exec"), {"__name__": "__main__"})
        assert len(cloud.requests) >= 1


@parametrized
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link and each picture is a file or a folder; each anchor is a heading of its page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        found = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_every_page_can_be_reached_from_the_readme() -> None:
    """By links from page to page."""
    reached: set[str] = set()
    open_pages = ["README.md"]
    while open_pages:
        page = open_pages.pop()
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#:]+\.md)", PAGES[page])
        paths = {(ROOT / page).parent.joinpath(target).resolve().relative_to(ROOT).as_posix() for target in targets}
        open_pages += (paths & PAGES.keys()) - reached
    assert set(PAGES) - reached == set()


@parametrized
def test_files_that_are_named_exist(page: str) -> None:
    """A path in backticks that begins with a folder of the repository, or names a file of the page's folder, exists."""
    folders = "|".join(entry.name.replace(".", r"\.") for entry in ROOT.iterdir() if entry.is_dir())
    for path in re.findall(rf"(?:`|python )((?:{folders})/[\w./-]*[\w/])", PAGES[page]):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(\w+\.(?:py|sh|toml|yml|yaml|tf))`", PAGES[page]):
        assert (ROOT / page).with_name(name).exists() or (ROOT / name).exists(), name


@parametrized
def test_options_that_are_named_exist(page: str) -> None:
    """Each option in backticks is one of some command of waiter."""
    code = " ".join(re.findall(r"`([^`\n]+)`", PAGES[page]))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)) - OPTIONS - FOREIGN_OPTIONS <= ABSENT_OPTIONS - OPTIONS


@parametrized
def test_options_of_commands_belong_to_the_command(page: str) -> None:
    """No example of a command has an option that the command does not take."""
    for line in "\n".join(blocks(page, "console")).splitlines():
        for name, rest in re.findall(rf"\bwaiter ({'|'.join(COMMANDS)})\b([^|#)]*)", line):
            known = {option for action in PARSERS[name]._actions for option in action.option_strings}
            used = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest.partition(" -- ")[0]))
            assert used - known == set(), line


@parametrized
def test_errors_that_are_named_exist(page: str) -> None:
    """Each error is exported by waiter or is one of Python's own."""
    named = set(re.findall(r"`(?:\w+\.)*(\w+Error)\b", PAGES[page]))
    assert {name for name in named if not hasattr(waiter, name) and not hasattr(builtins, name)} <= FOREIGN_ERRORS


def test_simulation_that_is_described_exists() -> None:
    """Each function of the testing page is exported, and each exported script and fault is on the page."""
    page = PAGES["examples/testing/README.md"]
    named = set(re.findall(r"(?<![.\w])([a-z_]+)\(", page))
    functions = {name for name in testing.__all__ if name.islower()} - {"cloud_from_script"}
    assert functions - named == set()
