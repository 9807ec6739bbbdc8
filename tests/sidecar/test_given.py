"""The tasks of the command line: a file, readiness, and an exit code."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from sidecar_parts import House, make_task, run

from waiter import errors
from waiter.sidecar import given as room
from waiter.sidecar.given import Given, write_whole

TASK = {"id": "a", "task_type": "create_vm", "state": "FINISHED", "error": None, "created_on": None, "finished_on": None}
UNKNOWN = dict.fromkeys(TASK)


async def over(house: House, given: Given, *endings: tuple[str, Any]) -> int:
    seeing = asyncio.create_task(given.see_through(house.stream))
    for wait_id, ending in endings:
        assert not given.is_ready()
        if isinstance(ending, Exception):
            house.puppet.fail(wait_id, ending)
        else:
            house.puppet.finish(wait_id, created_resources=ending)
        await house.settle()
    return await seeing


def test_the_file_has_what_the_command_prints(house: House, tmp_path: Path) -> None:
    """One object for all tasks, the failed ones included, readable by other users of the pod."""
    file = tmp_path / "result.json"
    ends = [
        ("a", {"instances": ["i", "j"]}),
        ("b", errors.TaskNotFoundError("gone")),
        ("c", {"instances": ["j", "k"], "volumes": ["v"]}),
    ]

    async def test() -> None:
        async with house.open(given=["a", "b", "c"]):
            given = Given(house.service, file)
            assert await over(house, given, *ends) == 4
            assert given.is_ready() is False

    run(test())
    assert json.loads(file.read_text()) == {
        "tasks": [
            TASK | {"created_resources": {"instances": ["i", "j"]}},
            UNKNOWN | {"id": "b", "created_resources": {}},
            TASK | {"id": "c", "created_resources": {"instances": ["j", "k"], "volumes": ["v"]}},
        ],
        "created_resources": {"instances": ["i", "j", "k"], "volumes": ["v"]},
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_it_is_ready_once_all_are_finished(house: House) -> None:
    """Without a file, and without tasks at once."""

    async def test() -> None:
        async with house.open(given=["a"]):
            given = Given(house.service, None)
            assert await over(house, given, ("a", {})) == 0
            assert given.is_ready() is True
        async with house.open():
            nothing = Given(house.service, None)
            assert (await over(house, nothing), nothing.is_ready()) == (0, True)

    run(test())


def test_what_was_mended_is_ready_after_all(house: House, tmp_path: Path) -> None:
    """A wait that ended badly is asked for again: the file is written anew before it is ready."""
    file = tmp_path / "result.json"

    async def test() -> None:
        async with house.open(given=["a"]):
            given = Given(house.service, file)
            assert await over(house, given, ("a", errors.ApiUnavailableError("away"))) == 5
            mending = asyncio.create_task(given.see_mended(house.stream))
            await house.service.accept(["a"])
            await house.settle()
            assert given.is_ready() is False
            house.puppet.finish("a")
            await mending
            assert given.is_ready() is True

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
def test_its_exit_code_is_that_of_the_command(house: House, error: Exception, code: int) -> None:
    """A finished task beside the bad one changes nothing."""

    async def test() -> None:
        async with house.open(given=["a", "b"]):
            assert await over(house, Given(house.service, None), ("a", error), ("b", {})) == code

    run(test())


def test_a_file_that_cannot_be_written_is_tried_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not ready before the file is there, and a sidecar that stops does not wait for it."""
    monkeypatch.setattr(room, "WRITE_AGAIN_AFTER", 0.01)
    file = tmp_path / "later" / "result.json"

    async def test() -> None:
        async with house.open(given=["a"]):
            given = Given(house.service, file)
            seeing = asyncio.create_task(given.see_through(house.stream))
            house.puppet.finish("a")
            await house.settle()
            await asyncio.sleep(0.05)
            assert given.is_ready() is False
            file.parent.mkdir()
            assert (await seeing, given.is_ready(), file.exists()) == (0, True, True)
            never = Given(house.service, tmp_path / "never" / "result.json")
            seeing = asyncio.create_task(never.see_through(house.stream))
            await asyncio.sleep(0.03)
            house.stream.close()
            await seeing

    run(test())
    said = f"waiter: cannot write the result to {file}: No such file or directory; trying again\n"
    assert capsys.readouterr().err.startswith(said)


def test_nobody_reads_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written whole leaves the old file as it was, and nothing beside it."""
    file = tmp_path / "result.json"
    write_whole(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, b"new")
    assert (file.read_bytes(), [one.name for one in tmp_path.iterdir()]) == (b"old", ["result.json"])
