"""The tasks of the command line: their result file, readiness, and the exit code of a failure."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import msgspec

from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.result_json import result_json
from waiter.outcome import WaitStatus
from waiter.sidecar.model import Wait
from waiter.sidecar.storage.state_directory import sync_directory

if TYPE_CHECKING:
    from waiter.sidecar.event_stream import EventStream
    from waiter.sidecar.service import Service

RETRY_INTERVAL = 5.0


class StartupTasks:
    """The tasks of the command line; ready once every one is FINISHED and the result file, if any, is written."""

    def __init__(self, service: Service, result_file: Path | None) -> None:
        self._service = service
        self._result_file = result_file
        self._exit_code: int | None = None

    def is_ready(self) -> bool:
        """Whether the application may start."""
        return self._exit_code == ExitCode.FINISHED

    def problem(self) -> str | None:
        """Return why the application may not start yet, or None; no resource is named."""
        if self.is_ready():
            return None
        waits = self._service.startup_waits()
        left = sum(wait.status is not WaitStatus.FINISHED for wait in waits)
        return f"waiting for tasks: {left} of {len(waits)} not finished" if left else "the result file is not written"

    async def wait_until_ended(self, stream: EventStream) -> int:
        """Wait until all of them have ended, write the result file, and return the exit code."""
        await stream.wait_until(lambda: all(wait.has_ended for wait in self._service.startup_waits()), inf)
        return await self._write_result(stream)

    async def wait_until_finished(self, stream: EventStream) -> None:
        """Wait until all are FINISHED: a wait that ended badly, for example by a time-out, can be requested again."""
        await stream.wait_until(lambda: self._service.is_ready, inf)
        if not self.is_ready():
            await self._write_result(stream)

    async def _write_result(self, stream: EventStream) -> int:
        while not stream.is_closed:
            codes = [ExitCode.__members__.get(wait.status.name, ExitCode.FAULT) for wait in self._service.startup_waits()]
            code = min(filter(None, codes), default=ExitCode.FINISHED)
            try:
                if self._result_file is not None:
                    content = msgspec.json.encode(result_json(map(_as_task, self._service.startup_waits()))) + b"\n"
                    write_atomically(self._result_file, content)
            except OSError as error:
                stderr.warn(f"cannot write the result to {self._result_file}: {error.strerror}; retrying")
                await stream.wait_until(lambda: False, RETRY_INTERVAL)
            else:
                self._exit_code = code
                return code
        return ExitCode.FINISHED


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file; readers see the old or the new content, also after a power cut. Raises OSError."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            # Other users of the pod read the file, and a temporary file is readable by its owner only.
            os.fchmod(part.fileno(), 0o644)
            os.fsync(part.fileno())
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    sync_directory(path.parent)


def _as_task(wait: Wait) -> dict[str, Any]:
    task = wait.task or {"id": wait.id}
    return {**task, "status": wait.status, "message": wait.error, "created_resources": wait.created_resources}
