"""What the tasks of the command line come to: a file with their result, readiness, and an exit code for the bad ones."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import msgspec

from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.sidecar.model import Status, Wait

if TYPE_CHECKING:
    from waiter.sidecar.service import Service
    from waiter.sidecar.stream import Stream

WRITE_AGAIN_AFTER = 5.0
_SHOWN = ("id", "task_type", "state", "error", "created_on", "finished_on")
_CODES = {
    Status.FINISHED: ExitCode.FINISHED,
    Status.FAILED: ExitCode.FAILED,
    Status.REFUSED: ExitCode.REFUSED,
    Status.NOT_FOUND: ExitCode.NOT_FOUND,
    Status.UNAVAILABLE: ExitCode.UNAVAILABLE,
    Status.STALLED: ExitCode.STALLED,
    Status.TIMED_OUT: ExitCode.TIMED_OUT,
}


class Given:
    """The tasks of the command line; ``is_ready`` once every one is FINISHED and the file that was asked for is there."""

    def __init__(self, service: Service, result_file: Path | None) -> None:
        self._service = service
        self._file = result_file
        self._delivered: int | None = None

    def is_ready(self) -> bool:
        """Whether an application may start."""
        return self._delivered == ExitCode.FINISHED

    async def see_through(self, stream: Stream) -> int:
        """Wait for the end of all of them, write the file, and give the exit code that they come to."""
        await stream.until(lambda: all(wait.ended for wait in self._service.of_command_line()), inf)
        return await self._deliver(stream)

    async def see_mended(self, stream: Stream) -> None:
        """Wait for all to be FINISHED after all: a wait that timed out, for one, can be asked for again."""
        await stream.until(lambda: self._service.is_ready, inf)
        if not self.is_ready():
            await self._deliver(stream)

    async def _deliver(self, stream: Stream) -> int:
        while not stream.closed:
            code = self._code()
            if self._write():
                self._delivered = code
                return code
            await stream.until(lambda: False, WRITE_AGAIN_AFTER)
        return ExitCode.FINISHED

    def _code(self) -> int:
        codes = [_CODES.get(wait.status, ExitCode.FAULT) for wait in self._service.of_command_line()]
        return min(filter(None, codes), default=ExitCode.FINISHED)

    def _write(self) -> bool:
        try:
            if self._file is not None:
                write_whole(self._file, msgspec.json.encode(result_of(self._service.of_command_line())) + b"\n")
        except OSError as error:
            stderr.warn(f"cannot write the result to {self._file}: {error.strerror}; trying again")
            return False
        return True


def result_of(waits: list[Wait]) -> dict[str, Any]:
    """Give what ``waiter wait --output json`` prints for the same tasks."""
    tasks, merged = [], dict[str, list[str | int]]()
    for wait in waits:
        said = wait.task or {"id": wait.id}
        tasks.append({name: said.get(name) for name in _SHOWN} | {"created_resources": wait.created_resources})
        for kind, ids in wait.created_resources.items():
            merged[kind] = list(dict.fromkeys([*merged.get(kind, []), *ids]))
    return {"tasks": tasks, "created_resources": merged}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads a part of it, not even after a power cut; raises OSError."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            # Other users of the pod read it, and a temporary file is for its owner only.
            os.fchmod(part.fileno(), 0o644)
            os.fsync(part.fileno())
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
