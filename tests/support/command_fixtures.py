"""A simulated cloud over HTTP, and three ways to run the command: in process, through pipes, on a terminal."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from command_parts import BROKEN, EMPTY, ENDLESS, GOOD, Ran, Run, Terminal

from waiter import Waiter
from waiter.cli import main
from waiter.console import stderr
from waiter.testing import Phase, Script, SimulatedCloud, ended

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cloud() -> SimulatedCloud:
    cloud = SimulatedCloud(strict=False, record=False)
    cloud.add(ended({"instances": ["vm-1"], "volumes": ["disk-1", "disk-2"]}), task_id=GOOD)
    broken = Script(phases=(Phase("ERROR"),), error="No valid host was found", created_resources={"volumes": ["disk-3"]})
    cloud.add(broken, task_id=BROKEN)
    cloud.add(Script(phases=(Phase("RUNNING", detailed_state="NETWORK"),)), task_id=ENDLESS)
    cloud.add(ended(None), task_id=EMPTY)
    cloud.add_past("create_k8s_cluster_v2", [300, 400, 500, 600, 700], errors=[1])
    return cloud


@pytest.fixture(scope="session")
def url(cloud: SimulatedCloud) -> Iterator[str]:
    with cloud.serve() as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def demonstration() -> Iterator[subprocess.Popen[str]]:
    """The demo, which takes some seconds and runs beside the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ = {**kept, "PYTHONPATH": str(ROOT), "WAITER_TIMEOUT": "nonsense", "GCORE_API_KEY": "another"}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", "waiter", "demo"], env=environ, text=True, stdout=pipe, stderr=pipe) as child:
        yield child
        child.terminate()


@pytest.fixture(scope="session")
def environ(cloud: SimulatedCloud, url: str) -> dict[str, str]:
    """The environment of the command's processes."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        "GCORE_API_KEY": cloud.api_key,
        "GCORE_BASE_URL": url,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def run(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command in this process: ``run("wait", GOOD)``."""
    for name in os.environ:
        if name.startswith(("WAITER_", "GCORE_", "GITHUB_")) or name in {"CI", "NO_COLOR", "COLUMNS"}:
            monkeypatch.delenv(name)
    for name in ("GCORE_API_KEY", "GCORE_BASE_URL"):
        monkeypatch.setenv(name, environ[name])

    def run(*argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = main(argv)
        return Ran(code, *capsys.readouterr())

    made: list[Waiter] = []

    class Recorded(Waiter):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr("waiter.cli.commands.wait.Waiter", Recorded)
    yield run
    # An interrupted command leaves its connections open until the process exits, which this process does not.
    for one in made:
        one.close()
    stderr.use_json(False)
    structlog.reset_defaults()
    logging.getLogger("waiter").setLevel(logging.NOTSET)


@pytest.fixture
def start(environ: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start the command in another process, with pipes."""

    def start(*argv: str, env: Mapping[str, str] | None = None, **how: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-m", "waiter", *argv]
        return subprocess.Popen(command, env=environ | dict(env or {}), text=True, **{**pipes, **how})

    return start


@pytest.fixture
def process(start: Callable[..., subprocess.Popen[str]]) -> Run:
    """Run the command in another process, through pipes."""

    def process(*argv: str, stdin: str = "", **how: Any) -> Ran:
        with start(*argv, **how) as child:
            out, err = child.communicate(stdin, timeout=60)
        return Ran(child.returncode, out, err)

    return process


@pytest.fixture
def terminal(environ: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Run the command on a pseudo-terminal."""
    opened: list[Terminal] = []

    def terminal(*argv: str, env: Mapping[str, str] | None = None, **how: Any) -> Terminal:
        opened.append(Terminal(list(argv), environ | dict(env or {}), **how))
        return opened[-1]

    yield terminal
    for one in opened:
        if one.process.poll() is None:
            one.kill()
