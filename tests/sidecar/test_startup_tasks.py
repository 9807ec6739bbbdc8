"""The tasks of the command line: result file, readiness and exit code."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from sidecar_parts import Sidecar, make_task, run

from waiter import errors
from waiter.sidecar import startup_tasks as startup_tasks_module
from waiter.sidecar.startup_tasks import StartupTasks, write_atomically

TASK = {
    "id": "a",
    "task_type": "create_vm",
    "target": None,
    "state": "FINISHED",
    "status": "finished",
    "message": None,
    "error": None,
    "created_on": None,
    "finished_on": None,
}
UNKNOWN = dict.fromkeys(TASK)


async def run_to_end(sidecar: Sidecar, startup_tasks: StartupTasks, *endings: tuple[str, Any]) -> int:
    waiting = asyncio.create_task(startup_tasks.wait_until_ended(sidecar.stream))
    for wait_id, ending in endings:
        assert not startup_tasks.is_ready()
        if isinstance(ending, Exception):
            sidecar.waiter.fail(wait_id, ending)
        else:
            sidecar.waiter.finish(wait_id, created_resources=ending)
        await sidecar.settle()
    return await waiting


def test_result_file_has_the_json_of_the_command(sidecar: Sidecar, tmp_path: Path) -> None:
    """One object for all tasks, including failed ones; the file is readable by other users of the pod."""
    file = tmp_path / "result.json"
    endings = [
        ("a", {"instances": ["i", "j"]}),
        ("b", errors.TaskNotFoundError("gone")),
        ("c", {"instances": ["j", "k"], "volumes": ["v"]}),
    ]

    async def test() -> None:
        async with sidecar.open(startup_ids=["a", "b", "c"]):
            startup_tasks = StartupTasks(sidecar.service, file)
            assert await run_to_end(sidecar, startup_tasks, *endings) == 4
            assert startup_tasks.is_ready() is False

    run(test())
    assert json.loads(file.read_text()) == {
        "tasks": [
            TASK | {"created_resources": {"instances": ["i", "j"]}},
            UNKNOWN | {"id": "b", "status": "not_found", "message": "gone", "created_resources": {}},
            TASK | {"id": "c", "created_resources": {"instances": ["j", "k"], "volumes": ["v"]}},
        ],
        "created_resources": {"instances": ["i", "j", "k"], "volumes": ["v"]},
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_ready_once_all_tasks_are_finished(sidecar: Sidecar) -> None:
    """No result file is needed, and without tasks the sidecar is ready immediately."""

    async def test() -> None:
        async with sidecar.open(startup_ids=["a"]):
            startup_tasks = StartupTasks(sidecar.service, None)
            assert await run_to_end(sidecar, startup_tasks, ("a", {})) == 0
            assert startup_tasks.is_ready() is True
        async with sidecar.open():
            empty = StartupTasks(sidecar.service, None)
            assert (await run_to_end(sidecar, empty), empty.is_ready()) == (0, True)

    run(test())


def test_ready_after_a_failed_wait_was_repeated(sidecar: Sidecar, tmp_path: Path) -> None:
    """The result file is rewritten before the sidecar becomes ready."""
    file = tmp_path / "result.json"

    async def test() -> None:
        async with sidecar.open(startup_ids=["a"]):
            startup_tasks = StartupTasks(sidecar.service, file)
            assert await run_to_end(sidecar, startup_tasks, ("a", errors.ApiUnavailableError("away"))) == 5
            waiting = asyncio.create_task(startup_tasks.wait_until_finished(sidecar.stream))
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            assert startup_tasks.is_ready() is False
            sidecar.waiter.finish("a")
            await waiting
            assert startup_tasks.is_ready() is True

    run(test())
    assert json.loads(file.read_text())["tasks"] == [TASK | {"created_resources": {}}]


CODES = [
    (errors.TaskError(make_task(state="ERROR")), 1),
    (errors.AuthenticationError("no"), 3),
    (errors.ApiUnavailableError("away"), 5),
    (errors.TaskStalledError(make_task(), waited=9), 6),
    (errors.TaskTimeoutError("a", waited=9, last_task=None, last_error=None), 124),
]


@pytest.mark.parametrize(("error", "code"), CODES)
def test_exit_code_is_that_of_the_command(sidecar: Sidecar, error: Exception, code: int) -> None:
    """A FINISHED task beside the failed one does not change it."""

    async def test() -> None:
        async with sidecar.open(startup_ids=["a", "b"]):
            assert await run_to_end(sidecar, StartupTasks(sidecar.service, None), ("a", error), ("b", {})) == code

    run(test())


def test_result_file_is_retried(
    sidecar: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sidecar is not ready before the file exists, and stops without waiting for it."""
    monkeypatch.setattr(startup_tasks_module, "RETRY_INTERVAL", 0.01)
    file = tmp_path / "later" / "result.json"

    async def test() -> None:
        async with sidecar.open(startup_ids=["a"]):
            startup_tasks = StartupTasks(sidecar.service, file)
            waiting = asyncio.create_task(startup_tasks.wait_until_ended(sidecar.stream))
            sidecar.waiter.finish("a")
            await sidecar.settle()
            await asyncio.sleep(0.05)
            assert startup_tasks.is_ready() is False
            file.parent.mkdir()
            assert (await waiting, startup_tasks.is_ready(), file.exists()) == (0, True, True)
            never = StartupTasks(sidecar.service, tmp_path / "never" / "result.json")
            waiting = asyncio.create_task(never.wait_until_ended(sidecar.stream))
            await asyncio.sleep(0.03)
            sidecar.stream.close()
            await waiting

    run(test())
    expected = f"waiter: cannot write the result to {file}: No such file or directory; retrying\n"
    assert capsys.readouterr().err.startswith(expected)


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old content stays, and no temporary file is left."""
    file = tmp_path / "result.json"
    write_atomically(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert (file.read_bytes(), [one.name for one in tmp_path.iterdir()]) == (b"old", ["result.json"])
